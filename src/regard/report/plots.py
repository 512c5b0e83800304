"""A map over its scan as matplotlib axes, for scripts and notebooks."""

from contextlib import nullcontext
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.report.colours import is_signed, paint, scale_of
from regard.report.display import Convention, display_volume, grey, planes, slice_of, window
from regard.report.display import convention as turned_to
from regard.report.figures import draw, turned
from regard.report.outlines import draw_outlines, masks

__all__ = ["plot"]


def plot(
    explanation: Explanation,
    *,
    lightbox: int | None = None,
    outline: Any = None,
    scale: float | None = None,
    convention: Convention | None = None,
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
        A region to outline, or a mapping of names to regions: each a `Volume`, a path, a nibabel image or an array on
        the scan's grid; above 0.5 is inside.
    scale
        Value in full colour, in the map's unit; by default as in the report.
    convention
        ``"radiological"``: the patient's right is at the left of axial and coronal pictures; ``"neurological"``: at
        the right. By default as in `regard.report.display.convention`, radiological.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each plane or slice; ``axes[0].figure`` is the figure.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    if lightbox is not None and lightbox < 1:
        raise InputError(f"lightbox={lightbox}", "a number of slices from 1", "or None for the planes")
    if explanation.scan.signal is not None:
        if lightbox is not None or outline is not None:
            raise InputError("lightbox or outline for the map of a signal", "neither", "leave them out")
        return list(draw(explanation, scale=scale, new=pyplot.figure).axes[:-1])
    with nullcontext() if convention is None else turned_to(convention):
        if lightbox is not None:
            return _lightbox(explanation, lightbox, scale, outline)
        figure = draw(explanation, scale=scale, outlines=outline, new=pyplot.figure)
        return list(figure.axes[: len(figure.axes) - 1])


def _lightbox(explanation: Explanation, n: int, scale: float | None, outline: Any) -> list[Axes]:
    """Slices along the last display axis, evenly over the slices with finite values."""
    scan = display_volume(explanation.scan)
    plane = planes(scan)[0]
    relevance = turned(explanation, explanation.relevance)
    regions = masks(outline, explanation)
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
        draw_outlines(axis, regions, plane, int(index), (across, down))
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
    return drawn
