"""Our own shapes in MNI152 millimetres; cut out with the tissue maps they give structures.

They were drawn by eye on the template for this phantom and are no atlas: what they call hippocampus is close to it, and
the truth is what was planted, not where an anatomist would draw the line.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["box", "ellipsoid", "tube"]


def tube(points: Tensor, course: Sequence[Sequence[float]], radii: Sequence[float]) -> Tensor:
    """Inside of a bent tube.

    Parameters
    ----------
    points
        Positions (3, \\*any) [mm].
    course
        Corners (x, y, z) of its axis [mm].
    radii
        Radius at each corner [mm], linear between.

    Returns
    -------
    Tensor
        Bool, (\\*any).
    """
    inside = torch.zeros(points.shape[1:], dtype=torch.bool)
    extra = (3, *[1] * (points.ndim - 1))
    for start, end, first, last in zip(course, course[1:], radii, radii[1:], strict=False):
        a = torch.tensor(start, dtype=torch.float32).reshape(extra)
        way = torch.tensor(end, dtype=torch.float32).reshape(extra) - a
        share = (((points - a) * way).sum(0) / way.square().sum()).clamp(0, 1)
        distance = (points - a - share * way).square().sum(0)
        inside |= distance < (first + (last - first) * share).square()
    return inside


def ellipsoid(points: Tensor, centre: Sequence[float], radii: Sequence[float]) -> Tensor:
    """Inside of an ellipsoid; positions (3, \\*any), centre and radii in mm."""
    return sum(((x - c) / r).square() for x, c, r in zip(points, centre, radii, strict=True)) < 1  # type: ignore[return-value]


def box(points: Tensor, *bounds: tuple[float, float]) -> Tensor:
    """Inside of a box with these lowest and highest x, y and z [mm]; positions (3, \\*any)."""
    sides = [(x > low) & (x < high) for x, (low, high) in zip(points, bounds, strict=True)]
    return torch.stack(sides).all(0)
