"""What lies inside the rib cage: mediastinum, heart, great vessels, airways, lungs with their vessels, diaphragm."""

import torch
from torch import Tensor

from regard.core import randomness
from regard.phantoms.torso.abdomen import paint_tube
from regard.phantoms.torso.cage import cage_of, sternum_y
from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Box, Place
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import Point, ball, capsule, cylinder, smooth_union, tube_box
from regard.phantoms.torso.spine_curve import curve
from regard.phantoms.torso.structures import STRUCTURES

__all__ = ["paint_breasts", "paint_chest"]

LUNG_HU = -840.0
TOP = 300.0
"""Height of the lungs' apex above L1 [mm]."""

_LUNG = tuple(STRUCTURES[name] for name in ("lung_right", "lung_left", "lung_vessel"))


def domes(place: Place, shape: TorsoShape) -> Tensor:
    """Signed distance of what lies under the diaphragm [mm]."""
    a = 0.95 * shape.half_width * shape.chest_width
    depth = 0.5 * (sternum_y(shape, 80.0) - curve(shape, 60.0)[1] + 46)
    y = 0.5 * (sternum_y(shape, 80.0) + curve(shape, 60.0)[1] - 46)
    low = 2 - shape.lung
    right = ball(place, (0.46 * a, y, -20 * low), (0.53 * a, 1.06 * depth, 20 * low + 112 * low))
    left = ball(place, (-0.46 * a, y, -20 * low), (0.53 * a, 1.06 * depth, 20 * low + 99 * low))
    middle = ball(place, (0.0, y, -20 * low), (0.45 * a, 1.06 * depth, 20 * low + 92 * low))
    return smooth_union(torch.minimum(right, left), middle, 20.0)


def heart_of(place: Place, shape: TorsoShape) -> Tensor:
    """Signed distance of the heart [mm]."""
    size = shape.heart
    y = 0.45 * sternum_y(shape, 140.0) + 0.1 * curve(shape, 140.0)[1] + 8
    low = 2 - shape.lung
    x, y_, z = place[0], place[1] - y, place[2] - 92 * low
    ventricles = ball(
        (x + 32 + 0.30 * z, y_ - 8, z - 34 - 0.22 * (x + 32)), (0, 0, 0), (57 * size, 44 * size, 42 * size)
    )
    atria = ball((x - 4, y_ + 12, z - 58), (0, 0, 0), (41 * size, 38 * size, 42 * size))
    return smooth_union(ventricles, atria, 22.0)


def paint_breasts(canvas: Canvas) -> None:
    """Fat and gland before the ribs of a woman; painted before the trunk, which they bulge from."""
    shape = canvas.shape
    if shape.sex != "female":
        return
    size = 0.8 + 0.012 * shape.subcutaneous
    for side in (1, -1):
        centre = (side * 0.52 * shape.half_width, 0.78 * shape.front + 0.5 * shape.subcutaneous, 148.0)
        radii = (56 * size, 46 * size, 52 * size)
        box = canvas.cells.box(*tube_box((centre,), 60 * size))
        if box is None:
            continue
        place = canvas.cells.part(box).place
        outside = ball(place, centre, radii)
        gland = canvas.field("lobes", (5.0, 12.0))[box]
        canvas.paint(box, outside, "skin", 10.0)
        share = (1 + outside / 30).clamp(0, 1) * -1 + 1
        canvas.paint(box, outside + 2, "breast", shape.fat_hu + 90 * share * (0.4 + 0.5 * gland).clamp(0, 1))


def paint_chest(canvas: Canvas) -> None:
    """Paint the inside of the rib cage above the diaphragm."""
    shape = canvas.shape
    box = canvas.cells.box((-200, -140, -25), (200, 160, 330))
    if box is None:
        return
    cells = canvas.cells.part(box)
    place = cells.place
    cage = cage_of(cells, shape)
    inside = torch.maximum(cage + 9.0, place[2] - TOP * (0.5 + 0.5 * shape.lung) - 12)
    under = domes(place, shape)
    if float(torch.maximum(inside, -under).min()) > 3:
        return
    heart = heart_of(place, shape)
    space = _between(place, shape)
    thorax = torch.maximum(inside, -under)
    canvas.paint(box, torch.maximum(torch.maximum(inside, under - 1), -under - 2.5), "diaphragm", shape.muscle_hu)
    fat = shape.fat_hu + 15 + 25 * canvas.field("lobules", (9.0, 40.0))[box].clamp(-1, 1.5)
    canvas.paint(box, torch.maximum(thorax, space), "mediastinum", fat)
    canvas.paint(box, torch.maximum(heart - 3.0, -under), "mediastinum", shape.fat_hu + 10)
    inner = canvas.field("septa", (14.0, 45.0))[box]
    canvas.paint(box, torch.maximum(heart, -under - 2), "heart", shape.blood_hu + 2 * inner)
    _great_vessels(canvas)
    lungs = torch.maximum(torch.maximum(thorax, 2.0 - space), 4.0 - heart)
    _lungs(canvas, box, place, lungs)
    _airways(canvas)


def _between(place: Place, shape: TorsoShape) -> Tensor:
    """Signed distance of the mediastinum between the lungs [mm]."""
    x, y, z = place
    spine = [curve(shape, float(value)) for value in z.flatten()]
    sx, sy = (torch.tensor([p[i] for p in spine], device=z.device).reshape(z.shape) for i in (0, 1))
    front = torch.tensor([sternum_y(shape, float(value)) for value in z.flatten()], device=z.device).reshape(z.shape)
    wide = 25 + 9 * torch.exp(-((z - 205) / 40).square()) + 16 * ((z - 250) / 60).clamp(0, 1)
    wide = wide * (1.15 - 0.45 * ((y - sy - 0.55 * (front - sy)) / 60).clamp(0, 1))
    pillar = cylinder((x - sx + 3, y, z), (0.0, 0.5 * (sy + front)), (wide, 0.62 * (front - sy) + 8))
    column = cylinder((x - sx, y - sy, z), (0.0, 0.0), (24.0, 24.0))
    return torch.minimum(pillar, column)


def _great_vessels(canvas: Canvas) -> None:
    shape, blood = canvas.shape, canvas.shape.blood_hu
    r = shape.aorta
    sy = curve(shape, 225.0)[1]
    front = 0.40 * sternum_y(shape, 190.0) + 6
    arch: list[Point] = [
        (8.0, front, 140.0), (19.0, front + 4, 190.0), (12.0, front - 12, 222.0), (-6.0, sy + 44, 236.0),
        (-20.0, sy + 28, 232.0), (-20.0, sy + 26, 205.0),
    ]  # fmt: skip
    paint_tube(canvas, arch, 1.32 * r, "aorta", blood)
    paint_tube(
        canvas, [(33.0, front - 4, 150.0), (31.0, front - 4, 205.0), (27.0, front, 250.0)], 10.0, "vessel", blood
    )
    paint_tube(canvas, [(27.0, front, 248.0), (-30.0, front + 12, 268.0)], 6.0, "vessel", blood)
    trunk = (-16.0, front + 4, 176.0)
    paint_tube(canvas, [(-14.0, front + 8, 150.0), trunk], 13.0, "vessel", blood)
    paint_tube(canvas, [trunk, (20.0, front - 20, 188.0), (46.0, front - 24, 180.0)], 10.0, "vessel", blood)
    paint_tube(canvas, [trunk, (-34.0, front - 22, 196.0), (-46.0, front - 36, 186.0)], 10.0, "vessel", blood)
    for x in (-28.0, -16.0, 14.0):
        paint_tube(canvas, [(0.3 * x - 6, sy + 42, 232.0), (x, sy + 40, 300.0)], 4.5, "vessel", blood)


def _lungs(canvas: Canvas, box: Box, place: Place, lungs: Tensor) -> None:
    shape = canvas.shape
    fine = canvas.field("grain", (3.0, 9.0))[box]
    coarse = canvas.field("lobules", (9.0, 40.0))[box]
    # Blood gathers at the back, which lies lowest.
    air = LUNG_HU - 330 * (shape.lung - 1) + 14 * fine + 12 * coarse - 0.35 * (place[1] - 20)
    a, b = canvas.field("mesentery a", (14.0, 34.0))[box], canvas.field("mesentery b", (14.0, 34.0))[box]
    small = (1.25 - 26 * (a.square() + b.square())).clamp_(0, 1)
    air = air + 330 * small
    for side, name in ((1, "lung_right"), (-1, "lung_left")):
        canvas.paint(box, torch.maximum(lungs, -side * place[0]), name, air)
    for side in (1, -1):
        _tree(canvas, side)


def _tree(canvas: Canvas, side: int) -> None:
    """Vessels that leave the hilum and taper towards the surface of the lung."""
    shape = canvas.shape
    n = 34
    u = randomness.uniform((n, 6), shape.seed, shape.name, f"lung vessels {side}").tolist()
    hilum = (side * 42.0, 0.40 * sternum_y(shape, 190.0) - 22, 184.0)
    a = 0.80 * shape.half_width * shape.chest_width
    for d in u:
        height = 40 + 240 * d[0]
        narrow = 1 - 0.45 * max(0.0, (height - 170) / 120)
        goal = (side * (0.30 + 0.66 * d[1]) * a * narrow, -60 + 125 * d[2], height)
        start = (hilum[0], hilum[1] + 10 * (d[3] - 0.5), hilum[2] + 26 * (d[4] - 0.5))
        bend = [0.55 * p + 0.45 * q + 16 * (v - 0.5) for p, q, v in zip(start, goal, (d[5], d[3], d[4]), strict=True)]
        for first, last, radii in ((start, bend, (3.6, 2.2)), (bend, goal, (2.2, 0.9))):
            near = canvas.cells.box(*tube_box((first, last), 4.5))
            if near is None:
                continue
            local = canvas.cells.part(near).place
            distance = capsule(local, first, last, radii)
            lung = (canvas.labels[near] == _LUNG[0]) | (canvas.labels[near] == _LUNG[1])
            lung |= canvas.labels[near] == _LUNG[2]
            canvas.paint(near, torch.where(lung, distance, 5.0), "lung_vessel", shape.blood_hu)


def _airways(canvas: Canvas) -> None:
    shape = canvas.shape
    sy = curve(shape, 210.0)[1]
    neck = curve(shape, 330.0)[1]
    carina = (3.0, sy + 40, 208.0)
    for points, radius in (
        ([(0.0, neck + 42, 345.0), carina], 8.5),
        ([carina, (26.0, sy + 38, 190.0), (44.0, sy + 34, 176.0)], 6.5),
        ([carina, (-30.0, sy + 36, 186.0), (-48.0, sy + 32, 176.0)], 6.0),
    ):
        paint_tube(canvas, points, radius + 1.5, "airway", 20.0)
        paint_tube(canvas, points, radius, "airway", -985.0)
