"""The rib cage: ribs with their cartilages, sternum, clavicles, scapulae and the heads of the humeri."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Box, Cells, coverage
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import Point, ball, capsule, stack, tube_box
from regard.phantoms.torso.spine import densities
from regard.phantoms.torso.spine_curve import Level, curve, levels
from regard.phantoms.torso.trunk import interpolate

__all__ = ["cage_of", "paint_cage", "sternum_y"]

_HEIGHTS = (-80.0, 0.0, 60.0, 120.0, 160.0, 200.0, 240.0, 265.0, 285.0, 305.0, 320.0)
_WIDTH = (0.95, 0.95, 0.965, 0.955, 0.93, 0.89, 0.81, 0.71, 0.60, 0.44, 0.28)
_FRONT = (0.90, 0.90, 0.92, 0.90, 0.83, 0.73, 0.60, 0.50, 0.40, 0.28, 0.18)
"""Half width relative to the trunk's at L1, and y of the front relative to the trunk's, at heights above L1 [mm]."""

_DROP = (24.0, 40.0, 56.0, 68.0, 78.0, 86.0, 92.0, 96.0, 98.0, 96.0, 74.0, 40.0)
"""How far the front end of each rib lies below its head [mm]."""

_END = (150.0, 150.0, 152.0, 152.0, 150.0, 147.0, 143.0, 136.0, 126.0, 114.0, 84.0, 52.0)
"""Angle round the cage at which bone ends, from the back [degrees]."""


def _axes(shape: TorsoShape, z: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Centre and half axes of the cage's outer surface at heights z, each (k,) [mm]."""
    points = [curve(shape, float(value)) for value in z]
    spine_x, spine_y = (torch.tensor([p[i] for p in points], dtype=z.dtype, device=z.device) for i in (0, 1))
    middle = spine_y + 24
    side = shape.half_width * shape.chest_width * interpolate(z, _HEIGHTS, _WIDTH)
    front = shape.front * shape.chest_depth * interpolate(z, _HEIGHTS, _FRONT) - middle
    slim = interpolate(z, _HEIGHTS, (1.0, 1.0, 1.0, 1.0, 1.0, 0.98, 0.92, 0.85, 0.78, 0.66, 0.5))
    return (0.5 * spine_x, middle), (side, front.clamp(min=12), 72 * slim)


def cage_of(cells: Cells, shape: TorsoShape) -> Tensor:
    """Signed distance of the cage's outer surface [mm], (i, j, k)."""
    centre, half = _axes(shape, cells.axes[2])
    return stack(cells.place, centre, half, 2.3)


def _on_cage(shape: TorsoShape, side: int, degrees: list[float], z: list[float], inset: float) -> list[Point]:
    """Points on the cage at angles from the back and heights [mm]."""
    (cx, cy), half = _axes(shape, torch.tensor(z))
    points = []
    for x, y, a, f, b, angle, height in zip(*(v.tolist() for v in (cx, cy, *half)), degrees, z, strict=True):
        s, c = (abs(v) ** (2 / 2.3) for v in (math.sin(math.radians(angle)), math.cos(math.radians(angle))))
        depth = f if angle > 90 else b
        points.append((x + side * (a - inset) * s, y + math.copysign((depth - inset) * c, angle - 90), height))
    return points


def sternum_y(shape: TorsoShape, z: float) -> float:
    """Coordinate y of the front of the cage at height z [mm]."""
    (_, cy), (_, f, _) = _axes(shape, torch.tensor([z]))
    return float(cy[0] + f[0])


def rib_points(shape: TorsoShape, level: Level, number: int, side: int) -> list[Point]:
    """Middle line of a rib's bone from head to front end [mm]; ``level`` is the vertebra it hangs on."""
    x, y, z = level.centre
    s = shape.vertebra
    head = (x + side * 0.46 * shape.body_width * level.width * s, y - 0.35 * shape.body_depth * level.depth * s, z + 6)
    neck = (x + side * 30 * s * (0.8 if number < 3 else 1), y - 26 * s, z + 6)
    end, drop = _END[number - 1], _DROP[number - 1]
    start = 34.0 if number > 2 else 42.0
    n = max(3, round((end - start) / 11))
    shares = [index / n for index in range(n + 1)]
    angles = [start + (end - start) * share for share in shares]
    falls = [drop * (0.14 * share + 0.86 * share * share * (1.9 - 0.9 * share)) for share in shares]
    heights = [z + 4 - fall * (1 - 0.1 * share) for fall, share in zip(falls, shares, strict=True)]
    return [head, neck, *_on_cage(shape, side, angles, heights, 4.5)]


def paint_bone(canvas: Canvas, box: Box, distance: Tensor, name: str, shell: float, inside: float) -> None:
    """A bone with a shell of compact bone and marrow with ``inside`` times the trabecular density of L1."""
    shape, width = canvas.shape, canvas.cells.width
    share = coverage(distance, width)
    marrow = torch.minimum(coverage(distance + shell, width), share)
    filled = torch.where(share > 0, marrow / share.clamp(min=1e-6), 0.0)
    spongy, compact = densities(shape, False)
    soft = inside * spongy
    canvas.bone(box, share, name, 40 - 60 * filled, compact + (soft - compact) * filled)


def paint_rods(canvas: Canvas, points: list[Point], radius: float, name: str, shell: float, stretch: Point) -> None:
    """A bent bone through some points; its rods are joined before they are painted."""
    margin = radius * max(stretch) + 2
    box = canvas.cells.box(*tube_box(points, margin))
    if box is None:
        return
    for start, end in pairwise(points):
        near = canvas.cells.box(*tube_box((start, end), margin))
        if near is not None:
            distance = capsule(canvas.cells.part(near).place, start, end, radius, stretch)
            paint_bone(canvas, near, distance, name, shell, 1.0)


def paint_cage(canvas: Canvas) -> None:
    """Paint ribs, cartilages and sternum, then clavicles, scapulae and humeri."""
    shape = canvas.shape
    heights = canvas.cells.axes[2]
    low, high = float(heights.min()) - 10, float(heights.max()) + 10
    column = {v.name: v for v in levels(shape)}
    for number in range(12, 0, -1):
        level = column[f"T{number}"]
        lowest, highest = level.centre[2] - _DROP[number - 1] - 10, max(level.centre[2] + 20, 270.0 * (number < 11))
        if highest < low or lowest > high:
            continue
        for side in (1, -1):
            points = rib_points(shape, level, number, side)
            paint_rods(canvas, points, 3.6 if number < 11 else 3.0, "rib", 1.0, (1.0, 1.0, 1.75))
            _cartilage(canvas, number, side, points[-1])
    if high < 80:
        return
    _sternum(canvas)
    for side in (1, -1):
        _shoulder(canvas, side)


def _cartilage(canvas: Canvas, number: int, side: int, end: Point) -> None:
    if number > 10:
        return
    shape = canvas.shape
    height = (262.0, 240.0, 216.0, 192.0, 168.0, 148.0, 134.0, 122.0, 112.0, 104.0)[number - 1]
    goal = (side * (14.0 + max(0, number - 7) * 14), sternum_y(shape, height) - 4, height)
    middle = (0.5 * (end[0] + goal[0]), 0.5 * (end[1] + goal[1]) + 6, 0.5 * (end[2] + goal[2]) - 5)
    for start, stop in ((end, middle), (middle, goal)):
        box = canvas.cells.box(*tube_box((start, stop), 11))
        if box is not None:
            distance = capsule(canvas.cells.part(box).place, start, stop, 4.2, (1, 1, 1.4))
            canvas.paint(box, distance, "costal_cartilage", 105.0)


def _sternum(canvas: Canvas) -> None:
    shape = canvas.shape
    heights = (118.0, 170.0, 222.0, 262.0)
    points = [(0.0, sternum_y(shape, z) - 1.0, z) for z in heights]
    for (start, end), wide in zip(pairwise(points), (2.6, 2.9, 4.2), strict=True):
        box = canvas.cells.box(*tube_box((start, end), 26))
        if box is not None:
            distance = capsule(canvas.cells.part(box).place, start, end, 5.2, (wide, 1, 1))
            paint_bone(canvas, box, distance, "sternum", 0.8, 0.9)


def _shoulder(canvas: Canvas, side: int) -> None:
    shape = canvas.shape
    w = shape.half_width / 146
    y0 = sternum_y(shape, 262.0)
    back = curve(shape, 230.0)[1]
    clavicle = [
        (side * 20.0, y0 + 2, 266.0),
        (side * 58 * w, y0 + 8, 276.0),
        (side * 98 * w, y0 - 22, 290.0),
        (side * 138 * w, y0 - 40, 298.0),
    ]
    paint_rods(canvas, clavicle, 5.2, "clavicle", 1.7, (1, 1, 1))
    head = (side * 156 * w, y0 - 52, 270.0)
    box = canvas.cells.box(*tube_box((head,), 26))
    if box is not None:
        paint_bone(canvas, box, ball(canvas.cells.part(box).place, head, (22, 22, 23)), "humerus", 1.2, 1.0)
    corner = [
        (side * 84 * w, back - 62, 150.0),
        (side * 70 * w, back - 50, 268.0),
        (side * 136 * w, y0 - 62, 268.0),
    ]
    _blade(canvas, corner)
    for rod, radius in (
        ([corner[0], corner[2]], 4.6),
        ([corner[0], corner[1]], 2.4),
        (
            [(side * 74 * w, back - 54, 250.0), (side * 112 * w, back - 50, 276.0), (side * 150 * w, y0 - 60, 298.0)],
            4.4,
        ),
        ([corner[2], (side * 120 * w, y0 - 30, 282.0)], 5.0),
    ):
        paint_rods(canvas, rod, radius, "scapula", 1.2, (1, 1, 1))


def _blade(canvas: Canvas, corner: list[Point]) -> None:
    """The thin plate of the scapula between three points."""
    box = canvas.cells.box(*tube_box(corner, 3))
    if box is None:
        return
    a, b, c = (torch.tensor(p) for p in corner)
    normal = torch.linalg.cross(b - a, c - a)
    normal = normal / normal.norm()
    place = canvas.cells.part(box).place

    def along(direction: Tensor, origin: Tensor) -> Tensor:
        dx, dy, dz = (float(d) for d in direction)
        ox, oy, oz = (float(o) for o in origin)
        return dx * (place[0] - ox) + dy * (place[1] - oy) + dz * (place[2] - oz)

    distance = along(normal, a).abs() - 1.6
    for p, q, r in ((a, b, c), (b, c, a), (c, a, b)):
        outward = torch.linalg.cross(q - p, normal)
        outward = outward / outward.norm()
        outward = outward if float(torch.dot(outward, r - p)) < 0 else -outward
        distance = torch.maximum(distance, along(outward, p))
    paint_bone(canvas, box, distance, "scapula", 0.8, 1.0)
