"""Inputs that are changed on purpose: another image of the same intensities, and a change at one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import n_space, space

__all__ = ["Places", "another", "choose_places", "local_change"]

SHARES = ((0.2, 0.8), (0.8, 0.2), (0.6, 0.2))
"""Where the two places lie along each axis, as shares of the foreground's extent: no axis is like another."""


def another(x: Tensor) -> Tensor:
    """Another image: ``x`` (1, channel, \\*space) with half of itself, its places shuffled, laid over.

    It is nowhere darker and reaches further up, so that what a network scales by the range of its whole batch (dynamic
    quantisation) is seen to change. What is constant, or a number without space, is changed by a tenth of its size.
    """
    flat = x.reshape(*x.shape[:2], -1)
    n_places = flat.shape[2]
    if n_places < 2 or bool(flat.max() == flat.min()):
        return torch.where(x == 0, torch.full_like(x, 0.1), 0.9 * x)
    order = torch.randperm(n_places, generator=randomness.generator(0, "preflight", "another")).to(x.device)
    lowest = flat.amin((1, 2), keepdim=True)
    return (flat + 0.5 * (flat[:, :, order] - lowest)).reshape(x.shape)


@dataclass(frozen=True)
class Places:
    """Two places inside the foreground of an image, apart along every axis.

    Parameters
    ----------
    first, second
        Voxel of each, along every spatial axis.
    size
        Width of what is changed there, in voxels, along every spatial axis.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    size: tuple[int, ...]


def choose_places(x: Tensor, cells: Sequence[int]) -> Places:
    """Two places inside the foreground of ``x`` (1, channel, \\*space).

    Parameters
    ----------
    x
        The image; its background is what its border is made of.
    cells
        Places of the layer along each axis: the change is at least as wide as one of them.
    """
    sizes = space(x)
    points = torch.nonzero(_foreground(x))
    low, high = points.amin(0), points.amax(0)

    def near(which: int) -> tuple[int, ...]:
        shares = torch.tensor([SHARES[axis % len(SHARES)][which] for axis in range(len(sizes))], device=x.device)
        wanted = low + (high - low) * shares
        return tuple(points[(points - wanted).square().sum(1).argmin()].tolist())

    wide = [min(max(n // 8, math.ceil(n / c)), max(1, n // 3)) for n, c in zip(sizes, cells, strict=True)]
    return Places(near(0), near(1), tuple(wide))


def _foreground(x: Tensor) -> Tensor:
    """Where ``x`` differs from its border, (\\*space) of bool; everywhere, where that is nearly nowhere."""
    image = x[0].double()
    border = torch.cat([image.select(a, e).reshape(len(image), -1) for a in range(1, image.ndim) for e in (0, -1)], 1)
    background = border.median(1).values.reshape(-1, *[1] * n_space(x))
    span = float(image.max() - image.min())
    differs = ((image - background).abs() > 0.1 * span).any(0)
    return differs if float(differs.double().mean()) > 0.01 else torch.ones_like(differs)


def local_change(x: Tensor, place: Sequence[int], size: Sequence[int]) -> Tensor:
    """``x`` (1, channel, \\*space) with a rough bright patch of ``size`` added around ``place``."""
    changed = x.clone()
    window = []
    for at, wide, n in zip(place, size, space(x), strict=True):
        start = min(max(0, at - wide // 2), n - wide)
        window.append(slice(start, start + wide))
    part = changed[(slice(None), slice(None), *window)]
    height = float(x.max() - x.min()) / 2 or 1.0
    part += height * (0.5 + randomness.normal(part, 0, "preflight", "patch"))
    return changed
