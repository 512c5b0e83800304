"""The local null space of a network: smooth directions that its output hardly answers to, and how far they hold."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.spatial import space
from regard.explainers.generative.detectability import Detectability
from regard.explainers.generative.jacobian import Jacobian

__all__ = ["NullSpace", "cosines", "hidden_amplitude", "null_space"]

Function = Callable[[Tensor], Tensor]

_SHARES = 2.0 ** torch.arange(-8.0, 0.5, 0.5).double()
"""Amplitudes that are tried, as shares of the largest."""


@dataclass(frozen=True, eq=False)
class NullSpace:
    """Gains of a network at an image, and the directions of least gain.

    Parameters
    ----------
    gains
        Singular values of the Jacobian in the span of smooth directions, smallest first (direction,): what the
        output's root mean square changes by, of that of the image. 1 for all in the identity.
    directions
        The ones of least gain, largest voxel 1 (k, channel, \\*space).
    """

    gains: Tensor
    directions: Tensor


def cosines(shape: tuple[int, ...], n: int) -> Tensor:
    """Orthonormal cosines (n^axes, \\*space): the n lowest along each axis, of at least 2 side / (n - 1) in wavelength.

    Raises
    ------
    ShapeError
        If an axis has fewer than n voxels.
    """
    if min(shape) < n:
        raise ShapeError(f"an image of {shape}", f"at least {n} voxels along each axis")
    found = torch.ones(1, dtype=torch.float64)
    axes = []
    for side in shape:
        places, orders = torch.arange(side).double() + 0.5, torch.arange(n).double()
        axis = torch.cos(torch.pi * orders[:, None] * places / side)
        axes.append(axis / axis.norm(dim=1, keepdim=True))
    for k, axis in enumerate(axes):
        # (n^k, space so far) times (n, side) gives (n^k, n, space so far, side).
        found = torch.einsum("a...,bs->ab...s", found.reshape(n**k, *shape[:k]), axis).flatten(0, 1)
    return found


def null_space(function: Function, image: Tensor, *, n_cosines: int = 16, k: int = 8) -> NullSpace:
    """Smooth directions in which the output changes least, to first order: exact singular vectors of the Jacobian.

    Parameters
    ----------
    function
        Images (1, 1, \\*space) to images or values.
    image
        x (1, 1, \\*space).
    n_cosines
        Cosines along each axis that directions are made of: the structure that counts, down to half a wavelength of
        side / (n_cosines - 1) voxels. Noise of single voxels is always free and says nothing.
    k
        How many directions are kept.
    """
    basis = cosines(space(image), n_cosines).to(image).reshape(-1, *image.shape[1:])
    _, values, vectors = torch.linalg.svd(Jacobian(function, image, basis).dense().double(), full_matrices=True)
    gains = torch.cat([values, values.new_zeros(len(basis) - len(values))]).flip(0)
    directions = (vectors.flip(0)[:k].to(basis) @ basis.flatten(1)).reshape(-1, *image.shape[1:])
    largest = directions.flatten(1).abs().amax(1).reshape(-1, *[1] * (directions.ndim - 1))
    return NullSpace(gains.cpu(), directions / largest)


def hidden_amplitude(
    function: Function, image: Tensor, direction: Tensor, outside: Detectability, tolerance: float, largest: float
) -> float:
    """How far one can go from an image in a direction, either way, before the output shows it.

    Parameters
    ----------
    function
        Images (batch, 1, \\*space) to the same.
    image
        x (1, 1, \\*space).
    direction
        What is added, of an amplitude of 1 (\\*space).
    outside
        Visibility in the output.
    tolerance
        Largest d' of ``f(x + amplitude * direction) - f(x)``.
    largest
        Largest amplitude to try, in the image's unit.

    Returns
    -------
    float
        Amplitude up to which all are within the tolerance, interpolated between those that are tried; the larger one
        of both ways.
    """
    amplitudes = largest * _SHARES
    found = []
    with torch.no_grad():
        before = function(image)
        for sign in (1.0, -1.0):
            tried = image + sign * amplitudes.reshape(-1, *[1] * (image.ndim - 1)).to(image) * direction.to(image)
            seen = torch.cat([outside.largest(function(part) - before) for part in tried.split(8)]).double()
            over = torch.nonzero(seen > tolerance).flatten()
            if not len(over):
                found.append(largest)
                continue
            k = int(over[0])
            start, under = (float(amplitudes[k - 1]), float(seen[k - 1])) if k else (0.0, 0.0)
            share = (tolerance - under) / max(float(seen[k]) - under, 1e-12)
            found.append(start + share * (float(amplitudes[k]) - start))
    return max(found)
