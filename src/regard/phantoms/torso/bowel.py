"""Bowel: colon, small bowel and stomach with wall, contents and gas that rises to the front."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from regard.core import randomness
from regard.phantoms.torso.abdomen import cavity_front, cavity_half_width
from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.solids import ball, capsule, tube_box

__all__ = ["paint_bowel"]

Point = tuple[float, float, float]


def _draws(canvas: Canvas, name: str, n: int) -> list[float]:
    return randomness.uniform((n,), canvas.shape.seed, canvas.shape.name, name).tolist()


def paint_bowel(canvas: Canvas, cavity: Tensor) -> None:
    """Paint small bowel first, then stomach, duodenum and colon; ``cavity`` is the signed distance [mm]."""
    half, front = cavity_half_width(canvas.shape), cavity_front(canvas.shape)
    _small_bowel(canvas, cavity, half, front)
    _stomach(canvas, cavity, half, front)
    y = 0.5 * canvas.shape.body_depth + 34
    _segment(
        canvas,
        cavity,
        [(46.0, y + 10, 14.0), (47.0, y - 4, -22.0), (38.0, y - 10, -58.0)],
        12.0,
        "duodenum",
        0.15,
        0.0,
        1,
    )
    _segment(
        canvas, cavity, [(38.0, y - 10, -58.0), (0.0, y - 4, -62.0), (-30.0, y, -40.0)], 11.0, "duodenum", 0.1, 0.0, 2
    )
    _colon(canvas, cavity, half, front)


def _segment(
    canvas: Canvas, cavity: Tensor, points: list[Point], radius: float, name: str, gas: float, stool: float, key: int
) -> None:
    """One stretch of bowel: fat-free wall, contents, and gas above its level."""
    fold = 0.9 if name == "bowel" else 2.0
    level = radius * (1 - 2 * gas)
    for start, end in pairwise(points):
        box = canvas.cells.box(*tube_box((start, end), radius + 5))
        if box is None:
            continue
        place = canvas.cells.part(box).place
        ripple = canvas.field("folds", (14.0, 30.0))[box]
        outer = torch.maximum(capsule(place, start, end, radius) + fold * ripple, cavity[box] + 1.5)
        canvas.paint(box, outer, name if name != "stool" else "bowel", 38.0)
        lumen = outer + 2.4
        if stool > 0:
            crumbs = canvas.field("crumbs", (4.0, 11.0))[box]
            hu = 25 + 18 * crumbs - 420 * stool * (crumbs - 1.0 + 0.6 * stool).clamp(0, 1)
            canvas.paint(box, lumen, "stool", hu)
        else:
            canvas.paint(box, lumen, name, 14.0 + 10 * math.sin(key))
        if gas > 0:
            top = (start[1] + end[1]) / 2 + level
            canvas.paint(box, torch.maximum(lumen, top - place[1]), "bowel_gas", -980.0)


def _colon(canvas: Canvas, cavity: Tensor, half: float, front: float) -> None:
    shape = canvas.shape
    u = _draws(canvas, "colon", 12)
    gas, stool = shape.bowel_gas, shape.stool
    rising = [
        (0.78 * half, 0.25 * front, -170.0),
        (0.76 * half, 0.30 * front, -70.0),
        (0.66 * half, 0.55 * front, -42 + 14 * u[0]),
    ]
    _segment(canvas, cavity, rising, 23 + 5 * u[1], "bowel", 0.35 * gas, 0.9 * stool, 3)
    sag = -20 - 40 * u[2]
    across = [
        (0.66 * half, 0.55 * front, -42 + 14 * u[0]),
        (0.40 * half, 0.80 * front, -30 + 18 * u[3]),
        (0.05 * half, 0.86 * front, sag),
        (-0.32 * half, 0.82 * front, -12 + 20 * u[4]),
        (-0.66 * half, 0.62 * front, 18 + 16 * u[5]),
    ]
    for index, (start, end) in enumerate(pairwise(across)):
        filled = min(1.0, gas * (0.6 + 1.2 * u[6 + index]))
        _segment(canvas, cavity, [start, end], 17 + 7 * u[6 + index], "bowel", filled, 0.6 * stool, 4 + index)
    falling = [
        (-0.66 * half, 0.62 * front, 18 + 16 * u[5]),
        (-0.83 * half, 0.22 * front, 5.0),
        (-0.86 * half, 0.08 * front, -60.0),
        (-0.80 * half, 0.15 * front, -170.0),
    ]
    _segment(canvas, cavity, falling, 13 + 5 * u[10], "bowel", 0.3 * gas, stool, 9)


def _stomach(canvas: Canvas, cavity: Tensor, half: float, front: float) -> None:
    u = _draws(canvas, "stomach", 4)
    low, high = (-0.75 * half, 0.2 * front, -40.0), (0.35 * half, front, 130.0)
    box = canvas.cells.box(low, high)
    if box is None:
        return
    place = canvas.cells.part(box).place
    fundus = ball(place, (-0.48 * half, 0.38 * front, 70), (0.30 * half, 0.40 * front, 52))
    antrum = capsule(
        place, (-0.40 * half, 0.55 * front, 36), (0.22 * half, 0.60 * front, 2 + 10 * u[0]), (25 + 6 * u[1], 14.0)
    )
    ripple = canvas.field("folds", (14.0, 30.0))[box]
    wall = torch.maximum(torch.minimum(fundus, antrum) + 1.5 * ripple, cavity[box] + 1.5)
    canvas.paint(box, wall, "stomach", 42.0)
    canvas.paint(box, wall + 4.0, "stomach", 18.0 + 6 * ripple)
    level = (0.5 + 0.22 * (1 - canvas.shape.bowel_gas) + 0.1 * u[2]) * front
    canvas.paint(box, torch.maximum(wall + 4.0, level - place[1]), "bowel_gas", -985.0)


def _small_bowel(canvas: Canvas, cavity: Tensor, half: float, front: float) -> None:
    n = 26
    u = torch.tensor(_draws(canvas, "small bowel", 8 * n)).reshape(n, 8).tolist()
    for index, d in enumerate(u):
        x, z = (1.25 * d[0] - 0.80) * half, -8 - 175 * d[1]
        y = (0.22 + 0.62 * d[2]) * front
        if abs(x) < 24 and y < 0.5 * front:
            continue
        turn, length = 2 * math.pi * d[3], 16 + 26 * d[4]
        step = (length * math.cos(turn), 0.5 * length * (d[5] - 0.5), length * math.sin(turn))
        bend = (0.4 * length * math.sin(turn), 0.6 * length * (d[6] - 0.5), -0.4 * length * math.cos(turn))
        points = [
            (x, y, z),
            (x + step[0], y + step[1], z + step[2]),
            (x + step[0] + bend[0], y + step[1] + bend[1], z + step[2] + bend[2]),
        ]
        gas = canvas.shape.bowel_gas * 0.8 * max(0.0, d[7] - 0.55) / 0.45
        _segment(canvas, cavity, points, 9 + 4.5 * d[6], "bowel", gas, 0.0, 20 + index)
