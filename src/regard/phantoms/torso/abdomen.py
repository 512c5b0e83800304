"""The organs at the height of L1: liver, spleen, kidneys, pancreas, gallbladder and great vessels."""

from itertools import pairwise

import torch
from torch import Tensor

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Box, coverage
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import ball, capsule, cylinder, smooth_union, tilted, tube_box
from regard.phantoms.torso.spine_curve import curve
from regard.phantoms.torso.structures import STRUCTURES

__all__ = ["paint_abdomen", "paint_vessels"]

Point = tuple[float, float, float]


def cavity_half_width(shape: TorsoShape) -> float:
    """Half width of the abdominal cavity at L1 [mm]."""
    return shape.half_width - shape.wall


def cavity_front(shape: TorsoShape) -> float:
    """Coordinate y of the front of the abdominal cavity at L1 [mm]."""
    return shape.front - 0.85 * shape.wall


def paint_tube(
    canvas: Canvas, points: list[Point], radius: float, name: str, hu: float | Tensor, within: Tensor | None = None
) -> None:
    """Paint a bent tube of one tissue through some points [mm]."""
    for start, end in pairwise(points):
        box = canvas.cells.box(*tube_box((start, end), radius + 1))
        if box is None:
            continue
        distance = capsule(canvas.cells.part(box).place, start, end, radius)
        if within is not None:
            distance = torch.maximum(distance, within[box])
        canvas.paint(box, distance, name, hu[box] if isinstance(hu, Tensor) else hu)


def paint_abdomen(canvas: Canvas, cavity: Tensor) -> None:
    """Paint the solid organs; ``cavity`` is the signed distance of the abdominal cavity [mm]."""
    shape = canvas.shape
    half, front = cavity_half_width(shape), cavity_front(shape)
    fine = canvas.field("grain", (3.0, 9.0))
    _liver(canvas, cavity, half, front, fine)
    _spleen(canvas, cavity, half, fine)
    _pancreas(canvas, half, front)
    gallbladder = (0.48 * half, 0.62 * front, -22.0)
    box = canvas.cells.box(*tube_box((gallbladder,), 34))
    if box is not None:
        bag = ball(tilted(canvas.cells.part(box).place, gallbladder, -30), (0, 0, 0), (13, 14, 30))
        canvas.paint(box, bag, "gallbladder", 6.0 + 1.5 * fine[box])
    for side in (1, -1):
        _kidney(canvas, side, half)


def _liver(canvas: Canvas, cavity: Tensor, half: float, front: float, fine: Tensor) -> None:
    shape = canvas.shape
    low, high = (-0.45 * half, -70.0, -75.0), (half + 5, front + 10, 175.0)
    box = canvas.cells.box(low, high)
    if box is None:
        return
    place = canvas.cells.part(box).place
    size = shape.liver
    right = ball(place, (0.66 * half, 0.2 * front, 55), (0.5 * half * size, 0.95 * front, 118 * size))
    left = ball(place, (0.12 * half, 0.58 * front, 78), (0.62 * half * size, 0.42 * front, 64 * size**2))
    lobes = torch.maximum(smooth_union(right, left, 14.0), cavity[box] + 2.0)
    kidney = kidney_centre(shape, 1)
    # The kidney and the bowel press into its lower surface.
    bed = ball(place, (kidney[0], kidney[1] + 2, kidney[2]), (33, 31, shape.kidney + 9))
    lobes = torch.maximum(lobes, -bed)
    flexure = ball(place, (0.42 * half, 0.86 * front, -46), (0.45 * half, 0.5 * front, 62))
    lobes = -smooth_union(-lobes, flexure, 6.0)
    a = canvas.field("liver vessels a", (24.0, 60.0), box)
    b = canvas.field("liver vessels b", (24.0, 60.0), box)
    vessels = (1.3 - 22 * (a.square() + b.square())).clamp_(0, 1)
    hu = shape.liver_hu + 3 * fine[box] - 0.7 * (shape.liver_hu - shape.blood_hu + 4) * vessels
    canvas.paint(box, lobes, "liver", hu)
    canvas.labels[box].masked_fill_((lobes < -2) & (vessels > 0.6), STRUCTURES["vessel"])


def _spleen(canvas: Canvas, cavity: Tensor, half: float, fine: Tensor) -> None:
    size = canvas.shape.spleen
    centre = (-0.82 * half, -10.0, 34.0)
    box = canvas.cells.box(*tube_box((centre,), 62 * size))
    if box is None:
        return
    place = canvas.cells.part(box).place
    body = ball(tilted(place, centre, 20), (0, 0, 0), (30 * size, 42 * size, 56 * size))
    hollow = ball(place, (-0.48 * half, 8, 34), (26, 40, 70))
    body = torch.maximum(torch.maximum(body, cavity[box] + 2), -hollow)
    canvas.paint(box, body, "spleen", canvas.shape.spleen_hu + 3 * fine[box])


def _pancreas(canvas: Canvas, half: float, front: float) -> None:
    shape = canvas.shape
    y = 0.5 * shape.body_depth + 22
    points = [
        (32.0, y + 16, -34.0),
        (24.0, y + 20, -14.0),
        (0.0, y + 26, -4.0),
        (-32.0, y + 16, 8.0),
        (-0.6 * half, y - 8, 20.0),
    ]
    lobules = canvas.field("lobes", (5.0, 12.0))
    for (start, end), r in zip(pairwise(points), (14.0, 11.0, 9.5, 9.0), strict=True):
        box = canvas.cells.box(*tube_box((start, end), r + 4))
        if box is None:
            continue
        distance = capsule(canvas.cells.part(box).place, start, end, r) + 2.6 * lobules[box].clamp(-1.2, 1.2)
        hu = 36 - 45 * (0.3 + 0.7 * shape.visceral) * (lobules[box] - 0.3).clamp(0, 1.5)
        canvas.paint(box, distance, "pancreas", hu)


def kidney_centre(shape: TorsoShape, side: int) -> Point:
    """Centre of the right (1) or left (-1) kidney [mm]."""
    return side * (0.44 * cavity_half_width(shape) + 7), -6.0, (-26.0 if side > 0 else -14.0) + shape.kidney_shift


def _kidney(canvas: Canvas, side: int, half: float) -> None:
    shape = canvas.shape
    centre, length = kidney_centre(shape, side), shape.kidney
    box = canvas.cells.box(*tube_box((centre,), length + 14))
    if box is None:
        return
    name = "kidney_right" if side > 0 else "kidney_left"
    x, y, z = canvas.cells.part(box).place
    # Upper pole medial and behind, hilum turned forward and inward.
    u, v, w = x - centre[0] - side * -0.16 * (z - centre[2]), y - centre[1] - (-0.14) * (z - centre[2]), z - centre[2]
    u, v = 0.87 * u + side * 0.5 * v, 0.87 * v - side * 0.5 * u
    body = ball((u, v, w), (0, 0, 0), (30 * length / 54, 26 * length / 54, length))
    ripple = canvas.field("lobes", (5.0, 12.0))[box]
    canvas.paint(box, body - 0.4 * ripple, name, shape.kidney_hu + 2.5 * ripple)
    sinus = ball((u, v, w), (-side * 15 * length / 54, 2, 0), (16 * length / 54, 9 * length / 54, 0.56 * length))
    pyramids = canvas.field("pyramids", (10.0, 18.0), box)
    sinus = torch.maximum(sinus + 3.0 * pyramids.clamp(-1, 1.5), -body.abs() - 40)
    canvas.paint(box, torch.maximum(sinus, body - 6), "renal_sinus", shape.fat_hu + 30 + 20 * pyramids.clamp(-1, 1))


def aorta_place(shape: TorsoShape, z: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x and y of the aorta's centre at heights z [mm]."""
    spine = [curve(shape, float(value)) for value in z.flatten()]
    x = torch.tensor([p[0] for p in spine], device=z.device).reshape(z.shape) - 7 - 0.05 * z.clamp(min=0)
    y = torch.tensor([p[1] for p in spine], device=z.device).reshape(z.shape)
    return x, y + 0.5 * shape.body_depth * shape.vertebra + shape.aorta + 3


def paint_vessels(canvas: Canvas) -> None:
    """Paint aorta with its calcification, inferior vena cava, crura, and the vessels that leave them."""
    shape = canvas.shape
    radius, blood = shape.aorta, shape.blood_hu
    y0 = 0.5 * shape.body_depth * shape.vertebra
    mesenteric = [
        (-3.0, y0 + 2 * radius + 2, 14.0),
        (-2.0, y0 + 2 * radius + 14, -6.0),
        (0.0, y0 + 2 * radius + 20, -60.0),
    ]
    paint_tube(canvas, mesenteric, 3.6, "vessel", blood)
    vein = [(9.0, y0 + 2 * radius + 20, -70.0), (11.0, y0 + 2 * radius + 20, -10.0), (22.0, y0 + 2 * radius + 18, 14.0)]
    paint_tube(canvas, vein, 5.6, "vessel", blood)
    splenic = [(11.0, y0 + 2 * radius + 20, -6.0), (-30.0, y0 + 2 * radius + 6, 10.0), (-80.0, 0.0, 24.0)]
    paint_tube(canvas, splenic, 3.8, "vessel", blood)
    for side in (1, -1):
        cx, cy, cz = kidney_centre(shape, side)
        start = (10.0 if side > 0 else -4.0, y0 + (8 if side > 0 else 2 * radius + 6), cz + 8)
        middle = (side * 30.0, y0 + 2, cz + 4)
        paint_tube(canvas, [start, middle, (cx - side * 14, cy + 8, cz)], 3.8, "vessel", blood)
        paint_tube(
            canvas,
            [(-7.0, y0 + radius, cz + 12), (side * 30.0, y0 - 8, cz + 7), (cx - side * 14, cy + 2, cz + 3)],
            2.4,
            "vessel",
            blood,
        )
    _crura(canvas, y0)
    _cava(canvas, y0)
    _aorta(canvas)


def _cava(canvas: Canvas, y0: float) -> None:
    box = canvas.cells.box((0, y0 - 35, -220), (50, y0 + 45, 125))
    if box is None:
        return
    _, _, z = place = canvas.cells.part(box).place
    ax, ay = aorta_place(canvas.shape, z)
    middle = (ax + 30 - 0.03 * z, ay - 1 + 0.10 * z.clamp(min=0))
    tube = torch.maximum(cylinder(place, middle, (12.5, 9.0)), z - 118)
    canvas.paint(box, tube, "ivc", canvas.shape.blood_hu + 0 * z)


def _crura(canvas: Canvas, y0: float) -> None:
    shape = canvas.shape
    for side, low in ((1, -34.0), (-1, -20.0)):
        top = (side * 15.0 - 4, y0 + 14, 60.0)
        paint_tube(
            canvas, [(side * 9.0 - 3, y0 + 1, low), (side * 14.0 - 5, y0 + 6, 14.0), top], 3.6, "crus", shape.muscle_hu
        )


def _aorta(canvas: Canvas) -> None:
    shape, radius = canvas.shape, canvas.shape.aorta
    box = canvas.cells.box((-60, -40, -125), (60, 90, 230))
    if box is None:
        return
    part = canvas.cells.part(box)
    z = part.place[2]
    ax, ay = aorta_place(shape, z)
    around = canvas.cells.box(
        (float(ax.min()) - radius - 2, float(ay.min()) - radius - 2, -120),
        (float(ax.max()) + radius + 2, float(ay.max()) + radius + 2, 225),
    )
    if around is None:
        return
    _, _, z = place = canvas.cells.part(around).place
    distance = cylinder(place, aorta_place(shape, z), (radius, radius))
    canvas.paint(around, distance, "aorta", shape.blood_hu)
    _plaques(canvas, around, distance)


def _plaques(canvas: Canvas, box: Box, distance: Tensor) -> None:
    """Calcium in the wall: where a smooth field is high, more and denser with the factor."""
    amount = canvas.shape.aortic_calcium
    if amount <= 0:
        return
    width = canvas.cells.width
    wall = coverage((distance + 0.4).abs() - 1.1, width)
    where = (canvas.field("plaques", (13.0, 30.0), box) - 1.9 + 2.4 * amount).mul_(2).clamp_(0, 1)
    density = 0.45 * min(1.0, 4 * amount) * (0.4 + 0.6 * amount)
    share = wall * where
    canvas.calcium[box] += share * density
    canvas.labels[box].masked_fill_(share > 0.5, STRUCTURES["aortic_calcium"])
