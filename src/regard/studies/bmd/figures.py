"""Pictures of the study: measured against read, the maps side by side, the decoy's dose-response."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from regard.core.explanation import Explanation
from regard.io.atomic import atomic
from regard.report.colours import is_signed, paint, scale_of
from regard.studies.bmd.config import CASES, DECOY_CASES
from regard.studies.bmd.decoy import group_name
from regard.studies.bmd.material import Material
from regard.studies.run import Scores

__all__ = ["draw_agreement", "draw_decoy", "draw_maps"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def draw_agreement(material: Material, scores: Scores, path: Path) -> None:
    """Density measured and read for each case, above its difference (Bland and Altman)."""
    labels = material.test.y
    figure, axes = plt.subplots(2, 3, figsize=(12, 7.4), sharex=True, sharey="row", layout="constrained")
    ends = [labels.min() - 0.05, labels.max() + 0.05]
    border = material.config.score.t_mean + material.config.score.threshold * material.config.score.t_deviation
    for k, (case, name) in enumerate(CASES.items()):
        read, group = material.predictions(material.test, case).mean(0), scores.get(f"case{case}", {})
        above, below = axes[0, k], axes[1, k]
        above.plot(ends, ends, color="0.6", lw=1)
        above.scatter(labels, read, s=12, color=_COLOURS[0], alpha=0.6, lw=0)
        for line in (above.axvline, above.axhline):
            line(border, color="0.8", lw=1, ls=":")
        known = bool(group) and np.isfinite(group["pearson_r"].value)
        said = f"r = {group['pearson_r']}" if known else "one reading for all"
        above.set_title(f"Case {case}: {name}\n{said}", fontsize=10)
        below.scatter(labels, read - labels, s=12, color=_COLOURS[0], alpha=0.6, lw=0)
        for which, style in (("bias", "-"), ("loa_low", "--"), ("loa_high", "--")):
            if which in group:
                below.axhline(group[which].value, color=_COLOURS[1], lw=1, ls=style)
        below.set_xlabel("densitometer [g/cm²]")
    axes[0, 0].set_ylabel("network [g/cm²]")
    axes[1, 0].set_ylabel("network minus densitometer [g/cm²]")
    _save(figure, path)


def draw_maps(cases: Sequence[Sequence[Explanation]], path: Path) -> None:
    """One row per case: the slice, then each map over it, each map on its own scale."""
    n_maps = max(len(row) for row in cases)
    size = (1.55 * (n_maps + 1), 1.85 * len(cases) + 0.3)
    figure, axes = plt.subplots(len(cases), n_maps + 1, figsize=size, squeeze=False, layout="constrained")
    for row, explanations in zip(axes, cases, strict=True):
        for axis in row:
            axis.set_axis_off()
        scan = explanations[0].scan.tensor[0, :, :, 0].T.numpy()
        row[0].imshow(scan, cmap="gray", vmin=-200, vmax=600)
        row[0].set_title(f"{explanations[0].case}\n{explanations[0].prediction:.3f} g/cm²", fontsize=7)
        for axis, e in zip(row[1:], explanations, strict=False):
            values = e.relevance.tensor[0, :, :, 0].T.numpy()
            full = scale_of(e) or 1.0
            signed = is_signed(e)
            axis.imshow(paint((scan + 200) / 1100, values, full, signed=signed))
            axis.set_title(e.name.replace("integrated-gradients", "integr.-gradients"), fontsize=7)
    _save(figure, path)


def draw_decoy(scores: Scores, doses: Sequence[float], methods: Sequence[str], path: Path) -> None:
    """By the decoy's dose: what moving it does to the reading, what it costs, and which maps give it away."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.9), layout="constrained")
    shown = [d for d in doses if group_name(d, 1) in scores]
    for k, case in enumerate(DECOY_CASES):
        groups = [scores[group_name(d, case)] for d in shown]
        effect = [g["effect_of_decoy"] for g in groups]
        bounds = np.array([[s.value - s.low, s.high - s.value] for s in effect]).T
        axes[0].errorbar(
            shown, [s.value for s in effect], yerr=np.nan_to_num(bounds).clip(min=0), marker="o", capsize=3,
            color=_COLOURS[k], label=f"case {case}: {CASES[case]}",
        )  # fmt: skip
        for name, style in (("mae", "-"), ("mae_decoy_at_random", "--")):
            axes[1].plot(
                shown, [g[name].value for g in groups], style, marker="o", color=_COLOURS[k],
                label=f"case {case}, decoy {'as trained' if name == 'mae' else 'at random'}",
            )  # fmt: skip
    axes[0].axhline(0, color="0.7", lw=1)
    axes[0].set_ylabel("reading, decoy full minus none [g/cm²]")
    axes[1].set_ylabel("mean absolute error [g/cm²]")
    for k, method in enumerate(methods):
        points = [(d, scores[group_name(d, 1)].get(f"seen_by_{method}")) for d in shown]
        known = [(d, s.value) for d, s in points if s is not None]
        if known:
            again = k >= len(_COLOURS)
            axes[2].plot(
                *zip(*known, strict=True), "s--" if again else "o-", color=_COLOURS[k % len(_COLOURS)], label=method
            )
    axes[2].axhline(0.05, color="0.7", lw=1, ls=":")
    axes[2].set_ylim(-0.03, 1.03)
    axes[2].set_ylabel("patients in whom the map shows the decoy (case 1)", fontsize=8)
    for axis in axes:
        axis.set_xlim(-0.05, max(doses) + 0.05)
        axis.set_xlabel("correlation of the decoy with the label")
        axis.legend(fontsize=7)
    _save(figure, path)
