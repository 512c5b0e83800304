"""Pictures of the study: ROC, features, maps with boxes, and the letter's dose-response."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from regard.core.explanation import Explanation
from regard.core.optional import need
from regard.io.atomic import atomic
from regard.report.colours import is_signed, paint, scale_of
from regard.studies.run import Scores
from regard.studies.scoring.boxes import Box
from regard.studies.scoring.separation import standardised_features
from regard.studies.tuberculosis.decoy import group_name
from regard.studies.tuberculosis.explain import FOLD
from regard.studies.tuberculosis.material import Material

__all__ = [
    "draw_boxes",
    "draw_cases",
    "draw_decoy",
    "draw_features",
    "draw_maps",
    "draw_roc",
    "flat_features",
    "outline",
]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def draw_cases(material: Material, path: Path, n: int = 4) -> None:
    """Ill and well cases, as each arm sees them, with the findings outlined."""
    cohort, arms = material.cohort, material.arms
    rows = [int(r) for r in (*np.flatnonzero(cohort.ill)[:n], *np.flatnonzero(~cohort.ill)[: max(1, n // 2)])]
    size = (1.9 * len(rows), 2.0 * len(arms) + 0.3)
    figure, axes = plt.subplots(len(arms), len(rows), figsize=size, squeeze=False, layout="constrained")
    for line, arm in zip(axes, arms, strict=True):
        images = material.seen(cohort, arm)
        for axis, r in zip(line, rows, strict=True):
            axis.imshow(images[r, 0].numpy(), cmap="gray", vmin=0, vmax=1)
            if bool((cohort.findings[r] > 0.5).any()):
                axis.contour(cohort.findings[r].numpy(), [0.5], colors="#ffd000", linewidths=0.8)
            axis.set_title(f"{cohort.cases[r]}, {'ill' if cohort.ill[r] else 'well'}", fontsize=7)
            axis.set_axis_off()
    _save(figure, path)


def draw_roc(material: Material, path: Path) -> None:
    """Sensitivity against false alarms of each fold's network, per arm."""
    figure, axes = plt.subplots(
        1, len(material.arms), figsize=(4.2 * len(material.arms), 4.0), squeeze=False, layout="constrained"
    )
    ill = material.cohort.ill
    for axis, arm in zip(axes[0], material.arms, strict=True):
        axis.plot([0, 1], [0, 1], color="0.8", lw=1)
        for fold in range(material.config.train.n_folds):
            rows = material.tested(fold)
            order = np.argsort(-material.told(arm)[rows], kind="stable")
            truth = ill[rows][order]
            hits = np.concatenate([[0], truth.cumsum() / max(truth.sum(), 1)])
            alarms = np.concatenate([[0], (~truth).cumsum() / max((~truth).sum(), 1)])
            axis.plot(alarms, hits, color=_COLOURS[fold % len(_COLOURS)], lw=1.3, label=f"fold {fold + 1}")
        axis.set_title(material.words(arm), fontsize=9)
        axis.set_xlabel("1 - specificity")
        axis.set_ylabel("sensitivity")
        axis.legend(fontsize=7)
    _save(figure, path)


def flat_features(manifold: Any, features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE of features (case, feature), (case, 2); all at 0 where hardly any two cases differ, as it has no answer.

    The exact method: the faster one of scikit-learn crashes the process on points that coincide.
    """
    if len(np.unique(features.round(6), axis=0)) < 4:
        return np.zeros((len(features), 2))
    made = manifold.TSNE(2, perplexity=perplexity, random_state=seed, init="random", method="exact")
    found: np.ndarray = made.fit_transform(features)
    return found


def draw_features(material: Material, path: Path) -> None:
    """t-SNE of the pooled features of the first fold's test cases, per arm.

    Raises
    ------
    MissingDependencyError
        If scikit-learn, of the extra ``studies``, is not installed.
    """
    manifold = need("sklearn.manifold", extra="studies", purpose="the t-SNE picture")
    rows = material.tested(FOLD)
    ill = material.cohort.ill[rows]
    perplexity = min(material.config.score.perplexity, max(2.0, (len(rows) - 1) / 3))
    figure, axes = plt.subplots(
        1, len(material.arms), figsize=(4.2 * len(material.arms), 4.0), squeeze=False, layout="constrained"
    )
    for axis, arm in zip(axes[0], material.arms, strict=True):
        features = standardised_features(material.features(arm, FOLD))
        flat = flat_features(manifold, features, perplexity, material.run.seed)
        for k, (group, words) in enumerate(((ill, "ill"), (~ill, "well"))):
            axis.scatter(*flat[group].T, s=18, color=_COLOURS[1 - k], alpha=0.75, lw=0, label=words)
        axis.set_title(f"{material.words(arm)}\n{features.shape[1]} features of {len(rows)} held-out cases", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.legend(fontsize=7)
    _save(figure, path)


def _overlaid(axis: Axes, e: Explanation) -> None:
    scan, values = (v.tensor[0, :, :, 0].T.numpy() for v in (e.scan, e.relevance))
    full, signed = scale_of(e) or 1.0, is_signed(e)
    axis.imshow(paint(scan / 1.2, values, full, signed=signed))
    axis.set_axis_off()


def outline(axis: Axes, places: np.ndarray, shape: tuple[int, ...]) -> None:
    """Outline places (row, column) on an image of another size of the same field of view, as a suppressor may have."""
    (rows, columns), (height, width) = places.shape, shape
    x, y = ((np.arange(n) + 0.5) * side / n - 0.5 for n, side in ((columns, width), (rows, height)))  # pixels' middles
    axis.contour(x, y, places, [0.5], colors="#ffd000", linewidths=0.8)


def draw_maps(cases: Sequence[Sequence[Explanation]], findings: Sequence[np.ndarray], path: Path) -> None:
    """One row per case: the radiograph, then each map over what its network saw, each map on its own scale."""
    n_maps = max(len(row) for row in cases)
    size = (1.55 * (n_maps + 1), 1.8 * len(cases) + 0.3)
    figure, axes = plt.subplots(len(cases), n_maps + 1, figsize=size, squeeze=False, layout="constrained")
    for line, explanations, places in zip(axes, cases, findings, strict=True):
        for axis in line:
            axis.set_axis_off()
        image = explanations[0].scan.tensor[0, :, :, 0].T.numpy()
        line[0].imshow(image, cmap="gray", vmin=0, vmax=1)
        if (places > 0.5).any():
            outline(line[0], places, image.shape)
        line[0].set_title(f"{explanations[0].case}\nlog-odds {explanations[0].prediction:.2f}", fontsize=7)
        for axis, e in zip(line[1:], explanations, strict=False):
            _overlaid(axis, e)
            axis.set_title(e.name.replace("integrated-gradients", "integr.-gradients"), fontsize=6.5)
    _save(figure, path)


def _frame(axis: Axes, box: Box, colour: str, width: float) -> None:
    (top, left), (bottom, right) = box.start, box.stop
    axis.add_patch(
        Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, lw=width)
    )


def draw_boxes(rows: Sequence[tuple[str, np.ndarray, list[Box], list[Box]]], path: Path) -> None:
    """Boxes of a map (blue, with their scores) and around the findings (yellow), over the image of each case.

    Parameters
    ----------
    rows
        Title, image (row, column), boxes found and true ones.
    path
        Where to.
    """
    figure, axes = plt.subplots(1, len(rows), figsize=(2.3 * len(rows), 2.6), squeeze=False, layout="constrained")
    for axis, (title, image, found, true) in zip(axes[0], rows, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
        for box in true:
            _frame(axis, box, "#ffd000", 1.5)
        for box in found:
            _frame(axis, box, "#56b4e9", 1.2)
            axis.text(box.start[1], box.start[0] - 2, f"{box.score:.2f}", color="#56b4e9", fontsize=6)
        axis.set_title(title, fontsize=7)
        axis.set_axis_off()
    _save(figure, path)


def draw_decoy(scores: Scores, doses: Sequence[float], arms: Sequence[str], methods: Sequence[str], path: Path) -> None:
    """By the letter's dose: what putting it in does, what it costs, and which maps give it away."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.9), layout="constrained")
    shown = [d for d in doses if group_name(d, arms[0]) in scores]
    for k, arm in enumerate(arms):
        groups = [scores[group_name(d, arm)] for d in shown]
        effect = [g["effect_of_letter_1"] for g in groups]
        bounds = np.array([[s.value - s.low, s.high - s.value] for s in effect]).T
        axes[0].errorbar(
            shown, [s.value for s in effect], yerr=np.nan_to_num(bounds).clip(min=0), marker="o", capsize=3,
            color=_COLOURS[k], label=arm,
        )  # fmt: skip
        for name, style, words in (("auc", "-", "as trained"), ("auc_letter_at_random", "--", "at random")):
            values = [g[name].value for g in groups]
            axes[1].plot(shown, values, style, marker="o", color=_COLOURS[k], label=f"{arm}, letter {words}")
    axes[0].axhline(0, color="0.7", lw=1)
    axes[0].set_ylabel("log-odds with the letter minus without")
    axes[1].set_ylabel("area under the ROC curve")
    for k, method in enumerate(methods):
        points = [(d, scores[group_name(d, arms[0])].get(f"seen_by_{method}")) for d in shown]
        known = [(d, s.value) for d, s in points if s is not None and np.isfinite(s.value)]
        if known:
            axes[2].plot(*zip(*known, strict=True), marker="o", color=_COLOURS[k % len(_COLOURS)], label=method)
    axes[2].axhline(0.05, color="0.7", lw=1, ls=":")
    axes[2].set_ylim(-0.03, 1.03)
    axes[2].set_ylabel(f"patients in whom the map shows the letter ({arms[0]})", fontsize=8)
    for axis in axes:
        axis.set_xlabel("correlation of the letter with the label")
        handles, _ = axis.get_legend_handles_labels()
        if handles:
            axis.legend(fontsize=7)
    _save(figure, path)
