"""Pictures of the study: ages read, maps side by side, regions against the truth, the patches."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.report.colours import is_signed, paint, scale_of
from regard.studies.brain_age.config import NETWORKS
from regard.studies.brain_age.material import Material
from regard.studies.run import Scores

__all__ = ["draw_ages", "draw_maps", "draw_patches", "draw_regions_against", "draw_young_and_old"]

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "0.6"


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _planes(values: np.ndarray, place: Sequence[int]) -> list[np.ndarray]:
    """Axial, coronal and sagittal slices of (i, j, k) that run right, forwards and up, as the report draws them.

    The patient's right is at the picture's left; sagittal slices look to the left.
    """
    i, j, k = place
    return [values[::-1, :, k].T[::-1], values[::-1, j, :].T[::-1], values[i, ::-1, :].T[::-1]]


def _grey(axis: Axes, plane: np.ndarray, top: float) -> None:
    axis.imshow(plane, cmap="gray", vmin=0, vmax=top)
    axis.set_axis_off()


def draw_ages(material: Material, scores: Scores, path: Path) -> None:
    """Age read against age, for each kind of network; below the age gap before and after its correction."""
    kinds = list(dict.fromkeys(kind for kind, _ in material.kinds))
    figure = Figure(figsize=(4.0 * len(kinds), 3.9), layout="constrained")
    ages = material.test.y
    ends = [ages.min() - 4, ages.max() + 4]
    for axis, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        read = material.predictions(material.test, kind)
        axis.plot(ends, ends, color=_GREY, lw=1)
        axis.scatter(ages, read, s=14, color=_BLUE, alpha=0.7, lw=0)
        group = scores.get(f"{kind}-member0")
        said = f"\nMAE {group['mae']} years, r = {group['pearson_r']}" if group else ""
        axis.set_title(NETWORKS[kind] + said, fontsize=9)
        axis.set_xlabel("age [year]")
    figure.axes[0].set_ylabel("age read from the image, uncorrected [year]")
    _save(figure, path)


def draw_young_and_old(young: Volume, old: Volume, path: Path) -> None:
    """One subject with every structure at its youngest and at its oldest, and the difference."""
    figure = Figure(figsize=(7.2, 7.0), layout="constrained")
    axes = figure.subplots(3, 3)
    a, b = (v.tensor[0].numpy() for v in (young, old))
    place = [round(n * share) for n, share in zip(a.shape, (0.47, 0.53, 0.47), strict=True)]
    top = float(np.quantile(a[a > 0], 0.995))
    for row, (name, values) in zip(axes, (("young", a), ("old", b)), strict=False):
        for axis, plane in zip(row, _planes(values, place), strict=True):
            _grey(axis, plane, top)
        row[0].set_title(name, fontsize=9, loc="left")
    full = float(np.abs(b - a).max()) or 1.0
    for axis, plane in zip(axes[2], _planes(b - a, place), strict=True):
        axis.imshow(plane, cmap="RdBu_r", vmin=-full, vmax=full)
        axis.set_axis_off()
    axes[2][0].set_title("old minus young", fontsize=9, loc="left")
    _save(figure, path)


def draw_maps(explanations: Sequence[Explanation], truth: torch.Tensor | None, path: Path) -> None:
    """One subject: the scan, what its reading truly depends on, and each map over it, each on its own scale."""
    scan = explanations[0].scan.tensor[0].numpy()
    top = float(np.quantile(scan[scan > scan.min()], 0.995))
    place = [round(n * share) for n, share in zip(scan.shape, (0.40, 0.53, 0.47), strict=True)]
    n = len(explanations) + 1 + (truth is not None)
    figure = Figure(figsize=(1.75 * n, 5.2), layout="constrained")
    axes = figure.subplots(3, n, squeeze=False)
    for axis, plane in zip(axes[:, 0], _planes(scan, place), strict=True):
        _grey(axis, plane, top)
    first = explanations[0]
    axes[0, 0].set_title(f"{first.case}\n{first.prediction:.1f} years", fontsize=7)
    column = 1
    if truth is not None:
        for axis, plane, under in zip(
            axes[:, 1], _planes(truth.float().numpy(), place), _planes(scan, place), strict=True
        ):
            _grey(axis, under, top)
            axis.imshow(np.where(plane > 0, plane, np.nan), cmap="summer", vmin=0, vmax=1, alpha=0.8)
        axes[0, 1].set_title("truth: what the\nnetwork depends on", fontsize=7)
        column = 2
    for axis_column, e in zip(axes[:, column:].T, explanations, strict=True):
        values = np.nan_to_num(e.relevance.tensor[0].numpy())
        full, signed = scale_of(e) or 1.0, is_signed(e)
        for axis, plane, under in zip(axis_column, _planes(values, place), _planes(scan, place), strict=True):
            _grey(axis, under, top)
            axis.imshow(paint(under / top, plane, full, signed=signed))
        axis_column[0].set_title(e.name.replace("integrated-gradients", "integrated\ngradients"), fontsize=7)
    _save(figure, path)


def draw_regions_against(
    densities: Mapping[str, Mapping[str, float]], truths: Mapping[str, Mapping[str, float]], path: Path
) -> None:
    """Mean density of each region by each method against the planted effect and against what the network uses."""
    figure = Figure(figsize=(2.6 * len(densities), 5.4), layout="constrained")
    axes = figure.subplots(len(truths), len(densities), squeeze=False, sharey="col")
    for row, (word, truth) in zip(axes, truths.items(), strict=True):
        for axis, (method, own) in zip(row, densities.items(), strict=True):
            names = [name for name in own if name in truth and truth[name] > 0]
            axis.scatter([truth[n] for n in names], [own[n] for n in names], s=14, color=_BLUE, lw=0)
            for name in sorted(names, key=lambda n: -truth[n])[:4]:
                axis.annotate(name.replace(", ", "\n"), (truth[name], own[name]), fontsize=5, color="0.3")
            axis.set_xscale("log")
            axis.axhline(1, color=_GREY, lw=0.8)
            axis.set_title(method, fontsize=7)
            axis.set_xlabel(f"density of {word}", fontsize=7)
            axis.tick_params(labelsize=6)
        row[0].set_ylabel("density of the map", fontsize=7)
    _save(figure, path)


def draw_patches(error: Volume, base: Volume, path: Path) -> None:
    """Error of the network of each patch, over the mean image."""
    values, under = error.tensor[0].numpy(), base.tensor[0].numpy()
    place = [round(n * share) for n, share in zip(under.shape, (0.40, 0.53, 0.47), strict=True)]
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    drawn = None
    for axis, plane, grey in zip(axes, _planes(values, place), _planes(under, place), strict=True):
        _grey(axis, grey, float(np.quantile(under, 0.995)))
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        drawn = axis.imshow(plane, cmap="viridis_r", vmin=low, vmax=high, alpha=0.7)
    figure.colorbar(drawn, ax=list(axes), label="mean absolute error of the patch [year]", shrink=0.8)  # type: ignore[arg-type]
    _save(figure, path)
