"""Muscles beside the spine: psoas, the erectors of the back, quadratus lumborum."""

import torch
from torch import Tensor

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Cells
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import cylinder
from regard.phantoms.torso.spine_curve import curve

__all__ = ["paint_muscles"]


def _column(cells: Cells, shape: TorsoShape) -> tuple[Tensor, Tensor]:
    """Coordinates x and y of the spine at the cells' heights, each (1, 1, k)."""
    z = cells.axes[2]
    points = [curve(shape, float(value)) for value in z]
    return tuple(torch.tensor([p[i] for p in points], device=z.device)[None, None] for i in (0, 1))  # type: ignore[return-value]


def _flesh(canvas: Canvas, box: tuple[slice, slice, slice], extra: float) -> Tensor:
    """HU of muscle with fat between the fibres."""
    shape = canvas.shape
    fine = canvas.field("grain", (3.0, 9.0))[box]
    fibres = canvas.field("fibres", (5.0, 16.0), box)
    share = min(1.0, shape.infiltration + extra)
    streaks = (0.5 * fine + fibres - 1.25 + 1.1 * share).clamp_(0, 1.4)
    return shape.muscle_hu + 3 * fine - 8 * extra - 75 * (0.2 + share) * streaks


def paint_muscles(canvas: Canvas, inside: Tensor) -> None:
    """Paint them; ``inside`` is the signed distance of the muscles' outer surface [mm]."""
    shape = canvas.shape
    rear = 0.5 * shape.body_depth * shape.vertebra
    box = canvas.cells.box((-120, -140, -260), (120, 60, 330))
    if box is None:
        return
    cells = canvas.cells.part(box)
    x, y, z = cells.place
    cx, cy = _column(cells, shape)
    fat = shape.fat_hu + 4
    low = canvas.cells.box((-120, -60, -260), (120, 60, 28))
    if low is not None:
        lx, ly, lz = canvas.cells.part(low).place
        sx, sy = _column(canvas.cells.part(low), shape)
        grow = ((24 - lz) / 120).clamp(0.0, 1.0)
        middle = 0.5 * shape.body_width * shape.vertebra + 5 + 13 * grow
        size = (5 + 19 * grow.sqrt()) * shape.psoas**0.5
        muscle = cylinder(((lx - sx).abs(), ly - sy, lz), (middle, -4 + 2 * grow), (0.86 * size, 1.1 * size))
        canvas.paint(low, muscle, "psoas", _flesh(canvas, low, -0.25))
        lumbar = cylinder(((lx - sx).abs(), ly - sy, lz), (62.0 + 12 * grow, -rear - 16), (20.0, 8.0))
        lumbar = torch.maximum(lumbar, lz - 20)
        canvas.paint(low, lumbar, "quadratus_lumborum", _flesh(canvas, low, 0.0))
    # A plane of fat round the erectors, then the muscle itself.
    lateral, deep = 33.0 * shape.paraspinal**0.5, 24.0 * shape.paraspinal**0.5
    slim = 1 - 0.35 * ((z - 20) / 260).clamp(0, 1)
    around = ((x - cx).abs(), y - cy, z)
    erector = cylinder(around, (31.0 * slim, -rear - 46.0), (lateral * slim, deep * slim + 4))
    bound = inside[box]
    erector = torch.maximum(erector, bound + 2)
    # A thin plane of fat all round, thicker in the groove between the erectors and the wall.
    groove = 0.6 + 2.4 * ((around[0] - 40) / 20).clamp(0, 1) * ((y - cy + rear + 62) / 30).clamp(0, 1)
    flesh = _flesh(canvas, box, 0.3)
    bent = around[0] + 4 * canvas.field("folds", (14.0, 30.0))[box]
    seams = (1 - (bent - 21).abs() / 1.0).clamp(0, 1) + (1 - (bent - 41).abs() / 0.9).clamp(0, 1)
    canvas.paint(box, erector - groove, "fascia", 0.7 * fat)
    canvas.paint(box, erector, "paraspinal", flesh + 0.45 * (fat - flesh) * seams)
    deep_fat = (1 - ((around[0] - 2.0).abs() / 2.2)).clamp(0, 1) * (y - cy < -rear - 30) * (bound < -1)
    canvas.cover(box, 0.6 * deep_fat, "fascia", fat)
