"""The real anatomy behind every subject: the MNI152 2009a symmetric template that nilearn bundles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from regard.core.optional import need
from regard.core.spatial import blur
from regard.phantoms.brain.lattice import Lattice

__all__ = ["Template", "load_template"]

_BOX = ((-92.0, 92.0), (-128.0, 96.0), (-72.0, 106.0))
"""Part of the template that is kept, along x, y and z [mm]: brain and room for a head around it."""

_DETAIL = 1.0
"""How far the average of 152 brains is sharpened towards one brain; see docs/phantom-brain.md."""


@dataclass(frozen=True, eq=False)
class Template:
    """Template and tissue maps at 1 mm, each (i, j, k), axes running right, anterior, superior.

    Parameters
    ----------
    lattice
        Where the voxels lie in MNI152 space.
    intensity
        T1 intensity, sharpened; 0 outside the brain, about 0.65 in grey and 0.84 in white matter.
    grey, white
        Share of grey and of white matter in each voxel, 0 to 1.
    brain
        Where the template has brain, bool: it is bundled without its skull.

    Notes
    -----
    Fonov et al., NeuroImage 2011 (ICBM 2009a nonlinear symmetric).
    """

    lattice: Lattice
    intensity: Tensor
    grey: Tensor
    white: Tensor
    brain: Tensor

    @property
    def fluid(self) -> Tensor:
        """Share of what is neither grey nor white matter inside the brain: cerebrospinal fluid and vessels."""
        return (1 - self.grey - self.white).clamp(0, 1) * self.brain


def _cropped(image: object) -> tuple[np.ndarray, Sequence[float]]:
    data = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    affine = image.affine  # type: ignore[attr-defined]
    first = [round(low - affine[a, 3]) for a, (low, _) in enumerate(_BOX)]
    box = tuple(slice(f, f + round(high - low) + 1) for f, (low, high) in zip(first, _BOX, strict=True))
    return data[box], [low for low, _ in _BOX]


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the template and its tissue maps from nilearn's own files; nothing is downloaded.

    Raises
    ------
    MissingDependencyError
        If nilearn is not installed.
    """
    datasets = need("nilearn.datasets", extra="studies", purpose="the brain phantom")
    images = [
        load(resolution=1)
        for load in (datasets.load_mni152_template, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    ]
    arrays = [_cropped(image) for image in images]
    intensity, grey, white = (torch.from_numpy(np.ascontiguousarray(array)) for array, _ in arrays)
    lattice = Lattice(tuple(arrays[0][1]), (1.0, 1.0, 1.0), tuple(intensity.shape))  # type: ignore[arg-type]
    brain = intensity > 0
    # Outside the brain the average of the brain nearby is used, or sharpening would draw a bright rim.
    weight = blur(brain[None, None].float(), 1.5)[0, 0].clamp_min(1e-3)
    around = blur(intensity[None, None], 1.5)[0, 0] / weight
    sharp = (intensity + _DETAIL * (intensity - around)).clamp(0.02, 1.05) * brain
    return Template(lattice, sharp, grey, white, brain)
