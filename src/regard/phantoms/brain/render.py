"""From a subject to its scan: the template aged, deformed, seen by a scanner, and averaged to the network's voxels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.phantoms.brain.atlas import REGIONS, atlas, index_of
from regard.phantoms.brain.head import draw_head, draw_remnant
from regard.phantoms.brain.lattice import Lattice, enlarged, sample
from regard.phantoms.brain.lesions import draw_lesions, lesion_map
from regard.phantoms.brain.shape import log_growth, to_template
from regard.phantoms.brain.subject import Scanner, Subject, with_factors
from regard.phantoms.brain.template import load_template
from regard.phantoms.brain.warp import VELOCITIES

__all__ = ["Anatomy", "Brain", "Head", "Space", "lattice_of", "render_anatomy", "render_brain"]

Space: TypeAlias = Literal["own", "affine", "warped"]
"""``"own"``: as it lies in the scanner; ``"affine"``: on the template's grid after its true affine registration;
``"warped"``: after its true deformation was undone as well, with the logarithm of the Jacobian as a second channel."""

Head: TypeAlias = Literal["stripped", "whole"]
"""``"stripped"``: the brain alone; ``"whole"``: a shell of skull and scalp of ours around it."""

FINE = 1.0
"""Largest voxel that a subject is rendered at before it is averaged [mm]."""

_KNOTS = (0.02, 0.30, 0.64, 0.86, 1.05)
"""Template intensities of dark and usual fluid, grey and white matter, and the brightest."""

_BOXES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "tight": ((-84, 84), (-120, 88), (-80, 96)),
    "roomy": ((-96, 96), (-128, 104), (-92, 108)),
}


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What fills each voxel of a rendered brain.

    Parameters
    ----------
    shares
        Share of each of `REGIONS` in each voxel, (region, i, j, k).
    tissues
        Share of fluid, grey and white matter, (3, i, j, k).
    affine
        Matrix (4, 4): voxel index to RAS mm.
    """

    shares: Tensor
    tissues: Tensor
    affine: np.ndarray

    @property
    def labels(self) -> Volume:
        """Number of the region that fills most of each voxel."""
        return Volume(self.shares.argmax(0)[None].float(), self.affine, "label")

    def volume_ml(self, name: str) -> float:
        """Volume of the region ``name`` [ml]; of both sides where the name has no side."""
        voxel = abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000
        return float(self.shares[index_of(name)].double().sum()) * voxel


@dataclass(frozen=True, eq=False)
class Brain:
    """A rendered subject.

    Parameters
    ----------
    subject
        What it was rendered from.
    volume
        The scan; with a second channel, the logarithm of the Jacobian, in the space ``"warped"``.
    space
        Where it lies.
    head
        What lies around it.
    """

    subject: Subject
    volume: Volume
    space: Space
    head: Head

    @property
    def image(self) -> Tensor:
        """Intensities, (channel, i, j, k)."""
        return self.volume.tensor

    @property
    def to_template(self) -> np.ndarray:
        """Matrix (4, 4): position in the image to MNI152 space, RAS mm; the identity where it lies there."""
        return self.subject.to_template if self.space == "own" else np.eye(4)

    @property
    def in_template(self) -> Volume:
        """The same voxels, placed in MNI152 space by the affine alone."""
        return replace(self.volume, affine=self.to_template @ self.volume.affine)

    @cached_property
    def anatomy(self) -> Anatomy:
        """What fills each voxel; rendered when first asked for."""
        return render_anatomy(self.subject, self.volume.spacing[0], space=self.space, head=self.head)

    @property
    def structure(self) -> Tensor:
        """Share of each voxel that the ventricles and hippocampi fill, (i, j, k)."""
        names = ("lateral ventricle", "third ventricle", "hippocampus")
        return self.anatomy.shares[[k for name in names for k in index_of(name)]].sum(0)


def lattice_of(spacing: float, space: Space = "affine", head: Head = "stripped") -> Lattice:
    """Voxels of an image of this voxel size [mm]."""
    if not 0 < spacing <= 20:
        raise InputError(f"voxels of {spacing} mm", "above 0 and up to 20 mm")
    box = _BOXES["roomy" if space == "own" or head == "whole" else "tight"]
    shape = [math.ceil((high - low) / spacing - 1e-6) for low, high in box]
    origin = [low + spacing / 2 for low, _ in box]
    return Lattice(tuple(origin), (spacing,) * 3, tuple(shape))  # type: ignore[arg-type]


def _slab(lattice: Lattice, planes: range) -> Lattice:
    """Some neighbouring axial planes of a lattice."""
    if planes.step != 1 or not 0 <= planes.start < planes.stop <= lattice.shape[2]:
        raise InputError(f"the planes {planes}", f"neighbouring ones of the {lattice.shape[2]}")
    (x, y, z), step = lattice.origin, lattice.spacing[2]
    return Lattice((x, y, z + planes.start * step), lattice.spacing, (*lattice.shape[:2], len(planes)))


def _fine(lattice: Lattice) -> tuple[Lattice, int]:
    """Finer voxels that fill those of ``lattice``, and their number along each axis of one."""
    n = math.ceil(lattice.spacing[0] / FINE - 1e-6)
    step = lattice.spacing[0] / n
    origin = [o - lattice.spacing[0] / 2 + step / 2 for o in lattice.origin]
    return Lattice(tuple(origin), (step,) * 3, tuple(n * m for m in lattice.shape)), n  # type: ignore[arg-type]


def _template_positions(subject: Subject, fine: Lattice, space: Space) -> Tensor:
    """Position in the template of each fine voxel as `grid_sample` wants it, (1, i, j, k, 3)."""
    nodes = [max(2, math.ceil((n - 1) * s / 3.0) + 1) for n, s in zip(fine.shape, fine.spacing, strict=True)]
    steps = [(n - 1) * s / (m - 1) for n, s, m in zip(fine.shape, fine.spacing, nodes, strict=True)]
    coarse = Lattice(fine.origin, tuple(steps), tuple(nodes))  # type: ignore[arg-type]
    points = coarse.points()
    if space == "own":
        matrix = torch.from_numpy(subject.to_template).float()
        points = torch.einsum("ab,bijk->aijk", matrix[:3, :3], points) + matrix[:3, 3].reshape(3, 1, 1, 1)
    if space != "warped":
        points = points + sample(to_template(subject), VELOCITIES, points)
    return enlarged(load_template().lattice.normalised(points), fine.shape).movedim(0, -1)[None]


@lru_cache(maxsize=1)
def _contrast_shares() -> tuple[Tensor, Tensor]:
    """How far each brain voxel of the template is each of `_KNOTS`, (knot, voxel), and the voxels' numbers."""
    template = load_template()
    voxels = template.brain.ravel().nonzero()[:, 0]
    knots = torch.tensor(_KNOTS)
    values = template.intensity.ravel()[voxels].clamp(knots[0], knots[-1])
    above = torch.searchsorted(knots, values).clamp(1, len(knots) - 1)
    share = (values - knots[above - 1]) / (knots[above] - knots[above - 1])
    shares = torch.zeros(len(knots), len(voxels))
    shares.scatter_(0, above[None], share[None]).scatter_(0, above[None] - 1, 1 - share[None])
    return shares, voxels


def _painted(subject: Subject, head: Head) -> Tensor:
    """The template with this subject's lesions as its scanner shows it, (i, j, k)."""
    scanner = subject.scanner
    levels = (0.4 * scanner.fluid, scanner.fluid, scanner.grey, scanner.white, 1.1 * scanner.white)
    shares, voxels = _contrast_shares()
    painted = torch.zeros(load_template().lattice.shape)
    painted.view(-1)[voxels] = torch.tensor(levels) @ shares
    dose = subject.doses["lesions"]
    if dose:
        filled = lesion_map(draw_lesions(subject.seed, subject.name), subject.structure_ages["lesions"])
        painted -= dose * 1.1 * (scanner.white - scanner.grey) * filled
    if head == "whole":
        return draw_head(painted, subject.decoy)
    return painted if subject.decoy is None else draw_remnant(painted, subject.decoy)


def _averaged(values: Tensor, n: int) -> Tensor:
    """Mean over cubes of n voxels along each axis, (i, j, k)."""
    i, j, k = (size // n for size in values.shape)
    return values.reshape(i * n * j * n, k, n).mean(-1).reshape(i, n, j, n, k).mean((1, 3))


def _sensitivity(lattice: Lattice, subject: Subject) -> Tensor:
    """Smooth factor on the intensities, a polynomial of the second degree in its logarithm, (i, j, k)."""
    x, y, z = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in lattice.shape], indexing="ij")
    terms = torch.stack([x, y, z, x * y, x * z, y * z, x * x - 1 / 3, y * y - 1 / 3, z * z - 1 / 3])
    drawn = randomness.normal(torch.empty(len(terms)), subject.seed, subject.name, "bias")
    weight = drawn * torch.tensor([1.0] * 3 + [1.2] * 6) * subject.scanner.bias
    return torch.einsum("t,tijk->ijk", weight, terms).exp()


def render_brain(
    subject: Subject,
    spacing_mm: float = 4.0,
    *,
    scanner: Scanner | None = None,
    factors: Mapping[str, float] | None = None,
    space: Space = "affine",
    head: Head = "stripped",
) -> Brain:
    """Render a subject.

    Parameters
    ----------
    subject
        Who.
    spacing_mm
        Voxel size [mm]. Rendered at 1 mm or finer and averaged.
    scanner
        Replaces the subject's own.
    factors
        Structure ages [year] and ``decoy`` that replace the subject's; everything else, noise included, stays.
    space, head
        Where the image lies, and what lies around the brain.

    Returns
    -------
    Brain
        Image (1, i, j, k), or (2, i, j, k) with the logarithm of the Jacobian in the space ``"warped"``; RAS.
    """
    subject = with_factors(subject, factors or {})
    subject = replace(subject, scanner=scanner or subject.scanner)
    lattice = lattice_of(spacing_mm, space, head)
    fine, n = _fine(lattice)
    painted = _painted(subject, head)[None, None]
    positions = _template_positions(subject, fine, space)
    seen = functional.grid_sample(painted, positions, padding_mode="zeros", align_corners=True)[0, 0]
    clean = _averaged(seen, n) * _sensitivity(lattice, subject)
    noise = randomness.normal(torch.empty(2, *lattice.shape), subject.seed, subject.name, "noise")
    noise *= subject.scanner.noise * subject.scanner.white / (fine.spacing[0] * n) ** 1.5
    image = ((clean + noise[0]).square() + noise[1].square()).sqrt()
    if head == "stripped":
        image = image * (clean > 0.02)
    channels = [image]
    if space == "warped":
        channels += sample(log_growth(subject)[None], VELOCITIES, lattice.points()).unbind()
    return Brain(subject, Volume(torch.stack(channels), lattice.affine, source=subject.name), space, head)


def render_anatomy(
    subject: Subject,
    spacing_mm: float = 4.0,
    *,
    space: Space = "affine",
    head: Head = "stripped",
    planes: range | None = None,
) -> Anatomy:
    """Render what fills each voxel of `render_brain` with the same parameters.

    Parameters
    ----------
    subject, spacing_mm, space, head
        As `render_brain`.
    planes
        Only the axial planes of these numbers, one after the other, which takes less time; None: all.
    """
    lattice = lattice_of(spacing_mm, space, head)
    lattice = lattice if planes is None else _slab(lattice, planes)
    fine, n = _fine(lattice)
    template = load_template()
    positions = _template_positions(subject, fine, space)
    # The nearest label at a place moved at random by half a voxel is, on average, the linear interpolation of each
    # region; without it a boundary would jump by half a voxel.
    moved = randomness.uniform(tuple(positions.shape), 0, "anatomy", "place") - 0.5
    moved = positions + moved * torch.tensor([2 / (m - 1) for m in reversed(template.lattice.shape)])
    labels = atlas().labels[None, None].float()
    numbers = functional.grid_sample(labels, moved, mode="nearest", align_corners=True)[0, 0].long()
    i, j, k = lattice.shape
    voxel = torch.arange(i * j * k).reshape(lattice.shape)
    for axis in range(3):
        voxel = voxel.repeat_interleave(n, axis)
    count = torch.bincount((voxel * len(REGIONS) + numbers).ravel(), minlength=i * j * k * len(REGIONS))
    shares = count.reshape(i, j, k, -1).movedim(-1, 0).float() / n**3
    maps = torch.stack([template.fluid, template.grey, template.white])
    tissues = functional.grid_sample(maps[None], positions, align_corners=True)[0]
    return Anatomy(shares, torch.stack([_averaged(t, n) for t in tissues]), lattice.affine)
