"""Random images of a card's shape, for probing a network where no scan is at hand."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import interpolate
from regard.core.volume import Volume
from regard.models.card import InputSpec, ModelCard

__all__ = ["random_scans"]

USUAL = {1: 1024, 2: 224, 3: 96}
"""Places along an axis where the card states none, by the number of axes."""

_WAYS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_RANGES = {"hu": (-200.0, 300.0), "grey level": (0.0, 255.0)}


def random_scans(card: ModelCard) -> dict[str, Volume]:
    """A random image of each input of a card: blobs inside an ellipsoid on an empty background, on the card's grid."""
    return {spec.name: _scan(spec) for spec in card.inputs}


def _scan(spec: InputSpec) -> Volume:
    size = spec.shape or (USUAL[spec.n_axes],) * spec.n_axes
    low, high = spec.window or _RANGES.get(spec.unit.casefold(), (0.0, 1.0))
    values = low + (high - low) * _blobs(size, spec.channels, spec.name)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    letters = spec.orientation or "RAS"[: spec.n_axes]
    letters += "".join(c for c, (axis, _) in _WAYS.items() if c in "RAS" and axis not in [_WAYS[o][0] for o in letters])
    spacing = (*(spec.spacing_mm or ()), 1.0, 1.0, 1.0)
    for n, letter in enumerate(letters):
        axis, sign = _WAYS[letter]
        affine[axis, n] = sign * spacing[n]
    return Volume(values.reshape(spec.channels, *size, *[1] * (3 - len(size))), affine, spec.unit, "random")


def _blobs(size: Sequence[int], channels: int, name: str) -> Tensor:
    """Values (channel, \\*space) from 0 to 1, 0 outside an ellipsoid."""
    coarse = randomness.uniform((1, channels, *[max(2, n // 8) for n in size]), 0, "random scan", name)
    grids = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    inside = sum(((g / 0.85) ** 2 for g in grids), torch.zeros(())) < 1
    fine = randomness.uniform((channels, *size), 1, "random scan", name)
    return (0.25 + 0.65 * interpolate(coarse, size)[0] + 0.1 * fine) * inside
