"""A small CT-like body with a bone whose density is the label, and bright things that have nothing to do with it.

The hip bones have a density of their own, drawn apart from the label, and so has a calcification before the spine: to
measure the right bone a network must know where it is, and the brightest voxels are no map of the truth.

Every factor of a subject is drawn from its own keyed generator, so that the same subject can be rendered again with one
factor changed and all others, noise included, fixed: that change of a network's output is the *model truth*. The
difference of the two images is the *data truth*: where the label is written.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import UnknownNameError
from regard.core.spatial import blur
from regard.core.volume import Volume

__all__ = ["DensityPhantom", "Subject"]

_FACTORS = ("density", "calcification", "hips", "habitus", "lateral", "forward", "spine", "tilt")


@dataclass(frozen=True)
class Subject:
    """One rendered subject.

    Parameters
    ----------
    name
        Case id.
    image
        CT-like volume [HU].
    density
        The label: density of the bone [mg/cm3].
    factors
        What the image was rendered from, each in [0, 1].
    truth
        Volume of 1 in the bone and 0 elsewhere: data truth, where the label is written.
    decoy
        Volume of 1 in the calcification.
    """

    name: str
    image: Volume
    density: float
    factors: dict[str, float]
    truth: Volume
    decoy: Volume


@dataclass(frozen=True)
class DensityPhantom:
    """Generator of CT-like bodies in HU.

    Parameters
    ----------
    shape
        Voxels (i, j, k), axes running left, posterior, superior.
    spacing
        Voxel size [mm].
    noise
        Standard deviation of the noise in a voxel [HU].
    decoy
        Dose of the decoy, 0 to 1: how far the calcification follows the density instead of chance.
    densities
        Smallest and largest density [mg/cm3].

    Notes
    -----
    Bone holds 0.8 HU per mg/cm3 on top of 20 HU of marrow; soft tissue has 40 HU, fat -100 HU and air -1000 HU.
    The image is rendered on a grid twice as fine and averaged, which gives the partial volume of a real scanner.
    """

    shape: tuple[int, int, int] = (48, 40, 24)
    spacing: tuple[float, float, float] = (5.0, 5.0, 6.0)
    noise: float = 20.0
    decoy: float = 0.0
    densities: tuple[float, float] = (60.0, 260.0)

    @staticmethod
    def name(number: int) -> str:
        """Name of a subject, its case id."""
        return f"phantom-{number:03d}"

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> Subject:
        """Render one subject.

        Parameters
        ----------
        number
            Which subject.
        seed
            Which cohort.
        factors
            Any of density, calcification, hips, habitus, lateral, forward, spine, tilt, each in [0, 1]: these replace
            the drawn ones, everything else stays as it was drawn.

        Raises
        ------
        UnknownNameError
            If there is no such factor.
        """
        name = self.name(number)
        drawn = {f: float(randomness.uniform((1,), seed, name, f)[0]) for f in _FACTORS}
        drawn["calcification"] = self.decoy * drawn["density"] + (1 - self.decoy) * drawn["calcification"]
        for factor in factors or {}:
            if factor not in _FACTORS:
                raise UnknownNameError.suggest("factor", factor, _FACTORS)
        drawn |= factors or {}
        low, high = self.densities
        density = low + (high - low) * drawn["density"]
        image, bone, calcification = self._render(drawn, density)
        noise = self.noise * blur(randomness.normal(image[None], seed, name, "noise"), 0.6)[0]
        affine = np.diag([-self.spacing[0], -self.spacing[1], self.spacing[2], 1.0])
        affine[:3, 3] = -affine[:3, :3] @ (np.array(self.shape) - 1) / 2
        volume = Volume(image + noise * self.noise / noise.std(), affine, "HU", source=name)
        return Subject(
            name,
            volume,
            density,
            drawn,
            replace(volume, tensor=(bone > 0.5).float(), unit="label"),
            replace(volume, tensor=(calcification > 0.5).float(), unit="label"),
        )

    def _render(self, f: dict[str, float], density: float) -> tuple[Tensor, Tensor, Tensor]:
        """Image [HU] and share of bone and calcification in each voxel, each (1, i, j, k)."""
        axes = [
            (torch.arange(2 * n, dtype=torch.float32) + 0.5 - n) * s / 2
            for n, s in zip(self.shape, self.spacing, strict=True)
        ]
        x, y, z = torch.meshgrid(*axes, indexing="ij")
        size = 0.8 + 0.2 * f["habitus"]
        turn = (f["tilt"] - 0.5) * math.radians(16)
        x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
        body = (x / (105 * size)) ** 2 + (y / (80 * size)) ** 2 < 1
        inner = (x / (105 * size - 14)) ** 2 + (y / (80 * size - 14)) ** 2 < 1
        across, along = (f["lateral"] - 0.5) * 24, 28 * size + (f["forward"] - 0.5) * 14
        radius = 15 + 5 * f["spine"]
        bone = (x - across) ** 2 + (y - along) ** 2 < radius**2
        canal = ((x - across) / 9) ** 2 + ((y - along - radius - 9) / 7) ** 2 < 1
        calcified = (x - across + 12) ** 2 + (y - along + radius + 16) ** 2 + (z / 2) ** 2 < 10**2
        hips = ((x.abs() - 62 * size) / 13) ** 2 + ((y - 22 * size) / 30) ** 2 < 1
        lobe = ((x - 48 * size) / 32) ** 2 + ((y + 18) / 38) ** 2 + (z / 90) ** 2 < 1
        image = torch.full_like(x, -1000.0)
        image[body] = -100.0
        image[inner] = 40.0
        image[inner & lobe] = 60.0
        image[hips & inner] = 68.0 + 160.0 * f["hips"]
        image[bone] = 20.0 + 0.8 * density
        image[canal & inner] = 15.0
        image[calcified] = 40.0 + 300.0 * f["calcification"]

        def averaged(values: Tensor) -> Tensor:
            i, j, k = self.shape
            return values.float().reshape(i, 2, j, 2, k, 2).mean((1, 3, 5))[None]

        return averaged(image), averaged(bone), averaged(calcified)
