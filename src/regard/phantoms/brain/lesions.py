"""White-matter hyperintensities: dark spots in white matter on T1 that come and grow with age."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy import ndimage
from torch import Tensor

from regard.core import randomness
from regard.phantoms.brain.atlas import atlas
from regard.phantoms.brain.template import load_template

__all__ = ["Lesions", "draw_lesions", "lesion_map"]

_MOST = 90
"""Lesions that a subject can have."""

_ONSETS = (40.0, 105.0)
"""Ages between which lesions come [year]."""

_GROWTH = 15.0
"""Years until a lesion has its full size."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions of one subject.

    Parameters
    ----------
    centres
        Voxels of the template, (n, 3).
    radii
        Full half axes [mm], (n, 3).
    onsets
        Ages at which they come [year], (n,).
    """

    centres: Tensor
    radii: Tensor
    onsets: Tensor


@lru_cache(maxsize=1)
def _places() -> tuple[Tensor, Tensor]:
    """Voxels (n, 3) where a lesion may lie, and the running sum of their probabilities, (n,)."""
    template, regions = load_template(), atlas()
    deep = regions.mask("white matter") & (template.white > 0.85)
    away = torch.from_numpy(ndimage.distance_transform_edt((~regions.mask("lateral ventricle")).numpy())).float()
    voxels = deep.nonzero()
    weight = torch.exp(-away[deep] / 7) + 0.02
    weight = weight * (voxels[:, 2] + template.lattice.origin[2] > 0)
    return voxels, (weight / weight.sum()).double().cumsum(0)


def draw_lesions(seed: int, name: str) -> Lesions:
    """Lesions of a subject, whatever its age: they lie about the ventricles and in deep white matter."""
    voxels, running = _places()
    where, size, onset = (randomness.uniform((_MOST,), seed, name, f"lesion {what}") for what in ("at", "size", "age"))
    form = randomness.normal(torch.empty(_MOST, 3), seed, name, "lesion form")
    chosen = torch.searchsorted(running, where.double()).clamp(max=len(voxels) - 1)
    low, high = _ONSETS
    radii = (1.3 + 3.2 * size**2)[:, None] * (0.25 * form).exp()
    return Lesions(voxels[chosen], radii, low + (high - low) * onset)


def lesion_map(lesions: Lesions, age: float) -> Tensor:
    """Share of each template voxel that lesions fill at this lesion age [year], (i, j, k)."""
    template = load_template()
    filled = torch.zeros(template.lattice.shape)
    growth = ((age - lesions.onsets) / _GROWTH).clamp(0, 1)
    radii = lesions.radii * growth[:, None] ** (1 / 3)
    for centre, axes in zip(lesions.centres.tolist(), radii, strict=True):
        smallest = float(axes.min())
        if smallest <= 0:
            continue
        half = int(axes.max()) + 2
        patch = tuple(slice(max(c - half, 0), min(c + half + 1, n)) for c, n in zip(centre, filled.shape, strict=True))
        offsets = [torch.arange(s.start, s.stop) - c for s, c in zip(patch, centre, strict=True)]
        scaled = torch.stack(torch.meshgrid(*offsets, indexing="ij")) / axes.reshape(3, 1, 1, 1)
        depth = (1 - scaled.square().sum(0).sqrt()) * smallest
        filled[patch] = torch.maximum(filled[patch], (depth + 0.5).clamp(0, 1) * min(smallest, 1.0))
    return filled * template.white
