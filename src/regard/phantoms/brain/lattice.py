"""Values at the nodes of a regular lattice in millimetres, read off between its nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Lattice", "enlarged", "sample"]


@dataclass(frozen=True)
class Lattice:
    """Nodes of a lattice whose axes run right, anterior, superior.

    Parameters
    ----------
    origin
        Position of the first node, (x, y, z) [mm].
    spacing
        Distance of two nodes along each axis [mm].
    shape
        Number of nodes (i, j, k).
    """

    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def affine(self) -> np.ndarray:
        """Matrix (4, 4): index of a node to RAS mm."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = self.origin
        return affine

    def axes(self) -> list[Tensor]:
        """Coordinates of the nodes along each axis [mm], float32."""
        return [
            o + s * torch.arange(n, dtype=torch.float32)
            for o, s, n in zip(self.origin, self.spacing, self.shape, strict=True)
        ]

    def points(self) -> Tensor:
        """Positions of all nodes [mm], (3, i, j, k)."""
        return torch.stack(torch.meshgrid(*self.axes(), indexing="ij"))

    def normalised(self, points: Tensor) -> Tensor:
        """Positions (3, \\*any) [mm] as `torch.nn.functional.grid_sample` wants them: -1 to 1, last axis first."""
        size = [max(n - 1, 1) for n in self.shape]
        shape = (3, *[1] * (points.ndim - 1))
        origin = torch.tensor(self.origin).reshape(shape)
        scale = torch.tensor([2 / (s * n) for s, n in zip(self.spacing, size, strict=True)]).reshape(shape)
        return ((points - origin) * scale - 1).flip(0)


def sample(values: Tensor, lattice: Lattice, points: Tensor, *, outside: str = "border") -> Tensor:
    """Trilinear interpolation.

    Parameters
    ----------
    values
        (channel, i, j, k) at the nodes of ``lattice``.
    points
        Positions (3, a, b, c) [mm].
    outside
        ``"border"``: the nearest node's value; ``"zeros"``.

    Returns
    -------
    Tensor
        (channel, a, b, c).
    """
    grid = lattice.normalised(points).movedim(0, -1)[None]
    return functional.grid_sample(values[None], grid, padding_mode=outside, align_corners=True)[0]


def enlarged(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Trilinear interpolation of (channel, i, j, k) to ``shape``, first and last nodes kept in place."""
    return functional.interpolate(values[None], size=tuple(shape), mode="trilinear", align_corners=True)[0]
