"""From a shape to a torso: HU, labels and mineral on a grid of any voxel size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.phantoms.torso.abdomen import paint_abdomen, paint_vessels
from regard.phantoms.torso.bowel import paint_bowel
from regard.phantoms.torso.cage import paint_cage
from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import Cells, averaged
from regard.phantoms.torso.chest import paint_breasts, paint_chest
from regard.phantoms.torso.factors import with_factors
from regard.phantoms.torso.muscles import paint_muscles
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.spine import paint_spine
from regard.phantoms.torso.structures import STRUCTURES, UPTAKE
from regard.phantoms.torso.trunk import paint_table, paint_trunk

__all__ = ["HU_PER_MINERAL", "REGIONS", "Box", "Region", "Torso", "render_torso"]

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Lowest and highest x, y and z in RAS mm, of the outer faces of the outer voxels."""

Region = Literal["l1", "chest", "whole"]

REGIONS: dict[str, Box] = {
    "l1": ((-128.0, 128.0), (-140.0, 116.0), (-44.0, 30.0)),
    "chest": ((-220.0, 220.0), (-170.0, 190.0), (-20.0, 360.0)),
    "whole": ((-230.0, 230.0), (-180.0, 190.0), (-200.0, 380.0)),
}
"""Boxes by name. ``"l1"`` holds L1 with all its processes, and is 256 mm wide as the published crop is in pixels."""

HU_PER_MINERAL = 1400.0
"""HU that 1 g/cm3 of bone mineral adds at 120 kVp; ours, see `regard.phantoms.torso.scanner`."""

LARGEST_CELL = 2.0
"""A cell is never longer than this [mm], however thick the slices are."""

CELLS_AT_ONCE = 600_000
"""Cells drawn at a time; taller torsos are drawn in slabs."""

PHASES = ("arterial", "portal")


@dataclass(frozen=True, eq=False)
class Torso:
    """A rendered torso, free of noise; all volumes share one grid, axes left, posterior, superior.

    Parameters
    ----------
    shape
        What it was rendered from.
    hu
        HU at 120 kVp without contrast agent.
    labels
        Number of the structure that fills most of each voxel (`STRUCTURES`).
    mineral
        Bone mineral [g/cm3].
    calcium
        Calcium that is not bone [g/cm3], of the same effect in HU as bone mineral.
    uptake
        Rise of each voxel with contrast agent at 120 kVp [HU], one channel for each of ``PHASES``.
    fractions
        Share of a voxel that L1's ``"body"`` (with shell), ``"trabecular"`` (inside it) and ``"posterior"`` elements
        fill, and their mineral [g/cm3] ``"mineral_body"``, ``"mineral_trabecular"``, ``"mineral_posterior"``.
    front
        Share of each column that L1's body covers as seen from the front, (i, 1, k).
    """

    shape: TorsoShape
    hu: Volume
    labels: Volume
    mineral: Volume
    calcium: Volume
    uptake: Volume
    fractions: dict[str, Volume]
    front: Tensor

    def mask(self, *names: str) -> Tensor:
        """Voxels labelled as any of these structures, (i, j, k) of bool."""
        labels = self.labels.tensor[0]
        return torch.stack([labels == STRUCTURES[name] for name in names]).any(0)


def grid_of(spacing_mm: Sequence[float], region: Region | str | Box) -> tuple[tuple[int, int, int], np.ndarray]:
    """Number of voxels and affine of a region; axes run left, posterior, superior.

    Raises
    ------
    InputError
        If a voxel size is not positive, or there is no such region.
    """
    if len(spacing_mm) != 3 or min(spacing_mm) <= 0:
        raise InputError(f"a voxel size of {tuple(spacing_mm)}", "three positive lengths in mm")
    if isinstance(region, str):
        if region not in REGIONS:
            raise InputError(f"region '{region}'", f"one of {', '.join(REGIONS)}, or a box in mm")
        region = REGIONS[region]
    size = [max(1, round((high - low) / s)) for (low, high), s in zip(region, spacing_mm, strict=True)]
    sx, sy, sz = (float(s) for s in spacing_mm)
    affine = np.diag([-sx, -sy, sz, 1.0])
    middle = [(low + high) / 2 for low, high in region]
    affine[:3, 3] = np.array(middle) - affine[:3, :3] @ (np.array(size) - 1) / 2
    return (size[0], size[1], size[2]), affine


def cells_of(
    size: Sequence[int],
    affine: np.ndarray,
    fine: int,
    first: int = 0,
    count: int | None = None,
    device: str = "cpu",
    largest: float = LARGEST_CELL,
) -> Cells:
    """Fine cells of the slices ``first`` to ``first + count`` of a grid."""
    spacing = np.abs(np.diag(affine)[:3])
    finer = [max(fine, math.ceil(s / largest)) for s in spacing]
    counts = [size[0], size[1], size[2] if count is None else count]
    starts = [0, 0, first]
    axes = []
    for axis in range(3):
        index = starts[axis] + (torch.arange(counts[axis] * finer[axis], dtype=torch.float64) + 0.5) / finer[axis] - 0.5
        axes.append((index * affine[axis, axis] + affine[axis, 3]).float().to(device))
    cell = [float(s / f) for s, f in zip(spacing, finer, strict=True)]
    return Cells((axes[0], axes[1], axes[2]), (cell[0], cell[1], cell[2]), (finer[0], finer[1], finer[2]))


def paint_all(canvas: Canvas) -> None:
    """Paint every structure, from the outside in; bones last."""
    paint_table(canvas)
    paint_breasts(canvas)
    trunk = paint_trunk(canvas)
    paint_abdomen(canvas, trunk.cavity)
    paint_bowel(canvas, trunk.cavity)
    paint_muscles(canvas, trunk.muscle)
    paint_vessels(canvas)
    paint_chest(canvas)
    paint_cage(canvas)
    paint_spine(canvas)


def _slab(canvas: Canvas) -> dict[str, Tensor]:
    finer = canvas.cells.finer
    rise = torch.zeros(2, len(STRUCTURES), device=canvas.soft.device)
    for name, values in UPTAKE.items():
        rise[:, STRUCTURES[name]] = torch.tensor(values, device=rise.device)
    soft, mineral, calcium = (averaged(v, finer) for v in (canvas.soft, canvas.mineral, canvas.calcium))
    found = {
        "hu": soft + HU_PER_MINERAL * (mineral + calcium),
        "labels": canvas.averaged_labels().float(),
        "mineral": mineral,
        "calcium": calcium,
    }
    cells = canvas.labels.long()
    for phase, row in zip(PHASES, rise, strict=True):
        found[phase] = averaged(row[cells], finer)
    for part in FRACTIONS:
        found[part] = canvas.l1.get(part, torch.zeros(canvas.voxels, device=soft.device))
    found["front"] = canvas.l1.get("front", torch.zeros(canvas.voxels[0], 1, canvas.voxels[2], device=soft.device))
    return found


FRACTIONS = ("body", "trabecular", "posterior", "mineral_body", "mineral_trabecular", "mineral_posterior")


def render_torso(
    shape: TorsoShape,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    region: Region | Box = "l1",
    *,
    fine: int = 2,
    factors: Mapping[str, float] | None = None,
    device: str = "cpu",
    largest_cell_mm: float = LARGEST_CELL,
) -> Torso:
    """Render a torso.

    Parameters
    ----------
    shape
        The anatomy.
    spacing_mm
        Voxel size along x, y and z; a slice of 5 mm holds the mean of 5 mm.
    region
        ``"l1"``, ``"chest"``, ``"whole"``, or a box in RAS mm around the centre of L1's body, which is (0, 0, 0).
    fine
        Cells along each axis of a voxel that shapes are drawn on before they are averaged.
    factors
        Any of `FACTORS`, each in [0, 1]: these replace the shape's own, everything else stays.
    device
        Where it is drawn.
    largest_cell_mm
        A cell is never longer, however thick the slices are; larger is faster, and thin structures get ragged.

    Raises
    ------
    InputError
        If a voxel size is not positive, or there is no such region.
    UnknownNameError
        If there is no such factor.
    """
    shape = with_factors(shape, factors or {})
    size, affine = grid_of(spacing_mm, region)
    one = cells_of(size, affine, fine, 0, 1, device, largest_cell_mm)
    at_once = max(1, CELLS_AT_ONCE // math.prod(one.shape))
    slabs = []
    for first in range(0, size[2], at_once):
        cells = cells_of(size, affine, fine, first, min(at_once, size[2] - first), device, largest_cell_mm)
        canvas = Canvas(cells, shape)
        paint_all(canvas)
        slabs.append(_slab(canvas))
    whole = {name: torch.cat([slab[name] for slab in slabs], -1)[None].cpu() for name in slabs[0]}

    def volume(tensor: Tensor, unit: str) -> Volume:
        return Volume(tensor, affine, unit, source=shape.name)

    return Torso(
        shape,
        volume(whole["hu"], "HU"),
        volume(whole["labels"], "label"),
        volume(whole["mineral"], "g/cm3"),
        volume(whole["calcium"], "g/cm3"),
        volume(torch.cat([whole[p] for p in PHASES]), "HU"),
        {p: volume(whole[p], "g/cm3" if p.startswith("mineral") else "share") for p in FRACTIONS},
        whole["front"][0],
    )
