"""Balls of intensities around an image, in the image's own unit: what an attack or its control may change."""

import math
from typing import Literal

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.spatial import expand_cases

__all__ = ["Bounds", "Norm", "projected", "read_bounds", "scaled_to", "size_of", "within"]

Norm = Literal["inf", "2"]
"""Largest change of a voxel, or root of the sum of squares."""

Bounds = tuple[float, float]
"""Lowest and highest intensity that an image may have."""

_HALVINGS = 80


def size_of(change: Tensor, norm: Norm) -> Tensor:
    """Size of each change (batch, channel, \\*space), (batch,), float64, in the image's unit."""
    flat = change.double().flatten(1)
    return flat.abs().amax(1) if norm == "inf" else flat.norm(dim=1)


def projected(change: Tensor, image: Tensor, budgets: Tensor, norm: Norm, bounds: Bounds) -> Tensor:
    """Changes brought into their balls and the image into its range, to the nearest for L-inf.

    Parameters
    ----------
    change
        (batch, channel, \\*space), float64.
    image
        x (1, channel, \\*space), float64, within the bounds.
    budgets
        Radius of each (batch,).
    norm
        Of the ball.
    bounds
        Lowest and highest intensity.

    Notes
    -----
    Cutting to the range moves every voxel towards x, so that the ball is kept: it comes second.
    """
    if norm == "inf":
        radius = expand_cases(budgets, change)
        change = torch.minimum(torch.maximum(change, -radius), radius)
    else:
        factor = (budgets / size_of(change, "2").clamp_min(1e-300)).clamp_max(1.0)
        change = change * expand_cases(factor, change)
    return (image + change).clamp(*bounds) - image


def within(change: Tensor, image: Tensor, budget: float, norm: Norm, bounds: Bounds) -> Tensor:
    """The changed image in the image's own type, rounded so that it lies in ball and range exactly.

    Parameters
    ----------
    change
        (1, channel, \\*space), float64, in the ball to rounding.
    image
        x (1, channel, \\*space) in its own type.
    budget, norm, bounds
        The ball and the range.

    Returns
    -------
    Tensor
        (1, channel, \\*space); ``size_of(result.double() - image.double())`` is at most the budget, without tolerance.
    """
    exact = image.double()
    for _ in range(64):
        rounded = (exact + change).to(image)
        if norm == "inf":
            off = rounded.double() - exact
            nearer = torch.nextafter(rounded, image)
            rounded = torch.where(off.abs() > budget, nearer, rounded)
        outside = (rounded.double() < bounds[0]) | (rounded.double() > bounds[1])
        rounded = torch.where(outside, torch.nextafter(rounded, image), rounded)
        if float(size_of(rounded.double() - exact, norm)) <= budget:
            return rounded
        change = change * (1 - 2.0**-20)
    return image.clone()


def scaled_to(direction: Tensor, image: Tensor, size: float, norm: Norm, bounds: Bounds) -> Tensor | None:
    """The direction as long as it takes for the change, cut to the range, to have a size exactly.

    What the range cuts away at one voxel is made up for at the others, by bisection of the factor.

    Parameters
    ----------
    direction
        (1, channel, \\*space), float64.
    image
        x (1, channel, \\*space), float64.
    size
        Wanted, in the image's unit.
    norm, bounds
        Norm of the size, and the range.

    Returns
    -------
    Tensor
        The change (1, channel, \\*space), float64; None where the range leaves no room for that size this way.
    """

    def cut(factor: float) -> Tensor:
        return (image + factor * direction).clamp(*bounds) - image

    def of(factor: float) -> float:
        return float(size_of(cut(factor), norm))

    length = float(size_of(direction, norm))
    if not length > 0 or not size > 0:
        return torch.zeros_like(image) if not size > 0 else None
    low, high = 0.0, size / length
    for _ in range(60):
        if of(high) >= size:
            break
        low, high = high, 2 * high
    else:
        return None
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if of(middle) < size else (low, middle)
    return cut(high)


def read_bounds(bounds: Bounds | None, image: Tensor) -> Bounds:
    """The range as given, or the image's own lowest and highest value.

    Raises
    ------
    InputError
        If it is empty, or the image is outside of it.
    """
    lowest, highest = float(image.min()), float(image.max())
    low, high = (lowest, highest) if bounds is None else (float(bounds[0]), float(bounds[1]))
    if math.isnan(low) or math.isnan(high) or not low < high:
        raise InputError(f"intensities from {low:g} to {high:g}", "a range", "give lowest and highest intensity")
    if lowest < low or highest > high:
        raise InputError(
            f"an image from {lowest:g} to {highest:g} and a range from {low:g} to {high:g}",
            "an image within the range", "widen the range",
        )  # fmt: skip
    return low, high
