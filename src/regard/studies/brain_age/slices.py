"""Axial slices of the study's subjects with their ventricles outlined: what U-Noise segments."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.phantoms.brain import BrainPhantom, render_anatomy
from regard.phantoms.brain.atlas import index_of
from regard.studies.brain_age.cohort import scaled
from regard.studies.brain_age.config import BrainAgeConfig, UNoiseSection
from regard.studies.brain_age.phantoms import PARTS, phantom_of
from regard.studies.run import StudyRun

__all__ = ["Slices", "plane_numbers", "slices_of"]

_CHUNK = 8
_CHANNELS = 3
_VENTRICLES = ("lateral ventricle", "third ventricle")


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of subjects, one subject after the other, its planes from low to high.

    Parameters
    ----------
    images
        As the networks take them: standardised over each slice's brain, the same in 3 channels, (slice, 3, i, j).
    masks
        Ventricles, (slice, 1, i, j) of bool.
    cases, patients
        Name of each slice, and whose it is.
    n_planes
        Of each subject.
    spacing_mm
        Size of a pixel.
    """

    images: Tensor
    masks: Tensor
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    n_planes: int
    spacing_mm: float

    def __len__(self) -> int:
        return len(self.patients)

    def of(self, keep: Sequence[int]) -> "Slices":
        """Some of the slices, in the order given."""
        rows = list(keep)
        cases, patients = (tuple(names[n] for n in rows) for names in (self.cases, self.patients))
        return Slices(self.images[rows], self.masks[rows], cases, patients, self.n_planes, self.spacing_mm)

    def of_patients(self, patients: set[str]) -> "Slices":
        """The slices of some subjects."""
        return self.of([n for n, p in enumerate(self.patients) if p in patients])


def plane_numbers(phantom: BrainPhantom, planes_mm: tuple[float, ...]) -> list[int]:
    """Number of the axial plane of voxels nearest to each height [mm]."""
    lattice = phantom.lattice
    found = [round((z - lattice.origin[2]) / lattice.spacing[2]) for z in planes_mm]
    return [min(max(k, 0), lattice.shape[2] - 1) for k in found]


def _rendered(phantom: BrainPhantom, number: int, seed: int, planes: list[int]) -> tuple[Tensor, Tensor]:
    """Intensities and ventricles of one subject, each (plane, 1, i, j)."""
    brain = phantom.subject(number, seed=seed)
    slab = range(min(planes), max(planes) + 1)
    anatomy = render_anatomy(brain.subject, phantom.spacing_mm, space=phantom.space, head=phantom.head, planes=slab)
    share = anatomy.shares[[k for name in _VENTRICLES for k in index_of(name)]].sum(0)
    ventricles = share[..., [k - slab.start for k in planes]] > 0.5
    return brain.image[0, ..., planes].movedim(-1, 0)[:, None], ventricles.movedim(-1, 0)[:, None]


def slices_of(run: StudyRun, config: BrainAgeConfig, part: str) -> Slices:
    """Slices of the study's own subjects, those it trains on or tests on, rendered or read from the run's pieces.

    Parameters
    ----------
    run, config
        The study, of phantoms.
    part
        ``"train"`` or ``"test"``.
    """
    plan: UNoiseSection = config.train.unoise
    n = min(plan.n_train, config.data.n_train) if part == "train" else min(plan.n_test, config.data.n_test)
    phantom = dataclasses.replace(phantom_of(config), spacing_mm=plan.spacing_mm, space="affine")
    planes, first = plane_numbers(phantom, plan.planes_mm), PARTS[part]
    images, masks, patients = [], [], []
    for start in range(0, n, _CHUNK):
        numbers = range(first + start, first + min(start + _CHUNK, n))

        def make(numbers: range = numbers) -> dict[str, Tensor]:
            made = [_rendered(phantom, number, run.seed, planes) for number in numbers]
            both = [torch.cat(parts) for parts in zip(*made, strict=True)]
            return {"images": both[0], "masks": both[1].to(torch.uint8)}

        run.stage(f"slices of {part}", start, n)
        found = run.tensors(f"train/unoise-{part}-{start:05d}-{len(numbers)}", make)
        images.append(found["images"])
        masks.append(found["masks"].bool())
        patients += [phantom.drawn(number, seed=run.seed).name for number in numbers for _ in planes]
    shown = scaled(torch.cat(images), "zscore-foreground").expand(-1, _CHANNELS, -1, -1).contiguous()
    cases = tuple(f"{p}-plane{n % len(planes)}" for n, p in enumerate(patients))
    return Slices(shown, torch.cat(masks), cases, tuple(patients), len(planes), plan.spacing_mm)
