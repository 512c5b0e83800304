"""What lies around the brain: a remnant of skull stripping where a decoy is wanted, or a shell of skull and scalp.

The bundled template has no skull. The shell is ours (fluid, bone, marrow, fat at stated distances from the brain): a
stand-in for a head and no anatomy, without face, eyes or neck.
"""

from functools import lru_cache

import torch
from scipy import ndimage
from torch import Tensor

from regard.phantoms.brain.lattice import enlarged
from regard.phantoms.brain.shapes import ellipsoid
from regard.phantoms.brain.template import load_template

__all__ = ["draw_head", "draw_remnant", "hull_distance", "remnant"]

_LAYERS = ((2.5, 0.20), (4.5, 0.10), (6.5, 0.35), (9.0, 0.10), (14.0, None))
"""Outer distance from the brain [mm] and intensity of fluid, bone, marrow, bone and, as the decoy has it, fat."""


@lru_cache(maxsize=1)
def hull_distance() -> Tensor:
    """Distance from the brain with its hollows filled [mm], (i, j, k) on the template; 0 inside."""
    brain = load_template().brain
    coarse = brain[::2, ::2, ::2].numpy()
    grown = ndimage.distance_transform_edt(~coarse) <= 9
    hull = (ndimage.distance_transform_edt(grown) > 9) | coarse
    away = 2 * torch.from_numpy(ndimage.distance_transform_edt(~hull)).float()
    return enlarged(away[None], brain.shape)[0] * ~brain


@lru_cache(maxsize=1)
def remnant() -> Tensor:
    """Share of each template voxel that the remnant behind the occipital lobes fills, (i, j, k)."""
    template = load_template()
    points = template.lattice.points()
    away = hull_distance()
    near = ellipsoid(points, (0, -106, 0), (32, 24, 24)).float()
    return near * (away > 0.1) * ((4.5 - away) / 1.5).clamp(0, 1) * ~template.brain


def _fat(decoy: float | None) -> float:
    return 0.9 if decoy is None else 0.5 + 0.8 * decoy


def draw_remnant(painted: Tensor, decoy: float) -> Tensor:
    """Put the remnant that skull stripping left behind on ``painted``, (i, j, k)."""
    return painted + _fat(decoy) * remnant()


def draw_head(painted: Tensor, decoy: float | None) -> Tensor:
    """Put fluid, skull and scalp around the brain in ``painted``, (i, j, k)."""
    template = load_template()
    away = hull_distance()
    head = torch.zeros_like(painted)
    inner = 0.0
    for outer, level in _LAYERS:
        head[(away >= inner) & (away < outer)] = _fat(decoy) if level is None else level
        inner = outer
    z = template.lattice.axes()[2]
    return torch.where(template.brain, painted, head * ((z + 58) / 8).clamp(0, 1))
