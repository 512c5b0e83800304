"""Carrying a case's map to the cohort's grid: a contribution keeps its total, everything else is interpolated.

Where the axes of both grids are parallel the exact matrices of `regard.core.geometry` are used. Otherwise every voxel
is cut into parts that are no larger than those of the other grid: a contribution is shared out among the template's
voxels (push), everything else is averaged over the parts (pull). Through a displacement field a contribution is pulled
as a density and multiplied by the Jacobian determinant.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from regard.cohort.warp import Warp
from regard.core.errors import GeometryError
from regard.core.geometry import AxisResampling
from regard.core.quantity import Quantity
from regard.core.volume import Grid

__all__ = ["Carrier"]

_FINEST = 8


@dataclass(frozen=True, eq=False)
class Carrier:
    """The way from a scan's grid to the cohort's.

    Parameters
    ----------
    scan
        Grid of the case.
    template
        Grid of the cohort.
    warp
        Where each place of the template lies in the scan's world; by default at the same millimetres.
    """

    scan: Grid
    template: Grid
    warp: Warp | None = None

    def carry(self, values: np.ndarray, quantity: Quantity) -> tuple[np.ndarray, float]:
        """Carry a map (i, j, k), NaN where nothing was seen.

        Returns
        -------
        carried
            (i, j, k) on the template's grid, float32; NaN where nothing was seen.
        outside
            Part of a contribution that fell off the template.
        """
        if self.warp is None and self.scan.matches(self.template):
            return values.astype(np.float32), 0.0
        filled, seen = np.nan_to_num(values.astype(np.float64)), np.isfinite(values).astype(np.float64)
        if not quantity.sums:
            return self._pulled(filled, seen), 0.0
        if self.warp is not None and self.warp.field is not None:
            density = self._pulled(filled / abs(np.linalg.det(self.scan.affine[:3, :3])), seen)
            volume = abs(np.linalg.det(self.template.affine[:3, :3]))
            carried = density.astype(np.float64) * volume * self.warp.jacobian(self.template)
        else:
            carried, reached = self._pushed(filled), self._pushed(seen)
            carried = np.where(reached > 1e-6 * reached.max(initial=0), carried, np.nan)
        return carried.astype(np.float32), float(filled.sum() - np.nansum(carried))

    def _scan_from_template(self) -> Grid:
        """The scan's grid as the template's world sees it, for an affine warp."""
        if self.warp is None:
            return self.scan
        return Grid(self.scan.shape, np.linalg.inv(self.warp.matrix) @ self.scan.affine)

    def _parallel(self) -> AxisResampling | None:
        if self.warp is not None and self.warp.field is not None:
            return None
        try:
            return AxisResampling(self._scan_from_template(), self.template)
        except GeometryError:
            return None

    def _pulled(self, filled: np.ndarray, seen: np.ndarray) -> np.ndarray:
        way = self._parallel()
        if way is not None:
            total, share = (way.apply(torch.from_numpy(a)[None])[0].numpy() for a in (filled, seen))
        else:
            parts = self._parts(self.scan, self.template)
            total, share = np.zeros(self.template.shape), np.zeros(self.template.shape)
            for offset in _offsets(parts):
                places = self._places_in_scan(offset)
                for array, sums in ((filled, total), (seen, share)):
                    sums += ndimage.map_coordinates(array, places, order=1, mode="grid-constant")
            total, share = total / math.prod(parts), share / math.prod(parts)
        mean = np.divide(total, share, out=np.full(total.shape, np.nan), where=share > 0.5)
        return mean.astype(np.float32)

    @staticmethod
    def _parts(fine: Grid, coarse: Grid) -> tuple[int, int, int]:
        """Into how many parts to cut a voxel of ``coarse``, so that none is larger than one of ``fine``."""
        smallest = min(s for s, n in zip(fine.spacing, fine.shape, strict=True) if n > 1 or max(fine.shape) == 1)
        return tuple(  # type: ignore[return-value]
            1 if n == 1 else min(_FINEST, max(1, math.ceil(s / smallest - 1e-6)))
            for s, n in zip(coarse.spacing, coarse.shape, strict=True)
        )

    def _places_in_scan(self, offset: tuple[float, ...]) -> np.ndarray:
        """Scan indices (3, i, j, k) of the template's voxels, moved by ``offset`` [voxel]."""
        index = np.indices(self.template.shape, dtype=np.float64)
        index += np.asarray(offset).reshape(3, 1, 1, 1)
        world = _apply(self.template.affine, index)
        if self.warp is not None:
            world = self.warp.apply(world)
        return _apply(np.linalg.inv(self.scan.affine), world)

    def _pushed(self, values: np.ndarray) -> np.ndarray:
        """Share every voxel of the scan out among those of the template around it."""
        scan, way = self._scan_from_template(), self._parallel()
        if way is not None:
            # The adjoint of interpolating the template at the scan's voxels: its columns sum to one.
            home, _ = AxisResampling(self.template, scan).adjoint(torch.from_numpy(values)[None])
            array: Tensor = home[0]
            return array.numpy()
        parts = self._parts(self.template, scan)
        to_template = np.linalg.inv(self.template.affine) @ scan.affine
        found = np.zeros(math.prod(self.template.shape))
        index = np.indices(scan.shape, dtype=np.float64)
        for offset in _offsets(parts):
            places = _apply(to_template, index + np.asarray(offset).reshape(3, 1, 1, 1)).reshape(3, -1)
            found += _splat(values.reshape(-1) / math.prod(parts), places, self.template.shape)
        return found.reshape(self.template.shape)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (3, ...) through an affine (4, 4)."""
    moved: np.ndarray = np.tensordot(matrix[:3, :3], points, 1) + matrix[:3, 3].reshape(3, *[1] * (points.ndim - 1))
    return moved


def _offsets(parts: tuple[int, int, int]) -> Iterator[tuple[float, ...]]:
    """Centres of the parts of a voxel, from its centre [voxel]."""
    yield from product(*[[(k + 0.5) / n - 0.5 for k in range(n)] for n in parts])


def _splat(values: np.ndarray, places: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Add ``values`` (n,) to the eight voxels around each place (3, n), by linear weights; flat (i j k)."""
    found = np.zeros(math.prod(shape))
    # What lies within half a voxel of the border belongs to the border's voxel.
    inside = np.ones(len(values), bool)
    for axis, n in enumerate(shape):
        inside &= (places[axis] >= -0.5) & (places[axis] <= n - 0.5)
    values = values[inside]
    kept = [np.clip(places[axis][inside], 0, n - 1) for axis, n in enumerate(shape)]
    below = [np.floor(p).astype(np.int64) for p in kept]
    for corner in product((0, 1), repeat=3):
        weight, index = values.copy(), []
        for axis, up in enumerate(corner):
            part = kept[axis] - below[axis]
            weight = weight * (part if up else 1 - part)
            index.append(np.minimum(below[axis] + up, shape[axis] - 1))
        flat = np.ravel_multi_index(tuple(index), shape)
        found += np.bincount(flat, weight, minlength=len(found))
    return found
