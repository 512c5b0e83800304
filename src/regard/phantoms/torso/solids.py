"""Signed distances [mm] of simple solids, negative inside, first-order exact at the surface."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regard.phantoms.torso.cells import Place

__all__ = ["ball", "capsule", "cylinder", "smooth_union", "stack", "tilted", "tube_box"]

Point = tuple[float, float, float]

_TINY = 1e-9


def ball(place: Place, centre: Sequence[float], radii: Sequence[float | Tensor]) -> Tensor:
    """Ellipsoid along the axes; a radius may be a tensor that broadcasts (an ellipse that changes with height)."""
    parts = [(x - c) / r for x, c, r in zip(place, centre, radii, strict=True)]
    squares = [part.square() for part in parts]
    size = (squares[0] + squares[1] + squares[2]).sqrt_()
    slopes = [square / (r * r) for square, r in zip(squares, radii, strict=True)]
    slope = (slopes[0] + slopes[1] + slopes[2]).sqrt_().add_(_TINY)
    return (size - 1).mul_(size).div_(slope)


def cylinder(
    place: Place, centre: tuple[float | Tensor, float | Tensor], radii: tuple[float | Tensor, float | Tensor]
) -> Tensor:
    """Elliptic cylinder along z; centre and radii may change with height (tensors that broadcast)."""
    x, y, _ = place
    u, v = ((x - centre[0]) / radii[0]).square(), ((y - centre[1]) / radii[1]).square()
    size = (u + v).sqrt_()
    slope = (u / (radii[0] * radii[0]) + v / (radii[1] * radii[1])).sqrt_().add_(_TINY)
    return (size - 1).mul_(size).div_(slope)


def stack(
    place: Place,
    centre: tuple[Tensor, Tensor],
    half: tuple[Tensor, Tensor, Tensor],
    power: float,
    *,
    furrow: tuple[float, float] | None = None,
) -> Tensor:
    """Superellipses one above the other, whose half axes change with height.

    Parameters
    ----------
    place
        Coordinates along each axis.
    centre
        x and y of the middle at each height, (k,) [mm].
    half
        Half axes to the side, forward and backward at each height, (k,) [mm].
    power
        2 for ellipses; more for rounder boxes.
    furrow
        Relative depth and half width [mm] of a groove along the middle of the back.
    """
    x, y, _ = place
    side, front, back = half
    u = ((x[:, 0] - centre[0][None]) / side).abs()
    offset = y[0] - centre[1][None]
    reach = torch.where(offset > 0, front, back)
    v = (offset / reach).abs()
    across, along = u**power, v**power
    slope = ((u ** (power - 1) / side).square()[:, None] + (v ** (power - 1) / reach).square()[None]).sqrt_()
    total = across[:, None] + along[None]
    if furrow is not None:
        depth, width = furrow
        dent = (1 - depth * torch.exp(-(x / width).square())) ** -power - 1
        total += dent * torch.where(offset > 0, 0.0, along)[None]
    return total.sub_(1).div_(slope.clamp_(min=1e-7).mul_(power))


def capsule(
    place: Place,
    start: Sequence[float],
    end: Sequence[float],
    radius: float | tuple[float, float],
    stretch: Sequence[float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """Rod with round ends, whose radius may change from start to end.

    ``stretch`` makes the section wider along an axis: a radius of 4 with a stretch of 2 along z is 8 high.
    """
    first, last = (radius, radius) if isinstance(radius, (int, float)) else radius
    a = [p / s for p, s in zip(start, stretch, strict=True)]
    along = [(q - p) / s for p, q, s in zip(start, end, stretch, strict=True)]
    length = sum(d * d for d in along) or _TINY
    offsets = [x / s - p for x, s, p in zip(place, stretch, a, strict=True)]
    t = (offsets[0] * (along[0] / length) + offsets[1] * (along[1] / length) + offsets[2] * (along[2] / length)).clamp_(
        0, 1
    )
    squares = [(offset - t * d).square_() for offset, d in zip(offsets, along, strict=True)]
    size = (squares[0] + squares[1] + squares[2]).sqrt_()
    distance = size - first if first == last else size - (first + (last - first) * t)
    if all(s == 1 for s in stretch):
        return distance
    slope = sum(q / (s * s) for q, s in zip(squares, stretch, strict=True))
    return distance.mul_(size).div_(slope.sqrt().add_(_TINY))  # type: ignore[union-attr]


def tube_box(points: Sequence[Sequence[float]], margin: float) -> tuple[list[float], list[float]]:
    """Corners [mm] of the box around some points, ``margin`` wider on each side."""
    return (
        [min(p[axis] for p in points) - margin for axis in range(3)],
        [max(p[axis] for p in points) + margin for axis in range(3)],
    )


def smooth_union(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """Union of two shapes with a fillet of about ``blend`` mm."""
    h = (0.5 + 0.5 * (b - a) / blend).clamp_(0, 1)
    return torch.lerp(b, a, h) - blend * h * (1 - h)


def tilted(place: Place, origin: Sequence[float], degrees: float) -> Place:
    """Coordinates in a frame at ``origin`` whose z axis leans backward by ``degrees`` (a turn about x)."""
    x, y, z = (p - o for p, o in zip(place, origin, strict=True))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x, c * y + s * z, c * z - s * y
