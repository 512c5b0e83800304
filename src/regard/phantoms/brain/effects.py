"""What was planted, region by region: the change of volume and of intensity with a year of age."""

from dataclasses import dataclass

import torch

from regard.phantoms.brain.atlas import REGIONS
from regard.phantoms.brain.phantom import BrainPhantom, share_of_ages
from regard.phantoms.brain.render import render_anatomy
from regard.phantoms.brain.subject import with_factors

__all__ = ["STEP", "RegionEffect", "planted_effects"]

STEP = 6.0
"""How far the structure ages are moved to each side [year]."""


@dataclass(frozen=True)
class RegionEffect:
    """What a year of age does to one region.

    Parameters
    ----------
    region, index
        Its name and number in `REGIONS`.
    volume_ml
        Its volume [ml].
    volume_change
        Change of the volume [ml/year].
    intensity_change
        Mean absolute change of the intensity of its voxels [1/year].
    share
        Its part in the sum of all absolute changes of the image.
    density
        ``share`` by its part in the volume: above 1 where ageing shows more than elsewhere.
    """

    region: str
    index: int
    volume_ml: float
    volume_change: float
    intensity_change: float
    share: float
    density: float

    @property
    def relative_change(self) -> float:
        """Change of the volume, relative to it [1/year]."""
        return self.volume_change / self.volume_ml


def planted_effects(phantom: BrainPhantom, *, n: int = 4, seed: int = 0) -> list[RegionEffect]:
    """Expected change of every region with a year of age, a finite difference over subjects that are rendered again.

    All structures that age are moved together, by six years to both sides of the subject's own; a decoy stays, since it
    is no effect of age.

    Parameters
    ----------
    phantom
        Which cohort.
    n
        Subjects to average over: lesions lie elsewhere in each.
    seed
        Which cohort.

    Returns
    -------
    list
        One entry a region that some subject has, in the order of `REGIONS`; the background is left out.
    """
    volumes, changes, moved = (torch.zeros(len(REGIONS), dtype=torch.float64) for _ in range(3))
    for number in range(n):
        subject = phantom.drawn(number, seed=seed)
        own = {s: subject.structure_ages[s] for s in phantom.causes}
        images, anatomies = [], []
        for step in (-STEP, STEP):
            ages = {s: age + step for s, age in own.items()}
            shares = {s: share_of_ages(age) for s, age in ages.items()}
            images.append(phantom.subject(number, seed=seed, factors=shares).image.double())
            aged = with_factors(subject, ages)
            anatomies.append(
                render_anatomy(aged, phantom.spacing_mm, space=phantom.space, head=phantom.head).shares.double()
            )
        middle = (anatomies[0] + anatomies[1]) / 2
        # Further channels count in units of their own spread, as many intensities as the image's spread has.
        spread = (images[0].flatten(1).std(1) + images[1].flatten(1).std(1)).clamp_min(1e-12)
        weight = (spread[0] / spread).reshape(-1, 1, 1, 1)
        change = ((images[1] - images[0]).abs() * weight).sum(0) / (2 * STEP)
        volumes += middle.flatten(1).sum(1) / n
        changes += (middle * change).flatten(1).sum(1) / n
        moved += (anatomies[1] - anatomies[0]).flatten(1).sum(1) / (2 * STEP * n)
    voxel = phantom.spacing_mm**3 / 1000
    known = [k for k in range(1, len(REGIONS)) if volumes[k] > 0]
    total, filled = float(changes[known].sum()), float(volumes[known].sum())
    rows = []
    for k in known:
        size, effect = float(volumes[k]), float(changes[k])
        share = effect / total if total else 0.0
        rows.append(
            RegionEffect(
                REGIONS[k],
                k,
                size * voxel,
                float(moved[k]) * voxel,
                effect / size,
                share,
                share / (size / filled),
            )
        )
    return rows
