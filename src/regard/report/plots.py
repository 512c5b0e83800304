"""A map over its scan as matplotlib axes, for scripts and notebooks."""

from typing import Any, Literal

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.geometry import resample
from regard.core.volume import Volume
from regard.models.given import as_region
from regard.report.colours import is_signed, paint, scale_of
from regard.report.display import Plane, display_volume, grey, planes, slice_of, window
from regard.report.figures import draw, place_of, turned

__all__ = ["plot"]

Convention = Literal["radiological", "neurological"]

_OUTLINE = "#7fd34e"


def plot(
    explanation: Explanation,
    *,
    lightbox: int | None = None,
    outline: Any = None,
    scale: float | None = None,
    convention: Convention = "radiological",
) -> list[Axes]:
    """Draw a map over its scan: the planes through its extreme, or a box of slices.

    Parameters
    ----------
    explanation
        What to draw.
    lightbox
        So many axial slices (or slices along the last axis of a picture stack), evenly over the places that the network
        saw; None for the planes through the map's extreme.
    outline
        A region to outline: a `Volume`, a path, a nibabel image or an array on the scan's grid.
    scale
        Value in full colour, in the map's unit; by default as in the report.
    convention
        ``"radiological"``: the patient's right is at the left of axial and coronal pictures; ``"neurological"``: at
        the right.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each plane or slice; ``axes[0].figure`` is the figure.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    if convention not in ("radiological", "neurological"):
        raise InputError(f"convention={convention!r}", "radiological or neurological", "choose one")
    if lightbox is not None and lightbox < 1:
        raise InputError(f"lightbox={lightbox}", "a number of slices from 1", "or None for the planes")
    if explanation.scan.signal is not None:
        if lightbox is not None or outline is not None:
            raise InputError("lightbox or outline for the map of a signal", "neither", "leave them out")
        return list(draw(explanation, scale=scale, new=pyplot.figure).axes[:-1])
    region = None if outline is None else _on_display(outline, explanation)
    if lightbox is None:
        figure = draw(explanation, scale=scale, new=pyplot.figure)
        scan = display_volume(explanation.scan)
        shown = planes(scan)
        drawn = list(figure.axes[: len(figure.axes) - 1])
        pictured = [*([shown[0]] if len(drawn) > len(shown) else []), *shown]
        place = place_of(explanation, scan)
        indices = [place[p.through] for p in pictured]
    else:
        drawn, pictured, indices = _lightbox(explanation, lightbox, scale)
        scan = display_volume(explanation.scan)
    for axis, plane, index in zip(drawn, pictured, indices, strict=True):
        if region is not None:
            _outline(axis, slice_of(region, plane, index), plane, scan)
        if convention == "neurological" and plane.letters is not None and plane.letters[0] in "RL":
            _mirror(axis)
    return drawn


def _lightbox(explanation: Explanation, n: int, scale: float | None) -> tuple[list[Axes], list[Plane], list[int]]:
    """Slices along the last display axis, evenly over the slices with finite values."""
    scan = display_volume(explanation.scan)
    plane = planes(scan)[0]
    relevance = turned(explanation, explanation.relevance)
    full = scale_of(explanation) if scale is None else float(scale)
    low, high = window(grey(scan), scan.unit)
    base = (grey(scan) - low) / (high - low)
    others = tuple(a for a in range(3) if a != plane.through)
    seen = np.flatnonzero(np.isfinite(relevance).any(axis=others))
    seen = seen if len(seen) else np.arange(scan.shape[plane.through])
    chosen = seen[np.unique(np.linspace(0, len(seen) - 1, min(n, len(seen))).round().astype(int))]
    columns = int(np.ceil(np.sqrt(len(chosen))))
    rows = -(-len(chosen) // columns)
    sides = np.multiply(scan.shape, scan.spacing)
    across, down = float(sides[plane.columns]), float(sides[plane.rows])
    figure: Figure = pyplot.figure(figsize=(9.0, 0.5 + 9.0 / columns * down / across * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for spare in grid.flat[len(chosen) :]:
        spare.set_axis_off()
    drawn = list(grid.flat[: len(chosen)])
    for axis, index in zip(drawn, chosen, strict=True):
        picture = paint(
            slice_of(base, plane, int(index)), slice_of(relevance, plane, int(index)), full,
            signed=is_signed(explanation),
        )  # fmt: skip
        axis.imshow(picture, extent=(0, across, down, 0), interpolation="nearest", aspect="equal")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_title(f"slice {index + 1}", fontsize=8)
        if plane.letters is not None:
            for letter, x in zip(plane.letters[:2], (0.02, 0.98), strict=True):
                axis.text(
                    x, 0.5, letter, transform=axis.transAxes, color="white", fontsize=8, weight="bold",
                    ha="left" if x < 0.5 else "right", va="center",
                )  # fmt: skip
    figure.suptitle(
        f"{explanation.case}   {explanation.name}: full colour at {full:.3g} {explanation.unit}", fontsize=9
    )
    return drawn, [plane] * len(drawn), [int(i) for i in chosen]


def _on_display(outline: Any, explanation: Explanation) -> np.ndarray:
    """A region on the display grid of the scan, (i, j, k) of 0 to 1."""
    scan = explanation.scan
    region: Volume = as_region(outline, scan)
    on_scan = region if region.grid.matches(scan.grid) else resample(region, scan.grid, order=0)
    return (turned(explanation, on_scan.with_tensor((on_scan.tensor[:1] > 0.5).float())) > 0.5).astype(float)


def _outline(axis: Axes, inside: np.ndarray, plane: Plane, scan: Volume) -> None:
    if not inside.any() or inside.all():
        return
    width, height = (scan.spacing[a] for a in (plane.columns, plane.rows))
    # One voxel around, so that a region at the border is closed.
    padded = np.pad(inside, 1)
    x = (np.arange(padded.shape[1]) - 0.5) * width
    y = (np.arange(padded.shape[0]) - 0.5) * height
    limits = axis.get_xlim(), axis.get_ylim()
    axis.contour(x, y, padded, levels=[0.5], colors=_OUTLINE, linewidths=1.2)
    axis.set_xlim(limits[0])
    axis.set_ylim(limits[1])


def _mirror(axis: Axes) -> None:
    """Turn left and right of a picture and its letters."""
    axis.invert_xaxis()
    sides = [t for t in axis.texts if t.get_text() in ("R", "L")]
    for text in sides:
        text.set_text("L" if text.get_text() == "R" else "R")
