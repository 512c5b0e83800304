"""Borders of regions over a picture, along the edges of their voxels, as the page draws them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import Stroke

from regard.core.explanation import Explanation
from regard.core.geometry import resample
from regard.core.image_target import Contrast
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.models.given import as_region
from regard.report.colours import outline_colour
from regard.report.display import Plane, display_volume, slice_of

__all__ = ["draw_outlines", "edges", "masks", "target_regions"]


def target_regions(target: AbstractTarget | None) -> dict[str, Volume]:
    """The regions that a target speaks of, by its words; empty where it speaks of none."""
    if isinstance(target, Contrast):
        return {**target_regions(target.positive), **target_regions(target.negative)}
    region = getattr(target, "region", None)
    return {target.label: region} if target is not None and isinstance(region, Volume) else {}


def edges(inside: np.ndarray) -> np.ndarray:
    """Edges between a region and what is around it.

    Parameters
    ----------
    inside
        Mask (row, column).

    Returns
    -------
    numpy.ndarray
        Segments (segment, end, x and y) in pixels from the upper left corner.
    """
    padded = np.pad(np.asarray(inside, bool), 1)
    row, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    across = np.stack([np.stack([column, row], -1), np.stack([column + 1, row], -1)], 1)
    row, column = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    down = np.stack([np.stack([column, row], -1), np.stack([column, row + 1], -1)], 1)
    return np.concatenate([across, down]).astype(float)


def masks(outline: Any, explanation: Explanation) -> dict[str, np.ndarray]:
    """Regions on the display grid of a map's scan (i, j, k), by what they are.

    Parameters
    ----------
    outline
        One region, or a mapping of names to regions: a `Volume`, a path, a nibabel image or an array on the scan's
        grid; above 0.5 is inside. None for no region.
    explanation
        Whose scan they lie over.
    """
    if outline is None:
        return {}
    given = outline if isinstance(outline, Mapping) else {"region": outline}
    return {name: _on_display(region, explanation.scan) for name, region in given.items()}


def _on_display(outline: Any, scan: Volume) -> np.ndarray:
    region = as_region(outline, scan)
    region = region if region.grid.matches(scan.grid) else resample(region, scan.grid, order=0)
    mask = Volume((region.tensor[:1].detach().cpu() > 0.5).float(), scan.affine, "label", "", scan.has_geometry)
    array: np.ndarray = display_volume(mask).tensor[0].numpy() > 0.5
    return array


def draw_outlines(
    axis: Axes, regions: Mapping[str, np.ndarray], plane: Plane, index: int, sides: tuple[float, float]
) -> None:
    """Draw the borders of regions in one slice.

    Parameters
    ----------
    axis
        Axes whose picture begins at (0, 0) and is ``sides`` large.
    regions
        Masks of `masks`.
    plane, index
        The slice.
    sides
        Width and height of the picture [mm].
    """
    for number, mask in enumerate(regions.values()):
        inside = slice_of(mask, plane, index)
        scaled = edges(inside) * np.divide(sides, inside.shape[::-1])
        # A dark line below keeps the border visible on white.
        border = [Stroke(linewidth=2.6, foreground="black", capstyle="projecting")]
        for effects in (border, []):
            axis.add_collection(
                LineCollection(list(scaled), colors=outline_colour(number), linewidths=1.2, path_effects=effects),
                autolim=False,
            )
