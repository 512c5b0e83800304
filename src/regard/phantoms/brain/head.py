"""What lies around the brain: nothing after skull stripping but, where a decoy is wanted, a remnant of it; or a shell.

The bundled template has no skull. The shell is ours (fluid, bone, marrow, fat at stated distances from the brain), a
stand-in for a head and not anatomy: there is no face, no eye and no neck.
"""

from functools import lru_cache

import torch
from scipy import ndimage
from torch import Tensor

from regard.phantoms.brain.shapes import ellipsoid
from regard.phantoms.brain.template import load_template

__all__ = ["SCALP", "draw_head", "draw_remnant", "remnant"]

SCALP = (9.0, 14.0)
"""Distance of the scalp's inside and outside from the brain's hull [mm]."""

_LAYERS = ((2.5, 0.20), (4.5, 0.10), (6.5, 0.35), (9.0, 0.10))
"""Outer distance [mm] of fluid, bone, marrow and bone, and their intensity."""


@lru_cache(maxsize=1)
def _hull_distance() -> Tensor:
    """Distance from the brain with its hollows filled [mm], (i, j, k)."""
    brain = load_template().brain.numpy()
    grown = ndimage.distance_transform_edt(~brain) <= 18
    hull = (ndimage.distance_transform_edt(grown) > 18) | brain
    return torch.from_numpy(ndimage.distance_transform_edt(~hull)).float()


@lru_cache(maxsize=1)
def remnant() -> Tensor:
    """Share of each template voxel that the remnant behind the occipital lobes fills, (i, j, k)."""
    template = load_template()
    away = _hull_distance()
    near = ellipsoid(template.lattice.points(), (0, -106, 0), (34, 22, 26))
    return (near & (away > 0.5) & (away < 5.0)).float()


def _scalp_intensity(decoy: float | None) -> float:
    return 0.9 if decoy is None else 0.5 + 0.8 * decoy


def draw_remnant(painted: Tensor, decoy: float) -> Tensor:
    """Put the remnant that skull stripping left behind on ``painted`` (i, j, k)."""
    return painted + _scalp_intensity(decoy) * remnant()


def draw_head(painted: Tensor, decoy: float | None) -> Tensor:
    """Put fluid, skull and scalp around the brain in ``painted`` (i, j, k)."""
    template = load_template()
    away = _hull_distance()
    head = torch.zeros_like(painted)
    inner = 0.0
    for outer, level in _LAYERS:
        head[(away >= inner) & (away < outer)] = level
        inner = outer
    head[(away >= SCALP[0]) & (away < SCALP[1])] = _scalp_intensity(decoy)
    z = template.lattice.axes()[2]
    return torch.where(template.brain, painted, head * ((z + 58) / 8).clamp(0, 1))
