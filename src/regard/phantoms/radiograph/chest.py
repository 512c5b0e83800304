"""The chest in three dimensions, ready to be projected: soft tissue, the tissue inside bone, mineral, lungs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regard.phantoms.torso.population import natural_shape
from regard.phantoms.torso.render import HU_PER_MINERAL, LARGEST_CELL, render_torso
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.structures import BONES, STRUCTURES

__all__ = ["Chest", "draw_chest_shape", "render_chest"]

SPACING = (2.0, 4.0, 2.0)
"""Voxel size along x, y (the rays) and z [mm]: a chest in about three seconds of one core."""

HEART = 1.03
"""Attenuation of the heart with its fat relative to water."""

BOX = ((-188.0, 188.0), (-160.0, 190.0), (-14.0, 358.0))
"""What the rays of either view pass, in mm."""

_NO_TABLE = 500.0


@dataclass(frozen=True, eq=False)
class Chest:
    """A chest on a grid, all tensors (i, j, k): axes left, posterior, superior.

    Parameters
    ----------
    shape
        What it was rendered from.
    water
        Attenuation of what is not mineral relative to water: 1 + HU / 1000.
    mineral
        Bone mineral and other calcium [g/cm3].
    bone
        Voxels of bone.
    lung
        Voxels of lung and its vessels.
    axes
        Coordinates x, y, z of the voxels [mm]; x to the patient's right, y forward, z up from L1's centre.
    spacing_mm
        Voxel size along each axis.
    """

    shape: TorsoShape
    water: Tensor
    mineral: Tensor
    bone: Tensor
    lung: Tensor
    axes: tuple[Tensor, Tensor, Tensor]
    spacing_mm: tuple[float, float, float]


def draw_chest_shape(seed: int, case: int) -> TorsoShape:
    """Anatomy of one case: an upright adult who holds a deep breath."""
    shape = natural_shape(seed, case)
    return replace(shape, lung=shape.lung + 0.08, heart=1.08 * shape.heart, table_gap=_NO_TABLE)


def _among(labels: Tensor, names: Sequence[str]) -> Tensor:
    table = torch.zeros(len(STRUCTURES), dtype=torch.bool)
    table[[STRUCTURES[n] for n in names]] = True
    return table[labels.long()]


def render_chest(
    shape: TorsoShape,
    spacing_mm: Sequence[float] = SPACING,
    *,
    fine: int = 1,
    device: str = "cpu",
    largest_cell_mm: float = LARGEST_CELL,
) -> Chest:
    """Render the chest of a torso.

    Parameters
    ----------
    shape
        The anatomy.
    spacing_mm
        Voxel size along x, y and z.
    fine
        Cells along each axis of a voxel that shapes are drawn on.
    device
        Where it is drawn.
    largest_cell_mm
        A cell is never longer; 3 mm with voxels of 3 x 6 x 3 mm are three times faster and still show the ribs.

    Raises
    ------
    InputError
        If a voxel size is not positive.
    """
    torso = render_torso(shape, spacing_mm, BOX, fine=fine, device=device, largest_cell_mm=largest_cell_mm)
    mineral = (torso.mineral.tensor + torso.calcium.tensor)[0]
    water = (1 + (torso.hu.tensor[0] - HU_PER_MINERAL * mineral) / 1000).clamp(min=0)
    labels = torso.labels.tensor[0]
    lung = _among(labels, ("lung_right", "lung_left", "lung_vessel"))
    # Upright, the heart rests on the diaphragm: no lung lies under it.
    heart = labels == STRUCTURES["heart"]
    under = lung & (heart.flip(2).cumsum(2).flip(2) > 0)
    water = torch.where(under, HEART, water)
    affine = torso.hu.affine
    axes = [torch.arange(n, dtype=torch.float32) * float(affine[a, a]) + float(affine[a, 3]) for a, n in
            enumerate(water.shape)]  # fmt: skip
    return Chest(
        shape,
        water,
        mineral,
        _among(labels, BONES),
        lung & ~under,
        (axes[0], axes[1], axes[2]),
        (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])),
    )
