"""Pictures of invariances: x, x~, f(x), f(x~) and their differences, side by side."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.report.colours import colormap
from regard.report.display import display_volume, grey, planes, slice_of, window

__all__ = ["Row", "draw_curve", "draw_gallery", "draw_spread", "embedded", "plane_through", "save_figure"]


@dataclass(frozen=True, eq=False)
class Row:
    """One sample of a gallery.

    Parameters
    ----------
    sample
        x~, on the scan's grid.
    output
        f(x~) as an image, or its value.
    words
        What is written beside it.
    """

    sample: Volume
    output: Volume | float
    words: str


def plane_through(volume: Volume, like: np.ndarray) -> np.ndarray:
    """The slice of a volume through the place where ``like`` (i, j, k) of its display grid is largest."""
    shown = display_volume(volume)
    plane = planes(shown)[0]
    index = int(np.unravel_index(np.abs(like).argmax(), like.shape)[plane.through])
    return slice_of(grey(shown), plane, index)


def draw_gallery(image: Volume, output: Volume | float, rows: Sequence[Row], title: str, output_unit: str) -> Figure:
    """Rows of x, x~, x~ - x and, of an image output, f(x), f(x~), f(x~) - f(x).

    Both differences of a row share one scale, so that what the output keeps of the change can be compared with it.
    """
    is_image = isinstance(output, Volume)
    names = ["x", "x\N{COMBINING TILDE}", "x\N{COMBINING TILDE} \N{MINUS SIGN} x"]
    if is_image:
        names += ["f(x)", "f(x\N{COMBINING TILDE})", "f(x\N{COMBINING TILDE}) \N{MINUS SIGN} f(x)"]
    n = len(names)
    figure = Figure(figsize=(1.95 * n + 0.9, 2.25 * len(rows) + 0.75), layout="constrained")
    axes = figure.subplots(len(rows), n, squeeze=False)
    figure.suptitle(title, fontsize=10)
    low, high = window(grey(image), image.unit)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        change = row.sample.with_tensor(row.sample.tensor - image.tensor.cpu())
        guide = grey(display_volume(change))
        pictures: list[tuple[Volume, tuple[float, float] | None]]
        pictures = [(image, (low, high)), (row.sample, (low, high)), (change, None)]
        if isinstance(output, Volume) and isinstance(row.output, Volume):
            span = window(grey(output), output.unit)
            pictures += [(output, span), (row.output, span)]
            pictures.append((output.with_tensor(row.output.tensor - output.tensor), None))
        full = max(float(np.abs(guide).max()), 1e-12)
        for axis, (volume, levels), name in zip(line, pictures, names, strict=True):
            values = plane_through(volume, guide)
            kind: dict[str, Any] = {"cmap": "gray"}
            if levels is not None:
                kind |= {"vmin": levels[0], "vmax": levels[1]}
            else:
                kind = {"cmap": colormap(True), "vmin": -full, "vmax": full}
            shown = axis.imshow(values, interpolation="nearest", **kind)
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(name, fontsize=9)
        bar = figure.colorbar(shown if is_image else line[2].images[0], ax=line[-1], fraction=0.05, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.set_label(image.unit if not is_image else output_unit, fontsize=7)
        line[0].set_ylabel(row.words, fontsize=7)
    return figure


def draw_spread(maps: Mapping[str, Volume]) -> Figure:
    """Standard deviation of the samples around x, by kind, on one scale."""
    figure = Figure(figsize=(3.2 * len(maps) + 0.6, 3.2), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    full = max(max(float(v.tensor.max()) for v in maps.values()), 1e-12)
    for axis, (name, volume) in zip(axes, maps.items(), strict=True):
        shown = axis.imshow(
            plane_through(volume, grey(display_volume(volume))), cmap=colormap(False), vmin=0, vmax=full
        )
        axis.set_title(name, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(shown, ax=list(axes), fraction=0.05).set_label(next(iter(maps.values())).unit)
    return figure


def draw_curve(curve: Mapping[float, Sequence[float]], controls: Mapping[str, float], noisiest: float) -> Figure:
    """Visibility of the largest hidden change against the tolerance."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    at = sorted(curve)
    axis.plot(at, [float(np.median(curve[t])) for t in at], "o-", color="#1f5fbf", label="network, median")
    axis.plot(at, [max(curve[t]) for t in at], "^:", color="#1f5fbf", label="network, largest")
    axis.plot(at, at, "-", color="#888888", label="the identity: as visible as in the output")
    for (name, value), mark in zip(controls.items(), ("s", "D", "v"), strict=False):
        axis.plot([1.0 if 1.0 in curve else at[0]], [value], mark, label=f"{name}, median")
    axis.axhline(noisiest, color="#c0392b", lw=0.8, ls="--", label="most visible blob of noise alone")
    axis.set_xlabel("tolerance: largest d' of f(x\N{COMBINING TILDE}) \N{MINUS SIGN} f(x)")
    axis.set_ylabel("d' of x\N{COMBINING TILDE} \N{MINUS SIGN} x in the image")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with atomic(path) as draft:
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path


def embedded(path: Path) -> str:
    """A PNG file as a ``data:`` address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
