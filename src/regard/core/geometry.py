"""Moving images between grids, and maps back home through world coordinates.

Preparing an image for a network only ever makes a new tensor and a new affine. Grids that share their axes (any
permutation, flip, scale and shift) are joined by one matrix per axis, whose transpose is the exact adjoint; other
grids are joined by general linear interpolation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import GeometryError
from regard.core.spatial import along, axis_matrix, row_sums
from regard.core.volume import Grid, Volume

__all__ = ["AxisResampling", "reorient_grid", "resample"]


@dataclass(frozen=True)
class AxisResampling:
    """Resampling between two grids whose axes are parallel, as one matrix per axis.

    Parameters
    ----------
    source
        Grid of the scan.
    destination
        Grid of the network's input.

    Raises
    ------
    GeometryError
        If the grids' axes are not parallel.
    """

    source: Grid
    destination: Grid

    def __post_init__(self) -> None:
        matrix = np.linalg.inv(self.source.affine) @ self.destination.affine
        linear = matrix[:3, :3]
        order = np.abs(linear).argmax(0)
        rest = linear.copy()
        rest[order, range(3)] = 0
        if sorted(order) != [0, 1, 2] or np.abs(rest).max() > 1e-4 * np.abs(linear).max():
            raise GeometryError("two grids that are oblique to each other", "parallel axes", "resample one first")
        object.__setattr__(self, "_order", tuple(int(o) for o in order))
        steps = []
        for axis, source_axis in enumerate(order):
            # Rounded, so that oblique grids that share their voxels are permuted, not interpolated.
            scale, offset = round(float(linear[source_axis, axis]), 9), round(float(matrix[source_axis, 3]), 9)
            steps.append((scale, offset, self.destination.shape[axis], self.source.shape[source_axis]))
        object.__setattr__(self, "_steps", tuple(steps))

    @property
    def order(self) -> tuple[int, int, int]:
        """Source axis of each destination axis."""
        return self._order  # type: ignore[attr-defined,no-any-return]

    def matrices(self) -> list[Tensor]:
        """One weight matrix (destination, source) per destination axis, float64; a zero row lies off the scan."""
        return [axis_matrix(n_out, n_in, scale, offset) for scale, offset, n_out, n_in in self._steps]  # type: ignore[attr-defined]

    def apply(self, tensor: Tensor, fill: float = 0.0) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) from the source to the destination; ``fill`` off the scan.

        Differentiable in ``tensor``.
        """
        lead = tensor.ndim - 3
        moved = tensor.permute(*range(lead), *[lead + o for o in self.order])
        share = torch.ones(1, dtype=torch.float64)
        for axis, matrix in enumerate(self.matrices()):
            moved = _contract(moved, matrix, lead + axis)
            share = share[..., None] * row_sums(matrix)
        if fill != 0.0:
            moved = moved + fill * (1 - share[0]).to(moved)
        return moved

    def adjoint(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Carry ``tensor`` (..., i, j, k) home by the adjoint of ``apply``, which keeps its total.

        Returns
        -------
        home
            (..., i, j, k) on the source grid, float64.
        outside
            (...), the part of the total that lay on padding, off the scan.
        """
        lead = tensor.ndim - 3
        home = tensor.double()
        for axis, matrix in enumerate(self.matrices()):
            home = _contract(home, matrix.T, lead + axis)
        outside = tensor.double().sum((-3, -2, -1)) - home.sum((-3, -2, -1))
        back = [self.order.index(a) for a in range(3)]
        return home.permute(*range(lead), *[lead + b for b in back]), outside

    def home(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) home by linear interpolation; NaN where the network saw nothing."""
        return AxisResampling(self.destination, self.source)._interpolated(tensor)

    def _interpolated(self, tensor: Tensor) -> Tensor:
        lead = tensor.ndim - 3
        moved = tensor.permute(*range(lead), *[lead + o for o in self.order])
        seen = torch.ones(1, dtype=torch.float64)
        for axis, (scale, offset, n_out, n_in) in enumerate(self._steps):  # type: ignore[attr-defined]
            matrix = axis_matrix(n_out, n_in, scale, offset)
            moved = _contract(moved, matrix, lead + axis)
            seen = seen[..., None] * row_sums(matrix)
        return torch.where(seen[0].to(moved.device) > 0.5, moved, torch.nan)


def _contract(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    if matrix.is_sparse:
        return along(x, matrix, axis)
    if matrix.shape[0] == matrix.shape[1] and bool((matrix == torch.eye(matrix.shape[0], dtype=matrix.dtype)).all()):
        return x
    return torch.tensordot(x, matrix.to(x), dims=([axis], [1])).movedim(-1, axis)


def reorient_grid(grid: Grid, orientation: str) -> Grid:
    """The same voxels with axes permuted and flipped so that they run along ``orientation``, such as ``"LPS"``.

    Raises
    ------
    GeometryError
        If ``orientation`` does not name three different anatomical axes.
    """
    pairs = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
    letters = orientation.upper()
    if len(letters) != 3 or len({frozenset((c, pairs.get(c, c))) for c in letters}) != 3 or set(letters) - set(pairs):
        raise GeometryError(f"orientation '{orientation}'", "three letters such as RAS or LPS", "correct the card")
    have = grid.orientation
    affine, shape = np.eye(4), []
    affine[:3, 3] = grid.affine[:3, 3]
    for axis, letter in enumerate(letters):
        source = next(i for i, c in enumerate(have) if c in (letter, pairs[letter]))
        step, n = grid.affine[:3, source], grid.shape[source]
        shape.append(n)
        affine[:3, axis] = step if have[source] == letter else -step
        if have[source] != letter:
            affine[:3, 3] += step * (n - 1)
    return Grid(tuple(shape), affine)  # type: ignore[arg-type]


def resample(volume: Volume, grid: Grid, *, order: int = 1, fill: float = 0.0) -> Volume:
    """Resample a volume onto any grid through world coordinates.

    Parameters
    ----------
    volume
        The image.
    grid
        Where to.
    order
        0 for labels (nearest), 1 for intensities (linear).
    fill
        Value off the volume.
    """
    from scipy.ndimage import affine_transform  # most maps need no resampling

    matrix = np.linalg.inv(volume.affine) @ grid.affine
    channels = [
        affine_transform(
            c.detach().cpu().numpy().astype(np.float64),
            matrix[:3, :3],
            matrix[:3, 3],
            grid.shape,
            order=order,
            mode="grid-constant",
            cval=fill,
        )
        for c in volume.tensor
    ]
    tensor = torch.as_tensor(np.stack(channels)).to(volume.tensor.dtype)
    return Volume(tensor, grid.affine, volume.unit, volume.source, volume.has_geometry, volume.header)
