"""Pictures of attacks: the scan before and after, the change between, and the map before and after."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from regard.core.volume import Volume
from regard.report.colours import colormap, full_colour
from regard.report.display import display_volume, grey, window
from regard.report.invariances import plane_through

__all__ = ["Attacked", "draw_attack"]


@dataclass(frozen=True, eq=False)
class Attacked:
    """One attack, on the scan's grid.

    Parameters
    ----------
    before, after
        The scan.
    map_before, map_after
        The map.
    words
        What came of it.
    """

    before: Volume
    after: Volume
    map_before: Volume
    map_after: Volume
    words: str


def draw_attack(rows: list[Attacked], title: str) -> Figure:
    """A row for each attack: x, x~, x~ - x by its own scale and as large as it is, the map before and after.

    Both maps of a row share one scale. All are cut where the map before is largest.
    """
    names = (
        "scan", "attacked scan", "change, 1:1", "change, its own scale", "map before", "map after",
    )  # fmt: skip
    figure = Figure(figsize=(1.95 * len(names) + 0.9, 2.3 * len(rows) + 0.7), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for number, (line, row) in enumerate(zip(figure.subplots(len(rows), len(names), squeeze=False), rows, strict=True)):
        change = row.before.with_tensor(row.after.tensor - row.before.tensor)
        guide = np.nan_to_num(grey(display_volume(row.map_before)))
        low, high = window(grey(row.before), row.before.unit)
        middle = (high - low) / 2
        own = max(float(np.abs(grey(change)).max()), 1e-12)
        full = full_colour(np.stack([grey(row.map_before), grey(row.map_after)]))
        shown: list[tuple[Volume, dict[str, Any]]] = [
            (row.before, {"cmap": "gray", "vmin": low, "vmax": high}),
            (row.after, {"cmap": "gray", "vmin": low, "vmax": high}),
            (change, {"cmap": "gray", "vmin": -middle, "vmax": middle}),
            (change, {"cmap": colormap(True), "vmin": -own, "vmax": own}),
            (row.map_before, {"cmap": colormap(True), "vmin": -full, "vmax": full}),
            (row.map_after, {"cmap": colormap(True), "vmin": -full, "vmax": full}),
        ]
        for axis, (volume, kind), name in zip(line, shown, names, strict=True):
            axis.imshow(plane_through(volume, guide), interpolation="nearest", **kind)
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(name, fontsize=9)
        for axis, unit in ((line[3], row.before.unit), (line[5], "relevance")):
            bar = figure.colorbar(axis.images[0], ax=axis, fraction=0.05, pad=0.02)
            bar.ax.tick_params(labelsize=6)
            bar.set_label(unit, fontsize=6)
        line[0].set_ylabel(row.words, fontsize=7)
    return figure
