"""Cohorts of brain phantoms, rendered in pieces."""

from collections.abc import Mapping

import torch
from torch import Tensor

from regard.phantoms.brain import STRUCTURES, BrainPhantom
from regard.phantoms.brain.predictors import FEATURES
from regard.studies.brain_age.cohort import Cohort, joined
from regard.studies.brain_age.config import BrainAgeConfig
from regard.studies.run import StudyRun

__all__ = ["PARTS", "phantom_cohort", "phantom_of"]

PARTS = {"train": 0, "calibration": 100_000, "test": 200_000, "nothing-train": 300_000, "nothing-test": 400_000}
"""Number of the first subject of each part."""

_CHUNK = 8


def phantom_of(config: BrainAgeConfig, *, nothing: bool = False) -> BrainPhantom:
    """The generator of the study's subjects; with ``nothing`` of subjects that do not age."""
    data = config.data
    doses: Mapping[str, float] = dict.fromkeys(STRUCTURES, 0.0) if nothing else data.doses.model_dump()
    return BrainPhantom(data.spacing_mm, doses=doses, deviation=data.deviation, space=data.space)


def phantom_cohort(run: StudyRun, config: BrainAgeConfig, part: str, n: int) -> Cohort:
    """Subjects of one of `PARTS`, rendered or read from the run's pieces."""
    phantom = phantom_of(config, nothing=part.startswith("nothing"))
    first = PARTS[part]
    chunks = []
    for start in range(0, n, _CHUNK):
        numbers = range(first + start, first + min(start + _CHUNK, n))
        if run.act == "data":
            run.stage(f"{part}: rendering", start, n)
        chunks.append(_chunk(run, phantom, part, start, numbers))
    return joined(chunks)


def _chunk(run: StudyRun, phantom: BrainPhantom, part: str, start: int, numbers: range) -> Cohort:
    def make() -> dict[str, Tensor]:
        brains = [phantom.subject(number, seed=run.seed) for number in numbers]
        features = {f"feature {name}": torch.stack([f(b) for b in brains]) for name, f in FEATURES.items()}
        return {"images": torch.stack([b.image for b in brains]), **features}

    found = run.tensors(f"data/{part}-{start:05d}-{len(numbers)}", make)
    subjects = [phantom.drawn(number, seed=run.seed) for number in numbers]
    names = tuple(subject.name for subject in subjects)
    return Cohort(
        found["images"],
        torch.tensor([subject.age for subject in subjects]),
        {name: found[f"feature {name}"] for name in FEATURES},
        tuple({"sex": s.sex, "scanner": s.scanner.name, "head_size": f"{s.head_size:.4f}"} for s in subjects),
        phantom.lattice.affine,
        names,
        names,
        tuple(numbers),
    )
