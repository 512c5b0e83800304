"""The trunk's nested surfaces: skin, fat under it, muscles of the wall, and the cavity; table and mark."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Cells, coverage
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import capsule, smooth_union, stack
from regard.phantoms.torso.spine_curve import curve
from regard.phantoms.torso.structures import STRUCTURES

__all__ = ["Trunk", "interpolate", "paint_table", "paint_trunk", "trunk_of"]

SKIN_HU = 10.0
MARK_HU = 1800.0
"""HU that a full mark on the table adds."""

SKIN = 2.0
"""Thickness of the skin [mm]."""

_HEIGHTS = (-260, -200, -120, -60, 0, 60, 120, 180, 230, 270, 300, 318, 335, 352, 380, 420)
_WIDTH = (1.08, 1.08, 0.98, 0.95, 1.0, 1.02, 1.05, 1.10, 1.14, 1.20, 1.16, 1.02, 0.72, 0.48, 0.42, 0.42)
_FRONT = (0.80, 0.82, 0.90, 0.97, 1.0, 1.06, 1.10, 1.10, 1.08, 0.98, 0.84, 0.74, 0.66, 0.60, 0.58, 0.58)
_BACK = (1.05, 1.02, 0.96, 0.96, 1.0, 1.0, 1.0, 1.0, 1.02, 1.02, 0.98, 0.92, 0.84, 0.76, 0.70, 0.70)
"""Size of the muscles' outer surface relative to that at L1, at heights above L1 [mm]."""


@dataclass(frozen=True, eq=False)
class Trunk:
    """Nested surfaces as signed distances [mm], (i, j, k) of the cells they were made for."""

    skin: Tensor
    muscle: Tensor
    cavity: Tensor


def interpolate(z: Tensor, heights: Sequence[float], values: Sequence[float]) -> Tensor:
    """Smooth interpolation of ``values`` at ``heights`` [mm] to the heights z, (k,); constant beyond the ends."""
    known = torch.tensor(heights, dtype=z.dtype, device=z.device)
    at = torch.tensor(values, dtype=z.dtype, device=z.device)
    index = (torch.searchsorted(known, z.contiguous()) - 1).clamp(0, len(known) - 2)
    step = known[index + 1] - known[index]
    t = ((z - known[index]) / step).clamp(0, 1)
    slopes = torch.gradient(at, spacing=(known,))[0]
    a, b, m, n = at[index], at[index + 1], slopes[index] * step, slopes[index + 1] * step
    return (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * n


def trunk_of(cells: Cells, shape: TorsoShape) -> Trunk:
    """Surfaces of the trunk on some cells."""
    _, y, z = cells.axes
    spine = [curve(shape, float(value)) for value in z]
    centre_x = torch.tensor([p[0] for p in spine], device=z.device) * 0.5
    centre_y = torch.tensor([p[1] for p in spine], device=z.device)
    widest = centre_y * 0.4 + 14
    width = shape.half_width * interpolate(z, _HEIGHTS, _WIDTH)
    front = shape.front * interpolate(z, _HEIGHTS, _FRONT) - widest
    back = shape.back * interpolate(z, _HEIGHTS, _BACK) - 0.6 * centre_y + widest
    fat = shape.subcutaneous
    place, centre, furrow = cells.place, (centre_x, widest), (0.10, 17.0)
    skin = stack(place, centre, (width + fat, front + 0.8 * fat, back + 0.6 * fat), 2.35, furrow=furrow)
    muscle = stack(place, centre, (width, front, back), 2.35, furrow=furrow)
    wall = shape.wall
    cavity = stack(place, centre, (width - wall, front - 0.85 * wall, 0.74 * back - 0.3 * wall), 2.7)
    # The back lies flat on the table.
    flat = -(shape.back + 0.6 * fat) * 0.955 - y[None, :, None]
    lying = (z > -230) & (z < 290)
    skin = torch.where(lying, -smooth_union(-skin, -flat, 12.0), skin)
    return Trunk(skin, muscle, cavity)


def paint_trunk(canvas: Canvas) -> Trunk:
    """Paint skin, fat, the muscles of the wall and the fat of the cavity."""
    shape, box = canvas.shape, canvas.everywhere
    trunk = trunk_of(canvas.cells, shape)
    fine = canvas.field("grain", (3.0, 9.0))
    coarse = canvas.field("lobules", (9.0, 40.0))
    x, y, _ = canvas.cells.place
    canvas.paint(box, trunk.skin, "skin", SKIN_HU)
    fat = shape.fat_hu + 4 * coarse + 3 * fine
    septa = torch.exp(-(canvas.field("septa", (14.0, 45.0)) / 0.06).square())
    canvas.paint(box, trunk.skin + SKIN, "subcutaneous_fat", fat + 28 * septa)
    streaks = (fine + 0.6 * coarse - 1.2 + 0.9 * shape.infiltration).clamp(0, 1.5)
    flesh = shape.muscle_hu + 3 * fine + 2 * coarse - 40 * (0.2 + shape.infiltration) * streaks
    canvas.paint(box, trunk.muscle, "muscle", flesh)
    planes = _planes(trunk, shape, x, y)
    canvas.cover(box, planes, "fascia", fat)
    mesentery = _mesentery(canvas, shape)
    canvas.paint(box, trunk.cavity, "visceral_fat", fat + 8 + mesentery)
    return trunk


def _planes(trunk: Trunk, shape: TorsoShape, x: Tensor, y: Tensor) -> Tensor:
    """Share of the thin layers of fat between the wall's muscles, and of the gap beside the straight muscle."""
    wall = shape.wall
    depth = -trunk.muscle
    side = (y > -35) & (trunk.cavity > 0) & (depth > 1)
    planes = torch.zeros_like(depth)
    for share in (0.34, 0.66):
        planes += (1 - (depth - share * wall).abs() / 0.9).clamp_(0, 1)
    lateral = (1 - ((x.abs() - 0.45 * shape.half_width) / 2.5).abs()).clamp(0, 1) * (y > 20)
    straight = x.abs() < 0.45 * shape.half_width
    planes = torch.where(straight & (y > 20), 0.0, planes)
    return ((planes + lateral) * side * 0.75).clamp_(0, 1)


def _mesentery(canvas: Canvas, shape: TorsoShape) -> Tensor:
    """HU above fat of the small vessels and nodes that run through the mesentery."""
    a = canvas.field("mesentery a", (14.0, 34.0))
    b = canvas.field("mesentery b", (14.0, 34.0))
    tubes = (1.4 - 14 * (a.square() + b.square())).clamp_(0, 1)
    return 115 * tubes


def table_front(shape: TorsoShape) -> float:
    """Coordinate y of the table's middle [mm]."""
    return -(shape.back + 0.6 * shape.subcutaneous) * 0.955 - shape.table_gap


def paint_table(canvas: Canvas) -> None:
    """Two thin curved sheets, and a mark of wire on the upper one."""
    shape = canvas.shape
    top = table_front(shape)
    box = canvas.cells.box((-230, top - 50, -1e9), (230, top + 45, 1e9))
    if box is None:
        return
    x, y, z = canvas.cells.part(box).place
    # Distance measured across the sheet: its slope is that of the parabola.
    bend = 1 / 900
    slope = (1 + (2 * bend * x).square()).sqrt()
    height = (y - top - bend * x.square()) / slope + 0 * z
    for depth, thickness, hu in ((0.0, 2.4, 90.0), (27.0, 2.4, 90.0)):
        sheet = torch.maximum((height + depth + thickness / 2).abs() - thickness / 2, x.abs() - 215)
        canvas.paint(box, sheet, "table", hu)
    foam = torch.maximum((height + 14).abs() - 11, x.abs() - 213)
    canvas.paint(box, foam, "table", -930.0)
    if shape.table_mark > 0:
        _paint_mark(canvas)


def mark_place(shape: TorsoShape) -> tuple[float, float]:
    """Coordinates x and y of the mark on the table [mm]."""
    return 62.0, table_front(shape) + 62.0**2 / 900 - 4.0


def _paint_mark(canvas: Canvas) -> None:
    x, y = mark_place(canvas.shape)
    box = canvas.cells.box((x - 14, y - 7, -1e9), (x + 14, y + 7, 1e9))
    if box is None:
        return
    px, py, pz = canvas.cells.part(box).place
    distance = capsule((px, py, 0 * pz), (x - 7, y, 0), (x + 7, y, 0), 2.6)
    # Added to what is there, so that a faint mark is no hole in the table.
    share = coverage(distance, canvas.cells.width)
    canvas.soft[box] += share * MARK_HU * canvas.shape.table_mark
    canvas.labels[box].masked_fill_(share > 0.5, STRUCTURES["table_mark"])
