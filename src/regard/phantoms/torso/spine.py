"""The spine painted: bodies with shell and marrow, posterior elements, canal and discs."""

from itertools import pairwise

import torch
from torch import Tensor

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Box, Place, coverage
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import ball, capsule, tilted, tube_box
from regard.phantoms.torso.spine_curve import Level, levels
from regard.phantoms.torso.structures import STRUCTURES
from regard.phantoms.torso.vertebra import arch, body, body_reach, near, part_of, reach

__all__ = ["paint_spine"]

CANAL_HU = 18.0
DISC_HU = 85.0
MARROW_WAVES = (1.6, 5.0)
"""Wavelengths of the trabecular texture [mm]."""


def marrow_hu(shape: TorsoShape) -> float:
    """HU of the marrow between the trabeculae: from red (40) to fat (-70)."""
    return 40 - 110 * shape.marrow_fat


def densities(shape: TorsoShape, is_l1: bool) -> tuple[float, float]:
    """Density of trabecular and of compact bone [g/cm3]."""
    if is_l1:
        return shape.trabecular / 1000, shape.cortical / 1000
    return shape.skeleton * shape.other_trabecular / 1000, shape.skeleton * shape.other_cortical / 1000


def trabecular_density(canvas: Canvas, box: Box, place: Place, height: Tensor, mean: float) -> Tensor:
    """Mineral density [g/cm3] inside a body: mottled, denser towards the endplates, less around the basal vein."""
    shape = canvas.shape
    x, y, z = place
    profile = 0.94 + 0.3 * height.square().clamp(max=1) ** 2
    vein = torch.exp(-(x / 5).square() - ((y + 0.3 * shape.body_depth) / 8).square() - (z / 3.5).square())
    mottle = canvas.field("trabecular", MARROW_WAVES, box)
    return mean * profile * (1 - 0.6 * vein) * (1 + shape.texture * mottle).clamp(0.1, 2.2)


def _paint_vertebra(canvas: Canvas, level: Level) -> None:
    shape = canvas.shape
    around = canvas.cells.box(*reach(shape, level))
    if around is None:
        return
    cells = canvas.cells.part(around)
    place = tilted(cells.place, level.centre, level.lean)
    width, is_l1 = cells.width, level.name == "L1"
    own = {"L1": "l1_posterior", "T12": "t12", "L2": "l2"}.get(level.name, "vertebra")
    (spongy, compact), fat = densities(shape, is_l1), marrow_hu(shape)
    bone = arch(place, shape, level)
    canvas.paint(around, bone.canal, "canal", CANAL_HU)
    rear = coverage(bone.outside, width)
    middle = near(place, *body_reach(shape, level))
    box = None if middle is None else _aligned(around, middle, canvas.cells.finer)
    if box is not None:
        i, j, k = (slice(c.start - a.start, c.stop - a.start) for c, a in zip(box, around, strict=True))
        here = (i, j, k)
        solid = body(part_of(place, here), shape, level)
        share = coverage(solid.outside, width)
    rear_marrow = torch.minimum(coverage(bone.inside, width), rear)
    filled = torch.where(rear > 0, rear_marrow / rear.clamp(min=1e-6), 0.0)
    behind = shape.posterior_ratio * spongy
    content = compact + (behind - compact) * filled
    canvas.bone(around, rear, own, 40 + (fat - 40) * filled, content)
    if box is not None:
        # The body is painted over the roots of the pedicles.
        rear[here] *= 1 - share
    if is_l1:
        canvas.keep("posterior", around, rear)
        canvas.keep("mineral_posterior", around, rear * content)
    if box is None:
        return
    # Marrow of the pedicles is one with the body's: no shell between them.
    way = (bone.inside[here] < 0) & (solid.outside > -3)
    marrow = torch.where(way, torch.minimum(solid.inside, bone.inside[here]), solid.inside)
    inner = torch.minimum(coverage(marrow, width), share)
    density = trabecular_density(canvas, box, part_of(place, here), solid.height, spongy)
    filled = torch.where(share > 0, inner / share.clamp(min=1e-6), 0.0)
    content = compact + (density - compact) * filled
    canvas.bone(box, share, "l1_cortical" if is_l1 else own, 40 + (fat - 40) * filled, content)
    if is_l1:
        canvas.labels[box].masked_fill_(inner > 0.5, STRUCTURES["l1_trabecular"])
        canvas.keep("body", box, share)
        canvas.keep("trabecular", box, inner)
        canvas.keep("mineral_body", box, share * content)
        canvas.keep("mineral_trabecular", box, inner * density)
        canvas.keep_front(box, share)


def _aligned(around: Box, inner: Box, finer: tuple[int, int, int]) -> Box:
    """A box inside another one, cut along the borders of voxels."""
    cuts = []
    for a, c, n in zip(around, inner, finer, strict=True):
        cuts.append(slice((a.start + c.start) // n * n, min(-(-(a.start + c.stop) // n) * n, a.stop)))
    return cuts[0], cuts[1], cuts[2]


def _paint_disc(canvas: Canvas, below: Level, above: Level) -> None:
    shape = canvas.shape
    s = shape.vertebra
    a, b = 0.5 * shape.body_width * below.width * s, 0.5 * shape.body_depth * below.depth * s
    h = 0.5 * shape.body_height * s
    low = [p - r for p, r in zip(below.centre, (a + 4, b + 4, -0.7 * h * below.height), strict=True)]
    high = [p + r for p, r in zip(above.centre, (a + 4, b + 4, -0.7 * h * above.height), strict=True)]
    box = canvas.cells.box(low, high)
    if box is None:
        return
    middle = [(p + q) / 2 for p, q in zip(below.centre, above.centre, strict=True)]
    place = tilted(canvas.cells.part(box).place, middle, (below.lean + above.lean) / 2)
    half = 0.5 * above.disc + shape.concavity + 3
    flat = ball((*place[:2], torch.zeros_like(place[2])), (0, 0, 0), (1.0 * a, 1.0 * b, 1e6))
    distance = torch.maximum(flat, place[2].abs() - half)
    nucleus = ball(place, (0, -0.1 * b, 0), (0.6 * a, 0.6 * b, half))
    hu = DISC_HU + 15 * (nucleus / (0.4 * a)).clamp(-1, 0.4)
    canvas.paint(box, distance, "disc", hu)


def paint_spine(canvas: Canvas, *, only: str | None = None) -> None:
    """Paint every level, or one of them: discs first, then bone from below upward."""
    column = levels(canvas.shape)
    if only is None:
        _paint_canal(canvas, column)
        for below, above in pairwise(column):
            _paint_disc(canvas, below, above)
    for level in column:
        if only in (None, level.name):
            _paint_vertebra(canvas, level)


def _paint_canal(canvas: Canvas, column: list[Level]) -> None:
    """The canal between the arches: dural sac in epidural fat."""
    shape = canvas.shape
    s = shape.vertebra

    def point(level: Level) -> tuple[float, float, float]:
        x, y, z = level.centre
        return x, y - (0.5 * shape.body_depth * level.depth + 0.5 * shape.canal_depth - 1.5) * s, z

    for below, above in pairwise(column):
        start, end = point(below), point(above)
        r = 0.5 * shape.canal_depth * s
        box = canvas.cells.box(*tube_box((start, end), 2 * r))
        if box is None:
            continue
        distance = capsule(canvas.cells.part(box).place, start, end, r - 1, (1.25, 1, 1))
        canvas.paint(box, distance, "canal", CANAL_HU)
