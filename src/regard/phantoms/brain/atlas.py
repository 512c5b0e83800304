"""Regions of the brain phantom: our own rules in MNI152 mm, cut out with the tissue maps. No anatomist's atlas.

Every rule is written for the side x > 0 and mirrored: the template is symmetric. x < 0 is the patient's left.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from regard.core.volume import Volume
from regard.phantoms.brain.head import hull_distance, remnant
from regard.phantoms.brain.lattice import Lattice
from regard.phantoms.brain.shapes import box, ellipsoid, tube
from regard.phantoms.brain.template import Template, load_template

__all__ = ["Atlas", "REGIONS", "atlas", "index_of"]

_SIDED = (
    "hippocampus",
    "lateral ventricle",
    "deep grey matter",
    "frontal cortex",
    "parietal cortex",
    "temporal cortex",
    "occipital cortex",
    "insular cortex",
    "white matter",
    "cerebellum",
    "fluid of the temporal horn",
)

REGIONS: tuple[str, ...] = (
    "background",
    *(f"{name}, {side}" for name in _SIDED for side in ("left", "right")),
    "third ventricle",
    "brain stem",
    "fluid around the brain",
    "skull and scalp",
    "occipital remnant",
)
"""Name of each label, by its number."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Regions of the template, by number.

    Parameters
    ----------
    labels
        Number of the region of each voxel, (i, j, k), 0 outside.
    lattice
        Where the voxels lie, in MNI152 space.
    """

    labels: Tensor
    lattice: Lattice

    @property
    def names(self) -> dict[int, str]:
        """Number to name of every region but the background."""
        return dict(enumerate(REGIONS[1:], start=1))

    @property
    def volume(self) -> Volume:
        """The labels as an image, to be saved for ``--atlas``."""
        return Volume(self.labels[None].float(), self.lattice.affine, "label", source="brain phantom")

    def table(self) -> str:
        """Table of the regions for ``--atlas-table``: tab-separated, columns index and name."""
        return "index\tname\n" + "".join(f"{k}\t{name}\n" for k, name in self.names.items())

    def mask(self, *names: str) -> Tensor:
        """Voxels of these regions, bool, (i, j, k); a name without a side means both."""
        wanted = torch.zeros(len(REGIONS), dtype=torch.bool)
        wanted[[k for name in names for k in index_of(name)]] = True
        return wanted[self.labels]


def index_of(name: str) -> list[int]:
    """Numbers of the region ``name``; of both sides where the name has no side."""
    return [k for k, region in enumerate(REGIONS) if region == name or region.rpartition(",")[0] == name]


def _hippocampus(points: Tensor) -> Tensor:
    course = [(26, -39, 0), (30, -32, -8), (30, -24, -13), (29, -17, -17), (26, -10, -21)]
    return tube(points, course, [4, 5.5, 6.5, 7, 6.5])


def _temporal_horn(points: Tensor) -> Tensor:
    course = [(32, -37, -4), (35, -26, -11), (34, -14, -18), (31, -6, -22)]
    return tube(points, course, [7, 8, 8, 7])


def _lateral_ventricle(points: Tensor) -> Tensor:
    course = [(13, 30, -4), (12, 18, 8), (10, 5, 18), (11, -12, 23), (17, -28, 22), (25, -41, 10), (28, -52, 5)]
    inside = tube(points, [*course, (20, -80, 4)], [11, 12, 13, 13, 14, 13, 10, 6])
    # The cisterns above the quadrigeminal plate lie between the two ventricles, and are none.
    cistern = box(points, (-1, 15), (-60, -27), (-20, 17))
    return inside & ~cistern & ~box(points, (-1, 5), (-130, 0), (-80, 17))


def _third_ventricle(points: Tensor) -> Tensor:
    return box(points, (-6, 6), (-25, 5), (-15, 13))


def _deep_grey(points: Tensor) -> Tensor:
    thalamus = ellipsoid(points, (12, -18, 7), (13, 17, 13))
    lentiform = ellipsoid(points, (24, -1, 1), (11, 21, 14))
    caudate = tube(points, [(10, 16, -3), (13, 14, 10), (14, 0, 20), (17, -16, 22)], [8, 8, 6, 5])
    return thalamus | lentiform | caudate


def _brain_stem(points: Tensor) -> Tensor:
    course = [(0, -20, -9), (0, -24, -20), (0, -28, -34), (0, -38, -52), (0, -44, -74)]
    return tube(points, course, [16, 16, 16, 12, 10])


def _cerebellum(points: Tensor) -> Tensor:
    x, y, z = points
    tentorium = torch.minimum(8 - 0.55 * (x.abs() - 2).clamp_min(0), torch.tensor(-9.0))
    tentorium = torch.where(x.abs() < 14, 5 - 1.0 * x.abs(), tentorium)
    aside = 0.05 * x.abs() + 0.5 * (x.abs() - 32).clamp_min(0)
    return (z < tentorium + 0.42 * (y + 62).clamp(max=0) - aside) & (y < -32) & (x.abs() < 58)


def _lobes(points: Tensor) -> dict[str, Tensor]:
    """Five parts of the cortex that fill space, by planes."""
    x, y, z = points
    insula = ellipsoid(points, (38, 2, 2), (7, 24, 17))
    sylvian = -8 - 0.35 * (y - 10).clamp(max=0)
    temporal = (x > 18) & (z < sylvian) & (y < 22) & (y > -62) & ((z < -14) | (x > 34))
    occipital = (y < -62 - 0.3 * (z - 10).clamp_min(0)) & (z < 40)
    central = -38 + 0.32 * z.clamp_min(0)
    frontal = (y > central - 22 + 0.45 * (72 - z).clamp(0, 60)) | ((z < 8) & (y > -20))
    order = {"insular cortex": insula, "temporal cortex": temporal, "occipital cortex": occipital}
    order |= {"frontal cortex": frontal, "parietal cortex": torch.ones_like(insula)}
    free = torch.ones_like(insula)
    lobes = {}
    for name, part in order.items():
        lobes[name] = part & free
        free = free & ~part
    return lobes


def _labels(template: Template) -> Tensor:
    x = template.lattice.points()[0]
    inside = template.brain & (x >= 0)
    points = template.lattice.points()[:, inside]
    tissue = torch.stack([share[inside] for share in (template.fluid, template.grey, template.white)])
    fluid, grey, white = (tissue.argmax(0) == k for k in range(3))
    found = torch.zeros(points.shape[1], dtype=torch.int64)

    def put(name: str, where: Tensor) -> None:
        found[where & (found == 0)] = index_of(name)[-1]

    put("lateral ventricle", fluid & _lateral_ventricle(points))
    put("third ventricle", fluid & _third_ventricle(points))
    put("hippocampus", ~fluid & (tissue[1] > 0.4) & _hippocampus(points))
    put("fluid of the temporal horn", fluid & _temporal_horn(points))
    put("fluid around the brain", fluid)
    put("brain stem", _brain_stem(points))
    put("cerebellum", _cerebellum(points))
    put("deep grey matter", grey & _deep_grey(points))
    for name, part in _lobes(points).items():
        put(name, grey & part)
    put("white matter", white)
    right = torch.zeros(template.lattice.shape, dtype=torch.int64)
    right[inside] = found
    other = torch.arange(len(REGIONS))
    for number, name in enumerate(REGIONS):
        if name.endswith(", right"):
            other[number] = number - 1
    labels = torch.where(x >= 0, right, torch.where(template.brain, other[right.flip(0)], 0))
    labels[~template.brain & (hull_distance() < 14)] = index_of("skull and scalp")[0]
    labels[remnant() > 0.5] = index_of("occipital remnant")[0]
    return labels


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The phantom's regions on the template at 1 mm.

    Notes
    -----
    ``skull and scalp`` is everything up to 14 mm around the brain: there the shell is drawn, and there the brain
    recedes from when it shrinks. ``occipital remnant`` is where the decoy of a stripped brain lies.
    """
    template = load_template()
    return Atlas(_labels(template), template.lattice)
