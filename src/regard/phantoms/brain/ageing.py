"""How a brain ages here: which structures grow or shrink, how fast, and where the room is taken from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from regard.core.spatial import blur
from regard.phantoms.brain.atlas import Atlas, atlas
from regard.phantoms.brain.head import hull_distance
from regard.phantoms.brain.lattice import enlarged
from regard.phantoms.brain.template import Template, load_template
from regard.phantoms.brain.velocity import balanced, velocity_of
from regard.phantoms.brain.warp import VELOCITIES

__all__ = ["AGES", "MIDDLE", "RATES", "STRUCTURES", "Structure", "ageing_velocity", "amounts", "structure"]

AGES = (44.0, 80.0)
"""Youngest and oldest subject [year]."""

MIDDLE = 62.0
"""Structure age at which a structure is as in the template [year]."""

RATES: Mapping[str, float] = {"ventricles": 0.020, "hippocampi": -0.010, "cortex": -0.0035}
"""Change of the logarithm of each structure's volume at the full dose [1/year], ours, in the order of what is seen."""

STRUCTURES = (*RATES, "lesions")
"""What ages: ``ventricles``, ``hippocampi`` and ``cortex`` by a deformation, ``lesions`` of white matter appear."""

_LOBES = {
    "frontal cortex": 1.4,
    "temporal cortex": 1.2,
    "parietal cortex": 0.8,
    "insular cortex": 0.8,
    "occipital cortex": 0.3,
}
"""How fast the cortex of each lobe thins, relative to one another."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Something that grows or shrinks.

    Parameters
    ----------
    mask
        The structure on the template at 1 mm, bool, (i, j, k).
    velocity
        Velocity by which its volume changes, (3, i, j, k) [mm] on `VELOCITIES`: followed for an amount a, the logarithm
        of the volume changes by a, to first order.
    reach
        Where the velocity is not 0, bool, on `VELOCITIES`.
    """

    mask: Tensor
    velocity: Tensor
    reach: Tensor


def _coarse(values: Tensor, template: Template) -> Tensor:
    """Average of the 1 mm voxels (i, j, k) about each node of `VELOCITIES`, slightly smoothed."""
    n = round(VELOCITIES.spacing[0])
    padding: list[int] = []
    for start, first, size, nodes in zip(
        template.lattice.origin, VELOCITIES.origin, values.shape, VELOCITIES.shape, strict=True
    ):
        before = round(start - first) + n // 2
        padding = [before, n * nodes - size - before, *padding]
    filled = functional.pad(values.float(), padding)
    blocks = filled.reshape([part for nodes in VELOCITIES.shape for part in (nodes, n)])
    return blur(blocks.mean((1, 3, 5))[None, None], 0.5)[0, 0]


def _near(share: Tensor, distance: float) -> Tensor:
    """Nodes at most ``distance`` mm from those that the structure fills by a third."""
    away = ndimage.distance_transform_edt((share < 0.33).numpy(), sampling=VELOCITIES.spacing)
    return torch.from_numpy(away <= distance)


def _scaled(velocity: Tensor, mask: Tensor, template: Template) -> Tensor:
    """The velocity times what makes its mean divergence in the structure 1.

    Taken at 1 mm, between the nodes: d V / d a = integral over V of div v.
    """
    low = [round(t - v) for t, v in zip(template.lattice.origin, VELOCITIES.origin, strict=True)]
    part = tuple(slice(a, a + n) for a, n in zip(low, mask.shape, strict=True))
    fine = [round((n - 1) * s) + 1 for n, s in zip(VELOCITIES.shape, VELOCITIES.spacing, strict=True)]
    grown = [torch.gradient(enlarged(v[None], fine)[0], dim=axis)[0][part][mask] for axis, v in enumerate(velocity)]
    return velocity / float(torch.stack(grown).sum(0).double().mean())


def _ventricles(template: Template, regions: Atlas) -> Structure:
    mask = regions.mask("lateral ventricle", "third ventricle")
    share = _coarse(mask, template)
    spared = regions.mask("hippocampus", "brain stem", "cerebellum", "fluid around the brain", "third ventricle")
    room = _coarse(template.brain & ~mask & ~spared, template)
    reach = _near(share, 16.0)
    velocity = velocity_of(balanced(share, room * reach, 8.0), reach)
    return Structure(mask, _scaled(velocity, mask, template), reach)


def _hippocampi(template: Template, regions: Atlas) -> Structure:
    mask = regions.mask("hippocampus")
    share = _coarse(mask, template)
    fluid = _coarse(template.fluid * ~mask, template)
    white = _coarse(regions.mask("white matter"), template)
    reach = _near(share, 8.0)
    velocity = velocity_of(balanced(-share, (fluid + 0.05 * white) * reach, 5.0), reach, soft=4.0)
    return Structure(mask, _scaled(velocity, mask, template), reach)


def _cortex(template: Template, regions: Atlas) -> Structure:
    mask = regions.mask(*_LOBES)
    share = _coarse(mask, template)
    source = torch.stack([rate * _coarse(regions.mask(name), template) for name, rate in _LOBES.items()]).sum(0)
    around = (hull_distance() <= 3) & ~template.brain
    room = _coarse(regions.mask("fluid around the brain") | around, template)
    still = regions.mask("hippocampus", "lateral ventricle", "third ventricle", "brain stem", "cerebellum")
    reach = _near(share, 5.0) & (_coarse(still, template) < 0.33)
    velocity = velocity_of(balanced(-source, (room + 0.05) * reach, 8.0), reach, soft=4.0)
    return Structure(mask, _scaled(velocity, mask, template), reach)


@lru_cache(maxsize=8)
def structure(name: str) -> Structure:
    """The structure ``name``, one of `RATES`."""
    build = {"ventricles": _ventricles, "hippocampi": _hippocampi, "cortex": _cortex}[name]
    return build(load_template(), atlas())


def amounts(ages: Mapping[str, float], doses: Mapping[str, float]) -> dict[str, float]:
    """Change of the logarithm of each structure's volume for its age [year] and dose."""
    return {name: doses.get(name, 1.0) * rate * (ages[name] - MIDDLE) for name, rate in RATES.items()}


def ageing_velocity(amount: Mapping[str, float]) -> Tensor:
    """Velocity of all structures together, (3, i, j, k) [mm] on `VELOCITIES`.

    Its `regard.phantoms.brain.warp.exponential` ages the template.
    """
    total = torch.zeros(3, *VELOCITIES.shape)
    for name, a in amount.items():
        if a:
            total = total + a * structure(name).velocity
    return total
