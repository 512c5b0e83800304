"""What the found inputs differ in: two ways to tell anatomy from noise, and masks.

Both ways are ours: those of Eulig et al. are unknown. One is the structural distance under the tolerance (`distance`
and `kinds` of `Invariances`); the other the directions that are left once those of the noise are taken away.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = ["Structure", "dice", "principal_directions"]


@dataclass(frozen=True, eq=False)
class Structure:
    """Principal directions of changes, without those of the noise.

    Parameters
    ----------
    directions
        Unit images (k, channel, \\*space), the one of largest variance first.
    variances
        Mean square of the changes along each (k,).
    share
        Share of the changes' whole mean square that lies outside the noise's directions.
    """

    directions: Tensor
    variances: Tensor
    share: float

    def variance_map(self) -> Tensor:
        """Variance of each voxel along the directions (channel, \\*space)."""
        shape = (-1, *[1] * (self.directions.ndim - 1))
        return (self.directions.square() * self.variances.reshape(shape)).sum(0)


def principal_directions(changes: Tensor, noise: Tensor, *, k: int = 4) -> Structure:
    """Principal directions of changes after the noise-only subspace is removed.

    Parameters
    ----------
    changes
        x~ - x (sample, channel, \\*space).
    noise
        Changes that are noise alone, such as samples of that kind; their span is removed.
    k
        Directions to keep, at most as many as samples.

    Raises
    ------
    InputError
        If there is no change.
    """
    if not len(changes):
        raise InputError(f"{len(changes)} changes", "at least one")
    flat = changes.double().flatten(1)
    whole = float(flat.square().sum())
    if len(noise):
        span = torch.linalg.qr(noise.double().flatten(1).T)[0]
        flat = flat - (flat @ span) @ span.T
    _, values, directions = torch.linalg.svd(flat, full_matrices=False)
    k = min(k, len(values))
    share = float(flat.square().sum()) / whole if whole else 0.0
    shaped = directions[:k].reshape(k, *changes.shape[1:]).to(changes)
    return Structure(shaped, (values[:k].square() / len(flat)).to(changes), share)


def dice(one: Tensor, two: Tensor) -> float:
    """Dice coefficient of two masks of one shape; 1 where both are empty.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if one.shape != two.shape:
        raise InputError(f"masks of {tuple(one.shape)} and {tuple(two.shape)}", "one shape")
    a, b = one.bool(), two.bool()
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
