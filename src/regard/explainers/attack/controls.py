"""What else changes an image as much: noise, natural corruptions, and the attack's own change the wrong way round."""

from collections.abc import Callable

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur, interpolate, space, space_axes
from regard.explainers.attack.ball import Bounds, Norm, scaled_to

__all__ = ["CONTROLS", "control_change"]


def _range(image: Tensor, bounds: Bounds) -> Tensor:
    return (image - bounds[0]) / (bounds[1] - bounds[0])


def _gamma(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    """Display curve: a gamma of 1.2 or its inverse, by the draw."""
    up = bool(randomness.uniform((1,), seed, case, "gamma")[0] < 0.5)
    bent = _range(image, bounds).clamp(0, 1) ** (1.2 if up else 1 / 1.2)
    return (bent - _range(image, bounds)) * (bounds[1] - bounds[0])


def _bias_field(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    """A smooth field that multiplies what lies above the range's lowest: corners drawn, linear in between."""
    shape = (1, 1, *[3] * len(space(image)))
    corners = 2 * randomness.uniform(shape, seed, case, "bias field").to(image) - 1
    return 0.1 * interpolate(corners, space(image)) * (image - bounds[0])


def _shift(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    """A shift by up to half a voxel along each axis, linear, edges repeated."""
    drawn = randomness.uniform((len(space(image)),), seed, case, "shift") - 0.5
    moved = image
    for axis, share in zip(space_axes(image), drawn.tolist(), strict=True):
        n = image.shape[axis]
        places = torch.arange(n, device=image.device)
        other = (places + (1 if share > 0 else -1)).clamp(0, n - 1)
        moved = (1 - abs(share)) * moved + abs(share) * moved.index_select(axis, other)
    return moved - image


def _blur(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    """A Gaussian blur of one voxel."""
    return blur(image, 1.0) - image


def _uniform(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    return 2 * randomness.uniform(tuple(image.shape), seed, case, "uniform noise").to(image) - 1


def _signs(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    drawn = randomness.uniform(tuple(image.shape), seed, case, "sign noise").to(image)
    return torch.where(drawn < 0.5, -1.0, 1.0).to(image)


def _gaussian(image: Tensor, bounds: Bounds, seed: int, case: str) -> Tensor:
    return randomness.normal(image, seed, case, "Gaussian noise")


_MADE: dict[str, tuple[Callable[[Tensor, Bounds, int, str], Tensor], Norm | None]] = {
    "uniform noise": (_uniform, "inf"),
    "sign noise": (_signs, "inf"),
    "Gaussian noise": (_gaussian, "2"),
    "blur": (_blur, None),
    "gamma": (_gamma, None),
    "bias field": (_bias_field, None),
    "shift": (_shift, None),
}
"""How a direction is made, and in which norm it is as long as the attack; None: in the attack's own."""

FLIPPED = "flipped attack"

CONTROLS = (*_MADE, FLIPPED)
"""Names of the controls."""


def control_change(
    name: str, image: Tensor, attack: Tensor, norm: Norm, bounds: Bounds, *, seed: int = 0, case: str = ""
) -> tuple[Tensor | None, Norm]:
    """A change as large as an attack's, and the norm in which it is.

    Parameters
    ----------
    name
        One of `CONTROLS`. Uniform and sign noise have the attack's L-inf, Gaussian noise its L2, all others its size in
        ``norm``. A blur, a gamma, a field or a shift is made once and then exaggerated or weakened to that size.
    image
        x (1, channel, \\*space), float64.
    attack
        The attack's change, of the same shape.
    norm
        Of the attack.
    bounds
        Range of the intensities, which is kept.
    seed, case
        Key of the draws.

    Returns
    -------
    change
        (1, channel, \\*space), float64; None where the range leaves no room for it.
    norm
        In which the two are equal.
    """
    if name == FLIPPED:
        direction, of = -attack, norm
    else:
        make, own = _MADE[name]
        direction, of = make(image, bounds, seed, case), own or norm
    size = float(attack.abs().max() if of == "inf" else attack.norm())
    return scaled_to(direction, image, size, of, bounds), of
