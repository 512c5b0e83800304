"""Pictures of a cohort: population maps, regions with their intervals, predictions beside labels."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from regard.core.errors import MissingDependencyError
from regard.core.optional import need
from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.io.maps import nifti_bytes
from regard.report.colours import colormap, full_colour, paint
from regard.report.display import display_volume, grey, inside, peak, planes, slice_of, window

__all__ = ["draw_pattern", "draw_population", "draw_predictions", "draw_regions"]

_TEXT, _QUIET, _POINT, _CLEAR = "#1b2330", "#5a6473", "#a9b1bd", "#c45410"
_LONG_SIDE = 480


def draw_population(
    mean: Volume,
    t: Volume,
    base: Volume,
    stem: Path,
    *,
    title: str,
    facts: Mapping[str, Any],
    space: str,
    n_cases: int,
    against: str,
) -> list[Path]:
    """Write pictures of a population map: its mean and its t over what it is drawn on.

    Parameters
    ----------
    mean, t
        On the cohort's grid.
    base
        What they are drawn on: the template, or the mean image.
    stem
        Start of the files' names.
    title
        Name of the map.
    facts
        Its quantity, unit, sign, method, target, mean prediction and output unit.
    space
        Maps in an MNI space are also drawn as a glass brain, where nilearn is installed.
    n_cases
        Of the cohort.
    against
        What the t-map compares with.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    rows = [
        _Row(mean, f"mean of {n_cases} cases: {facts['quantity']} [{facts['unit']}]", str(facts["sign"]) != "unsigned"),
        _Row(t, f"t: {against}", signed=True),
    ]
    return _drawn(rows, base, stem, title, space)


def draw_pattern(slope: Volume, t: Volume, base: Volume, stem: Path, *, space: str, n_cases: int) -> list[Path]:
    """Write pictures of the pattern of a reading: its slope and its t; parameters as `draw_population`."""
    rows = [
        _Row(slope, f"slope over {n_cases} cases [{slope.unit}]", signed=True),
        _Row(t, "t: no change with the reading", signed=True),
    ]
    return _drawn(rows, base, stem, "pattern", space)


def _drawn(rows: Sequence["_Row"], base: Volume, stem: Path, title: str, space: str) -> list[Path]:
    rows = [row for row in rows if bool(torch.isfinite(row.values.tensor).any())]
    if not rows:
        return []
    files = [_slices(rows, base, stem.with_name(f"{stem.name}_slices.png"), title)]
    if space.startswith("MNI") and min(rows[0].values.shape) > 1:
        try:
            files += _brains(rows, stem, title)
        except MissingDependencyError:
            return files
    return files


@dataclass(frozen=True, eq=False)
class _Row:
    """A population map with what is said of it; ``signed`` maps are drawn with both halves of the colours."""

    values: Volume
    caption: str
    signed: bool

    @property
    def both(self) -> bool:
        """Whether both halves of the colours are needed."""
        return self.signed or bool((self.values.tensor < 0).any())

    @property
    def full(self) -> float:
        """Value in full colour, as `regard.report.colours.scale_of`."""
        return full_colour(self.values.tensor.detach().cpu().numpy())


def _slices(rows: Sequence[_Row], base: Volume, path: Path, title: str) -> Path:
    """Planes through the first row's peak inside the body, for each row, with its colour bar; of signals, traces."""
    if base.signal is not None:
        return _traces(rows, base, path, title)
    scan = display_volume(base)
    shown = planes(scan)
    maps = [display_volume(replace(row.values, has_geometry=base.has_geometry)).tensor[0].numpy() for row in rows]
    place = peak(torch.as_tensor(maps[0]), inside(scan))
    low, high = window(grey(scan), scan.unit)
    image = (grey(scan) - low) / (high - low)
    extent = np.multiply(scan.shape, scan.spacing)
    widths = [float(extent[p.columns]) for p in shown]
    tallest = max(float(extent[p.rows]) for p in shown)
    inch = min(9.0 / sum(widths), 3.4 / tallest)
    height = tallest * inch + 0.95
    width = max(6.4, sum(widths) * inch + 0.4 * len(shown))
    figure = Figure(figsize=(width, height * len(rows) + 0.45), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for row, values, part in zip(rows, maps, parts, strict=True):
        axes = part.subplots(1, len(shown), width_ratios=widths, squeeze=False)[0]
        for axis, plane in zip(axes, shown, strict=True):
            index = int(place[plane.through])
            # A t without spread is drawn as zero; what no case saw is striped.
            own = np.where(np.isfinite(values) | ~np.isfinite(maps[0]), values, 0.0)
            under, over = slice_of(image, plane, index), slice_of(own, plane, index)
            times = max(1, _LONG_SIDE // max(under.shape))
            under, over = (a.repeat(times, 0).repeat(times, 1) for a in (under, over))
            side = (float(extent[plane.columns]), float(extent[plane.rows]))
            axis.imshow(paint(under, over, row.full, signed=row.both), extent=(0, side[0], side[1], 0), aspect="equal")
            axis.set_axis_off()
            of = f", slice {index + 1} of {scan.shape[plane.through]}" if scan.shape[plane.through] > 1 else ""
            sides = f" ({plane.letters[0]} left, {plane.letters[1]} right)" if plane.letters else ""
            axis.set_title((plane.name if plane.letters else "") + of + sides, fontsize=7, color=_QUIET, pad=3)
        colours = colormap(row.both)
        bar = part.colorbar(
            ScalarMappable(Normalize(-row.full if row.both else 0.0, row.full), colours),
            ax=list(axes), orientation="horizontal", aspect=50, shrink=0.6, pad=0.02,
        )  # fmt: skip
        bar.ax.tick_params(labelsize=7, colors=_TEXT)
        bar.set_label(_plain(row.caption), fontsize=8, color=_TEXT)
    figure.suptitle(_plain(title), fontsize=11, color=_TEXT, weight="bold")
    return _save(figure, path)


def _traces(rows: Sequence[_Row], base: Volume, path: Path, title: str) -> Path:
    """Each row over time [s], above the mean recording of the first lead in grey."""
    times = base.affine[0, 3] + base.affine[0, 0] * np.arange(base.shape[0])
    figure = Figure(figsize=(9.5, 2.3 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for row, axis in zip(rows, axes, strict=True):
        beside = axis.twinx()
        beside.plot(times, base.tensor[0, :, 0, 0].numpy(), color="#b8c0cc", linewidth=0.9)
        beside.set_ylabel("mean of the first lead", fontsize=7, color=_QUIET)
        beside.tick_params(labelsize=7, colors=_QUIET)
        axis.set_zorder(beside.get_zorder() + 1)
        axis.patch.set_visible(False)
        axis.axhline(0, color="#d5dae1", linewidth=0.8)
        axis.plot(times, row.values.tensor[0, :, 0, 0].numpy(), color="#1f5fa8", linewidth=0.9)
        axis.set_title(_plain(row.caption), fontsize=8, color=_TEXT)
        axis.tick_params(labelsize=7, colors=_TEXT)
    axes[-1].set_xlabel("time [s]", fontsize=8, color=_TEXT)
    figure.suptitle(_plain(title), fontsize=11, color=_TEXT, weight="bold")
    return _save(figure, path)


def _brains(rows: Sequence[_Row], stem: Path, title: str) -> list[Path]:
    plotting = need("nilearn.plotting", extra="studies", purpose="a glass brain")
    nibabel = need("nibabel", extra="studies", purpose="a glass brain")
    files = []
    for word, row in zip(("mean", "t"), rows, strict=False):
        values = row.values.with_tensor(row.values.tensor.nan_to_num(0.0))
        image = nibabel.Nifti1Image.from_bytes(nifti_bytes(values, word, packed=False))
        figure = Figure(figsize=(9.5, 3.4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plotting.plot_glass_brain(
                image,
                figure=figure,
                display_mode="lyrz",
                colorbar=True,
                plot_abs=False,
                symmetric_cbar=row.both,
                cmap=colormap(row.both, ground=1.0),
                vmin=-row.full if row.both else 0.0,
                vmax=row.full,
                threshold=0.1 * row.full,
            )
            figure.suptitle(_plain(f"{title}, {row.caption}"), fontsize=8, color=_TEXT, y=0.99)
            files.append(_save(figure, stem.with_name(f"{stem.name}_{word}_glass.png")))
    return files


def draw_regions(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> Path:
    """Write a picture of regions by density, with their intervals; those with p below 0.05 stand out.

    Parameters
    ----------
    rows
        Of ``regions.tsv``, in the order to draw.
    path
        The file.
    title
        Name of the map.
    """
    figure = Figure(figsize=(7.2, 1.3 + 0.24 * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    tested = any(not np.isnan(r["p_maxT"]) for r in rows)
    for n, row in enumerate(rows):
        clear = not np.isnan(row["p_maxT"]) and row["p_maxT"] < 0.05
        colour = _CLEAR if clear else _QUIET
        if not np.isnan(row["low"]):
            axis.plot([row["low"], row["high"]], [n, n], color=colour, linewidth=2.2, solid_capstyle="butt")
        axis.plot(row["density"], n, "o", color=colour, markersize=4.5)
    axis.axvline(1.0, color=_POINT, linewidth=1, zorder=0)
    axis.set_yticks(range(len(rows)), [_plain(str(r["region"])) for r in rows], fontsize=8, color=_TEXT)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    label = "density: share of relevance over share of volume"
    axis.set_xlabel(label + ("; orange: p < 0.05 against the null map" if tested else ""), fontsize=8, color=_TEXT)
    axis.set_title(_plain(f"{title}, n = {rows[0]['n']} patients"), fontsize=10, color=_TEXT, weight="bold")
    axis.tick_params(axis="x", labelsize=8, colors=_TEXT)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return _save(figure, path)


def draw_predictions(pairs: np.ndarray, path: Path, *, unit: str) -> Path:
    """Write a picture of predictions over labels.

    Parameters
    ----------
    pairs
        (case, 2): prediction and label.
    path
        The file.
    unit
        Of both.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axis = figure.add_subplot()
    low, high = float(pairs.min()), float(pairs.max())
    reach = 0.04 * (high - low or 1.0)
    axis.plot([low, high], [low, high], color=_POINT, linewidth=1)
    axis.plot(pairs[:, 1], pairs[:, 0], "o", color=_CLEAR, markersize=4, alpha=0.6, markeredgewidth=0)
    axis.set_xlim(low - reach, high + reach)
    axis.set_ylim(low - reach, high + reach)
    axis.set_aspect("equal")
    axis.set_xlabel(_plain(f"label [{unit}]"), fontsize=8, color=_TEXT)
    axis.set_ylabel(_plain(f"prediction [{unit}]"), fontsize=8, color=_TEXT)
    axis.tick_params(labelsize=8, colors=_TEXT)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    with atomic(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
