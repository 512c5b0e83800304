"""The fine grid that the torso is drawn on: cells smaller than a voxel, later averaged.

Shapes are signed distances [mm], negative inside, computed on world coordinates; a cell's share in a shape is a ramp
of one cell's width across the surface. Both together keep volumes and masses the same at any voxel size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

__all__ = ["Box", "Cells", "Place", "averaged", "coverage"]

Place = tuple[Tensor, Tensor, Tensor]
"""World coordinates x (right), y (anterior), z (superior) in mm, each of which broadcasts to (i, j, k)."""

Box = tuple[slice, slice, slice]
"""A part of the fine grid, cut along the borders of voxels."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Centres of fine cells along each axis.

    Parameters
    ----------
    axes
        World coordinates x, y, z [mm] of the cells' centres, each (cells,); x and y fall with the index.
    size
        Size of a cell [mm].
    finer
        Cells along each axis of a voxel.
    """

    axes: tuple[Tensor, Tensor, Tensor]
    size: tuple[float, float, float]
    finer: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells (i, j, k)."""
        x, y, z = self.axes
        return len(x), len(y), len(z)

    @property
    def width(self) -> float:
        """Width of the ramp of a surface [mm]: the mean size of a cell."""
        return sum(self.size) / 3

    @property
    def place(self) -> Place:
        """Coordinates that broadcast to (i, j, k)."""
        x, y, z = self.axes
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @cached_property
    def _starts(self) -> list[tuple[float, float]]:
        """First coordinate and signed step of each axis [mm]."""
        found = []
        for axis, size in zip(self.axes, self.size, strict=True):
            falls = len(axis) > 1 and float(axis[1]) < float(axis[0])
            found.append((float(axis[0]), -size if falls else size))
        return found

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box | None:
        """Part of the grid that holds the cells between two corners [mm], or None if there are none."""
        cuts = []
        for (first, step), n, size, finer, a, b in zip(
            self._starts, self.shape, self.size, self.finer, low, high, strict=True
        ):
            ends = sorted(((a - size - first) / step, (b + size - first) / step))
            start, stop = max(math.ceil(ends[0]), 0), min(math.floor(ends[1]), n - 1) + 1
            if start >= stop:
                return None
            cuts.append(slice(start // finer * finer, -(-stop // finer) * finer))
        return cuts[0], cuts[1], cuts[2]

    def part(self, box: Box) -> "Cells":
        """The cells of a part of the grid."""
        x, y, z = (axis[cut] for axis, cut in zip(self.axes, box, strict=True))
        return replace(self, axes=(x, y, z))

    def voxels(self, box: Box) -> Box:
        """The same part in voxels."""
        i, j, k = (slice(cut.start // n, cut.stop // n) for cut, n in zip(box, self.finer, strict=True))
        return i, j, k


def coverage(distance: Tensor, width: float) -> Tensor:
    """Share of a cell inside a shape, from the signed distance [mm] of its centre."""
    return (0.5 - distance / width).clamp_(0, 1)


def averaged(values: Tensor, finer: Sequence[int]) -> Tensor:
    """Mean of the cells of each voxel: (i, j, k) of cells to (i, j, k) of voxels."""
    for axis, n in enumerate(finer):
        if n > 1:
            values = values.unflatten(axis, (-1, n)).mean(axis + 1)
    return values
