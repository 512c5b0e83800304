"""What lies behind a planted signal: white noise, correlated noise, or smooth tissues in a body."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur, interpolate

__all__ = ["Background", "averaged", "coordinates", "correlated", "ellipsoid", "tissues"]

Background: TypeAlias = Literal["white", "correlated", "anatomical"]
"""``"white"``: each voxel by itself; ``"correlated"``: smooth noise; ``"anatomical"``: tissues, white noise."""

FINER = 4
"""Cells along each axis of a voxel that a shape is drawn on before it is averaged."""

_LEVELS = (0.25, 0.5, 0.75)
"""Intensities of the tissues."""


def coordinates(shape: Sequence[int], *, finer: int = FINER) -> list[Tensor]:
    """Coordinates of the fine cells' centres [voxel], 0 at the image's centre, one (\\*fine) tensor per axis."""
    axes = [(torch.arange(finer * n, dtype=torch.float64) + 0.5) / finer - n / 2 for n in shape]
    return list(torch.meshgrid(*axes, indexing="ij"))


def averaged(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Mean of the fine cells of each voxel: what a scanner sees of a border. (\\*fine) to (\\*space), float32."""
    finer = values.shape[0] // shape[0]
    split = values.double().reshape([part for n in shape for part in (n, finer)])
    return split.mean(tuple(range(1, 2 * len(shape), 2))).float()


def ellipsoid(grid: Sequence[Tensor], centre: Sequence[float], radii: Sequence[float]) -> Tensor:
    """Cells inside an ellipsoid; centre and radii in voxels."""
    return sum(((x - c) / r).square() for x, c, r in zip(grid, centre, radii, strict=True)) < 1  # type: ignore[return-value]


def correlated(shape: Sequence[int], length: float, seed: int, name: str, draw: str) -> Tensor:
    """Gaussian noise of mean 0 and standard deviation 1 (over draws), smoothed with a kernel of ``length`` voxels.

    The white noise behind it does not depend on ``length``, so that one field can be drawn again at another length.
    """
    white = randomness.normal(torch.empty(1, 1, *shape), seed, name, draw)
    impulse = torch.zeros(1, 1, *shape)
    impulse[(0, 0, *[n // 2 for n in shape])] = 1.0
    gain = blur(impulse, length).square().sum().sqrt()
    return (blur(white, length) / gain)[0, 0]


def tissues(shape: Sequence[int], seed: int, name: str) -> Tensor:
    """A body of three smooth tissues with air around it, (\\*space): where each lies is the subject's own."""
    side = min(shape)
    grid = coordinates(shape)
    field = correlated(shape, 0.09 * side, seed, name, "anatomy")
    fine = interpolate(field[None, None], tuple(grid[0].shape))[0, 0]
    low, middle, high = _LEVELS
    drawn = torch.where(fine < -0.45, low, torch.where(fine < 0.45, middle, high))
    body = ellipsoid(grid, [0.0] * len(shape), [0.47 * n for n in shape])
    return averaged(drawn * body, shape)
