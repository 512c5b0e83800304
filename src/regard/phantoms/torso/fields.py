"""Smooth random fields on world coordinates: sums of plane waves, the same at any voxel size."""

import math

import torch
from torch import Tensor

from regard.core import randomness
from regard.phantoms.torso.cells import Cells

__all__ = ["random_field"]

WAVES = 96
"""Plane waves in a field."""


def random_field(
    cells: Cells, wavelengths: tuple[float, float], seed: int, name: str, draw: str, *, waves: int = WAVES
) -> Tensor:
    """Gaussian-like field of mean 0 and variance 1, (i, j, k), of isotropic waves between two wavelengths [mm].

    Each wave is damped by its mean over a cell, so that a coarse grid sees what a fine one averages to. A wave is a
    product of one factor for each axis, so that the field is one matrix product.
    """
    direction = torch.randn(waves, 3, generator=randomness.generator(seed, name, f"{draw} directions"))
    direction = direction / direction.norm(dim=1, keepdim=True)
    share, phase = torch.rand(2, waves, generator=randomness.generator(seed, name, f"{draw} waves"))
    low, high = wavelengths
    length = low * (high / low) ** share
    k = (2 * math.pi / length)[:, None] * direction
    damping = torch.ones(waves)
    for axis, size in enumerate(cells.size):
        damping = damping * torch.sinc(k[:, axis] * size / (2 * math.pi))
    device = cells.axes[0].device
    turns = [
        torch.polar(torch.ones(1, device=device), (k[:, axis : axis + 1].to(device) * cells.axes[axis]))
        for axis in range(3)
    ]
    first = damping.to(device)[:, None] * torch.polar(torch.ones(1), 2 * math.pi * phase)[:, None].to(device) * turns[0]
    plane = (turns[1][:, :, None] * turns[2][:, None, :]).flatten(1)
    left = torch.cat([first.real, -first.imag])
    right = torch.cat([plane.real, plane.imag])
    return (left.T @ right).mul_(math.sqrt(2 / waves)).reshape(cells.shape)
