"""Phantom patients: radiographs of chests, kept as paths, and exposed again with a finding or the letter changed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.phantoms.radiograph import (
    DECOYS,
    FINDINGS,
    Draws,
    Field,
    RadiographPhantom,
    RadiographSubject,
    draw_chest_shape,
    draw_paths,
    packed,
    unpacked,
)
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.cohort import Cohort, joined
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.studies.tuberculosis.suppression import picture_size

__all__ = ["LETTER", "PARTS", "again", "phantom_cohort", "state_of", "with_letter"]

LETTER = DECOYS[0]
"""The decoy of the dose-response: a letter of lead in the corner."""

PARTS = {"pretrain": 50_000, "study": 40_000}
"""Parts of the data and their first chest; no chest is in two of them, nor in those of another study."""


def _patient(part: str, k: int) -> str:
    return f"{part}-{k:04d}"


def _number(patient: str) -> int:
    part, _, text = patient.rpartition("-")
    return PARTS[part] + int(text)


def _phantom(run: StudyRun, config: TuberculosisConfig, patient: str, dose: float) -> RadiographPhantom:
    """The phantom with the one chest of a patient, drawn or read from its piece."""
    data, number = config.data, _number(patient)
    picture = Field(size=picture_size(run, config))
    tensors = run.tensors(
        f"data/chest-{patient}",
        lambda: packed(draw_paths(run.seed, number, picture, spacing_mm=data.chest_mm, largest_cell_mm=data.cell_mm)),
    )
    return RadiographPhantom(
        Draws(lowest=data.least_dose, doses={LETTER: dose}),
        picture,
        spacing_mm=data.chest_mm,
        kept={(run.seed, number): unpacked(draw_chest_shape(run.seed, number).name, tensors)},
    )


def _subject(
    run: StudyRun, config: TuberculosisConfig, patient: str, dose: float = 0.0,
    factors: Mapping[str, float] | None = None,
) -> RadiographSubject:  # fmt: skip
    return _phantom(run, config, patient, dose).subject(_number(patient), seed=run.seed, factors=factors)


def _one(patient: str, case: str, made: RadiographSubject, size: int) -> Cohort:
    places = functional.adaptive_max_pool2d(made.mask[None].float(), size)
    return Cohort(
        made.image[None],
        made.soft[None],
        places,
        torch.tensor([made.label]),
        torch.tensor([made.factors[LETTER]]),
        (case,),
        (patient,),
        made.paths.pixel_mm * made.image.shape[-1] / size,
    )


def _mixed(run: StudyRun, patient: str, k: int, least: float) -> dict[str, float]:
    """Factors of the k-th pre-training image of a patient: pairs without and with a finding, each kind in turn.

    Both of a pair have the same view and the same letter.
    """
    pair = k // 2
    u = randomness.uniform((3,), run.seed, patient, f"pair {pair}").tolist()
    found = {**dict.fromkeys(FINDINGS, 0.0), **{d: float(v < 0.5) for d, v in zip(DECOYS, u, strict=False)}}
    if k % 2:
        found[FINDINGS[(_number(patient) + pair) % len(FINDINGS)]] = least + (1 - least) * u[2]
    return found


def phantom_cohort(run: StudyRun, config: TuberculosisConfig, part: str, *, dose: float = 0.0) -> Cohort:
    """The patients of one part: one image of each for the study, several for pre-training.

    Parameters
    ----------
    run, config
        The study.
    part
        One of `PARTS`.
    dose
        Correlation of the letter with the label.
    """
    data = config.data
    n, found = data.n_pretrain if part == "pretrain" else data.n_cases, []
    for k in range(n):
        if run.act == "data":
            run.stage(f"chests, {part}", k, n)
        patient = _patient(part, k)
        phantom = _phantom(run, config, patient, dose)
        images = [None] if part == "study" else [_mixed(run, patient, i, data.least_dose) for i in range(data.n_each)]
        for i, factors in enumerate(images):
            made = phantom.subject(_number(patient), seed=run.seed, factors=factors)
            found.append(_one(patient, patient if factors is None else f"{patient}-{i}", made, data.size))
    return joined(found)


def with_letter(run: StudyRun, config: TuberculosisConfig, cohort: Cohort, there: Sequence[bool]) -> Cohort:
    """The same patients with the letter where it is said to be, all else as it was."""
    made = [
        _one(p, p, _subject(run, config, p, factors={LETTER: float(is_there)}), config.data.size)
        for p, is_there in zip(cohort.patients, there, strict=True)
    ]
    return joined(made)


def state_of(run: StudyRun, config: TuberculosisConfig, patient: str) -> dict[str, bool]:
    """A patient's findings and the letter, and whether each is there as drawn."""
    drawn = _subject(run, config, patient).factors
    return {**{f: True for f in FINDINGS if drawn[f] > 0}, LETTER: drawn[LETTER] > 0}


def again(
    run: StudyRun, config: TuberculosisConfig, patient: str, changes: Sequence[Mapping[str, bool]]
) -> tuple[Tensor, Tensor]:
    """A patient exposed again for each set of changes, noise and display as they were.

    Parameters
    ----------
    run, config
        The study.
    patient
        Its id.
    changes
        Factors that are there, or not; a finding that is there has the dose it was drawn with.

    Returns
    -------
    plain, soft
        With and without bones, (change, 1, row, column).
    """
    drawn = _subject(run, config, patient).factors
    made = [
        _subject(
            run, config, patient,
            factors={f: (drawn[f] if drawn[f] > 0 else 1.0) if there else 0.0 for f, there in change.items()},
        )
        for change in changes
    ]  # fmt: skip
    return torch.stack([m.image for m in made]), torch.stack([m.soft for m in made])
