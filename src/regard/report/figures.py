"""Pictures of maps: the image with the map over it, its colour bar, unit and sign sentence."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.report import words
from regard.report.colours import GROUND, is_signed, paint, scale_key, scale_of
from regard.report.display import Plane, display_volume, extreme, grey, obliquity, planes, slice_of, window
from regard.report.outlines import draw_outlines, masks
from regard.report.signals import draw_signal

__all__ = ["draw", "overlay", "place_of", "turned"]

_TEXT, _QUIET = "#1b2330", "#5a6473"
_LONG_SIDE = 480


def overlay(
    explanation: Explanation,
    path: str | Path,
    *,
    scale: float | Mapping[Hashable, float] | None = None,
    outlines: Mapping[str, Any] | None = None,
) -> Path:
    """Write a PNG of the image with the map over it.

    Parameters
    ----------
    explanation
        What to draw: the planes through the map's extreme inside the foreground.
    path
        The file, ``maps/<stem>.png``.
    scale
        Value drawn in full colour, or `regard.report.colours.common_scales` of the maps it is compared with; by
        default `regard.report.colours.scale_of` this map.
    outlines
        Regions whose borders are drawn, by what they are.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(path)
    figure = draw(explanation, scale=scale, outlines=outlines)
    with atomic(path) as draft, warnings.catch_warnings():
        # A case id may be written in a script that the font lacks: a box is drawn for it.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path


def draw(
    explanation: Explanation,
    *,
    scale: float | Mapping[Hashable, float] | None = None,
    outlines: Any = None,
    new: Callable[..., Figure] = Figure,
) -> Figure:
    """The figure that `overlay` writes; one set of axes per plane, titled with the plane's name.

    A flat image is shown beside its overlay. ``new`` makes the figure, as `matplotlib.pyplot.figure` does for one that
    a notebook shows.
    """
    value = scale.get(scale_key(explanation)) if isinstance(scale, Mapping) else scale
    full = scale_of(explanation) if value is None else float(value)
    if explanation.scan.signal is not None:
        shared = full != scale_of(explanation)
        return draw_signal(
            explanation,
            full,
            lambda figure, unseen: _captions(figure, explanation, full, shared=shared, unseen=unseen, outlined=()),
            lambda axis: _colour_bar(axis, full, explanation),
            new,
        )
    scan = display_volume(explanation.scan)
    shown = planes(scan)
    place = place_of(explanation, scan)
    low, high = window(grey(scan), scan.unit)
    base = (grey(scan) - low) / (high - low)
    relevance = turned(explanation, explanation.relevance)
    resolved = _resolved(explanation)
    regions = masks(outlines, explanation)
    extent = np.multiply(scan.shape, scan.spacing)
    sides = [(float(extent[p.columns]), float(extent[p.rows])) for p in shown]
    pictures = [(p, side, True) for p, side in zip(shown, sides, strict=True)]
    if len(shown) == 1:
        pictures.insert(0, (shown[0], sides[0], False))
    figure, axes, bar = _page([side for _, side, _ in pictures], new)
    for (plane, side, over), axis in zip(pictures, axes, strict=True):
        index = place[plane.through]
        image, values = (slice_of(a, plane, index) for a in (base, relevance))
        sure = None if resolved is None else slice_of(resolved, plane, index)
        times = max(1, _LONG_SIDE // max(image.shape))
        image, values = (a.repeat(times, 0).repeat(times, 1) for a in (image, values))
        sure = None if sure is None else sure.repeat(times, 0).repeat(times, 1)
        values, sure = (values, sure) if over else (np.zeros_like(values), None)
        picture = paint(image, values, full, signed=is_signed(explanation), resolved=sure)
        axis.imshow(picture, extent=(0, side[0], side[1], 0), interpolation="nearest", aspect="equal")
        draw_outlines(axis, regions, plane, index, side)
        _label(axis, plane, scan, index, over=over or len(shown) > 1)
    _colour_bar(bar, full, explanation)
    _captions(
        figure, explanation, full, shared=full != scale_of(explanation), unseen=bool(np.isnan(relevance).any()),
        outlined=regions,
    )  # fmt: skip
    return figure


def turned(explanation: Explanation, volume: Volume) -> np.ndarray:
    """A map's values on the display grid of the scan, whatever its own ``has_geometry`` says."""
    turned = display_volume(replace(volume, has_geometry=explanation.scan.has_geometry))
    array: np.ndarray = turned.tensor[0].detach().cpu().float().numpy()
    return array


def _resolved(explanation: Explanation) -> np.ndarray | None:
    resolved = explanation.resolved()
    if resolved is None:
        return None
    return turned(explanation, explanation.relevance.with_tensor(resolved[None].float())) > 0.5


def place_of(explanation: Explanation, scan: Volume) -> tuple[int, ...]:
    """Voxel of the display volume ``scan`` through which the planes go."""
    world = explanation.scan.grid.to_world(extreme(explanation))
    return tuple(int(i) for i in np.rint(scan.grid.to_index(list(world))))


def _page(sides: list[tuple[float, float]], new: Callable[..., Figure]) -> tuple[Figure, list[Axes], Axes]:
    """Axes for pictures of these sizes [mm], all at one scale, above a colour bar."""
    widest, tallest = sum(w for w, _ in sides), max(h for _, h in sides)
    shortest = max(tallest, 0.06 * widest)
    inch = min(9.0 / widest, 4.6 / shortest)
    gap, top, bottom = 0.35, 0.95, 1.25
    width = max(widest * inch + gap * (len(sides) + 1), 6.4)
    height = shortest * inch + top + bottom
    figure = new(figsize=(width, height))
    left = (width - widest * inch - gap * (len(sides) - 1)) / 2
    axes = []
    for w, h in sides:
        box = (left, bottom + (shortest - h) * inch / 2, w * inch, max(h, 0.02 * widest) * inch)
        axes.append(figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height)))
        left += w * inch + gap
    bar = figure.add_axes((0.5 - 1.8 / width, 0.72 / height, 3.6 / width, 0.14 / height))
    return figure, axes, bar


def _label(axis: Axes, plane: Plane, scan: Volume, index: int, *, over: bool) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    position = f", slice {index + 1} of {scan.shape[plane.through]}" if scan.shape[plane.through] > 1 else ""
    title = (f"{plane.name}{position}" if plane.letters else ("map over image" + position)) if over else "image"
    axis.set_title(title, fontsize=8, color=_QUIET, pad=4)
    if plane.letters is None:
        return
    places = (
        (0.015, 0.5, "left", "center"),
        (0.985, 0.5, "right", "center"),
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
    )
    backing = {"facecolor": "black", "alpha": 0.35, "edgecolor": "none", "pad": 1.2}
    style: dict[str, Any] = {
        "transform": axis.transAxes,
        "fontsize": 9,
        "color": "white",
        "weight": "bold",
        "bbox": backing,
    }
    for letter, (x, y, across, up) in zip(plane.letters, places, strict=True):
        axis.text(x, y, letter, ha=across, va=up, **style)


def _colour_bar(axis: Axes, full: float, explanation: Explanation) -> None:
    signed = is_signed(explanation)
    low = -full if signed else 0.0
    values = np.linspace(low, full, 255)[None].repeat(24, 0)
    under = GROUND if explanation.scan.signal is None else 1.0
    colours = paint(np.full(values.shape, under), values, full, signed=signed)
    axis.imshow(colours, extent=(low, full, 0, 1), aspect="auto")
    axis.set_yticks([])
    ticks = [low, low / 2, 0.0, full / 2, full] if signed else [0.0, full / 2, full]
    axis.set_xticks(ticks, [words.number(t, 3) for t in ticks], fontsize=8, color=_TEXT)
    axis.set_xlabel(f"{explanation.quantity} [{explanation.unit}]", fontsize=8, color=_TEXT, labelpad=1)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _captions(
    figure: Figure, explanation: Explanation, full: float, *, shared: bool, unseen: bool, outlined: Iterable[str]
) -> None:
    inches = figure.get_figheight()
    name = f"{explanation.name}, input {explanation.input}" if explanation.input else explanation.name
    put = figure.text
    title = words.in_figure(f"{explanation.case}   {name}")
    put(0.5, 1 - 0.27 / inches, title, fontsize=11, color=_TEXT, ha="center", weight="bold")
    line = f"{explanation.asked} = {words.prediction(explanation)}"
    compared = words.reference(explanation)
    line += f"; reference: {compared}" if compared else ""
    tilt = 0.0 if explanation.scan.signal is not None else obliquity(explanation.scan)
    line += f"; oblique by {tilt:.0f}°, planes follow the voxels" if tilt > 3 else ""
    # About 17 letters of 8.5 points take an inch.
    size = min(8.5, 8.5 * 17 * figure.get_figwidth() / len(line))
    put(0.5, 1 - 0.5 / inches, words.in_figure(line), fontsize=size, color=_TEXT, ha="center")
    notes = [words.sign_sentence(explanation)]
    own = "99.5th percentile of |value| over 0.1 % of its largest"
    notes.append(f"colours: {'scale shared with the compared maps' if shared else own}")
    second = [f"outlined: {', '.join(outlined)}"] if outlined else []
    second += (["striped: not seen by the network"] if unseen else []) + (
        ["grey: sign not resolved"] if explanation.resolved() is not None else []
    )
    put(0.5, 0.22 / inches, words.in_figure("; ".join(notes)), fontsize=8, color=_TEXT, ha="center")
    put(0.5, 0.06 / inches, "; ".join([*second, words.RESEARCH_USE.rstrip(".")]), fontsize=7, color=_QUIET, ha="center")
