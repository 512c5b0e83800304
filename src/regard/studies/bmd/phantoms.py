"""Phantom patients: slices through L1 of torsos, kept in pieces, and rendered again with one factor changed."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.phantoms.torso import (
    L1Slice,
    Scanner,
    TorsoShape,
    draw_shape,
    factors_of,
    measure_l1,
    render_torso,
    scan,
    slices_of,
    with_factors,
)
from regard.phantoms.torso.density import L1Measure
from regard.phantoms.torso.population import standardised
from regard.phantoms.torso.slices import slice_box
from regard.studies.bmd.cohort import Cohort, joined
from regard.studies.bmd.config import BMDConfig, DataSection
from regard.studies.run import StudyRun

__all__ = ["PARTS", "again", "dosed", "phantom_cohort"]

PARTS = ("train", "calibration", "test")
"""Parts of the data; no torso is in two of them."""

_FIRST = {"train": 0, "calibration": 10_000, "test": 20_000}
_AT_ONCE = 10

_SIGNS = {"aortic_calcium": -1.0, "muscle": 1.0, "table_mark": 1.0}

_SD = math.sqrt(1 / 12)
"""Of a uniform draw."""


def _scanner(data: DataSection) -> Scanner:
    # The scanner's noise is that of pixels of 1 mm; a larger pixel averages it.
    return Scanner(noise_hu=data.noise_hu * max(1.0, data.spacing_mm), kernel_mm=1.0)


def _drawn(run: StudyRun, decoy: str, part: str, start: int, n: int) -> list[tuple[TorsoShape, L1Measure]]:
    """Torsos of a part and what their L1 holds, with a decoy that says nothing; drawn once, for all doses."""

    def make() -> dict[str, object]:
        shapes = [draw_shape(run.seed, _FIRST[part] + k, decoys={decoy: 0.0}) for k in range(start, start + n)]
        measures = [measure_l1(shape, spacing_mm=1.5, fine=1) for shape in shapes]
        return {"torsos": [{"shape": vars(s), "l1": vars(m)} for s, m in zip(shapes, measures, strict=True)]}

    rows = run.record(f"data/shapes-{part}-{start:04d}", make)["torsos"]
    return [(TorsoShape(**row["shape"]), L1Measure(**row["l1"])) for row in rows]


def dosed(shape: TorsoShape, label: float, decoy: str, dose: float) -> TorsoShape:
    """The torso with a decoy that follows its label.

    Parameters
    ----------
    shape
        With a decoy drawn at random, uniform from 0 to 1.
    label
        Areal density [g/cm2].
    decoy
        One of `regard.phantoms.torso.DECOYS`.
    dose
        Correlation of the decoy with the label, in size: calcification falls as density rises, the others rise with it.
    """
    if dose == 0:
        return shape
    own = (factors_of(shape)[decoy] - 0.5) / _SD
    followed = _SIGNS[decoy] * standardised(label)
    value = 0.5 + _SD * (dose * followed + math.sqrt(1 - dose**2) * own)
    return with_factors(shape, {decoy: min(max(value, 0.0), 1.0)})


def _slices(data: DataSection, shape: TorsoShape, measure: L1Measure, *, seed: int, middle: bool) -> list[L1Slice]:
    if data.shape[0] != data.shape[1]:
        raise InputError(f"phantom slices of {data.shape}", "as many rows as columns", "set data.shape")
    heights = _heights(data, middle)
    return slices_of(
        shape,
        seed=seed,
        n_slices=len(heights),
        size=data.shape[0],
        spacing_mm=data.spacing_mm,
        slice_mm=data.slice_mm,
        scanner=_scanner(data),
        dxa_noise_sd=data.label_noise,
        fine=data.fine,
        measure=measure,
        heights=heights,
    )


def _heights(data: DataSection, middle: bool) -> tuple[float, ...]:
    return (data.offsets_mm[len(data.offsets_mm) // 2],) if middle else data.offsets_mm


def _plane(tensor: Tensor) -> Tensor:
    """A volume (1, i, j, 1) as rows to posterior and columns to the left."""
    return tensor[0, :, :, 0].T.contiguous()


def _tensors(found: Sequence[L1Slice], decoy: str) -> dict[str, Tensor]:
    parts = [s.torso.fractions for s in found]
    body = [_plane(p["body"].tensor) for p in parts]
    behind = [_plane(p["posterior"].tensor) for p in parts]
    return {
        "images": torch.stack([_plane(s.image.tensor)[None] for s in found]),
        "body": torch.stack(body),
        "vertebra": torch.stack([(a + b).clamp(0, 1) for a, b in zip(body, behind, strict=True)]),
        "labels": torch.tensor([s.label for s in found]),
        "truth": torch.tensor([s.true_label for s in found]),
        "second": torch.tensor([s.measure.trabecular_bmd for s in found]),
        "affines": torch.tensor(np.stack([s.image.affine for s in found])),
        "decoy": torch.tensor([factors_of(s.torso.shape)[decoy] for s in found]),
    }


def _cohort(data: DataSection, tensors: Mapping[str, Tensor], part: str, numbers: range, n_slices: int) -> Cohort:
    patients = [f"{part}-{n:04d}" for n in numbers for _ in range(n_slices)]
    cases = [f"{p}-{k % n_slices}" for k, p in enumerate(patients)]
    return Cohort(
        **tensors, spacing=(data.spacing_mm, data.spacing_mm), cases=tuple(cases), patients=tuple(patients)
    )


def phantom_cohort(run: StudyRun, config: BMDConfig, part: str, n: int, *, dose: float | None = None) -> Cohort:
    """The patients of one part: rendered, or read if they have been.

    Parameters
    ----------
    run, config
        The study.
    part
        One of `PARTS`.
    n
        Number of patients.
    dose
        Of the decoy, for its dose-response, which takes the middle slice alone; None: the study's own data, with all
        slices and a decoy that says nothing.
    """
    data, middle = config.data, dose is not None
    found = []
    starts = range(0, n, _AT_ONCE)
    for k, start in enumerate(starts):
        numbers = range(start, min(start + _AT_ONCE, n))
        run.stage(f"phantoms, {part}" + (f", decoy {dose:g}" if dose is not None else ""), k, len(starts))

        def make(numbers: range = numbers) -> dict[str, Tensor]:
            made = []
            for shape, measure in _drawn(run, data.decoy, part, numbers.start, len(numbers)):
                given = dosed(shape, measure.areal_bmd, data.decoy, dose or 0.0)
                made += _slices(data, given, measure, seed=run.seed, middle=middle)
            return _tensors(made, data.decoy)

        name = f"data/{part}{f'-decoy{dose:g}' if dose is not None else ''}-{start:04d}"
        found.append(_cohort(data, run.tensors(name, make), part, numbers, len(_heights(data, middle))))
    return joined(found)


def again(
    run: StudyRun, config: BMDConfig, patient: str, changes: Sequence[Mapping[str, float]], *, dose: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """The middle slice of a patient rendered again for each set of changed factors, noise as it was.

    Parameters
    ----------
    run, config
        The study.
    patient
        Its id.
    changes
        Factors and their values in [0, 1]; an empty mapping changes nothing.
    dose
        Of the decoy in the patient's cohort.

    Returns
    -------
    images
        HU (change, 1, row, column).
    factors
        The patient's own.
    """
    data = config.data
    part, _, text = patient.rpartition("-")
    number = int(text)
    start = number - number % _AT_ONCE
    n = {"train": data.n_train, "calibration": data.n_calibration, "test": data.n_test}[part]
    shape, measure = _drawn(run, data.decoy, part, start, min(_AT_ONCE, n - start))[number - start]
    shape = dosed(shape, measure.areal_bmd, data.decoy, dose)
    index = len(data.offsets_mm) // 2 if dose == 0 else 0
    z = data.offsets_mm[len(data.offsets_mm) // 2]
    spacing = (data.spacing_mm, data.spacing_mm, data.slice_mm)
    planes = []
    for change in changes:
        changed = with_factors(shape, change)
        # The box is the unchanged torso's, so that a factor that moves the spine does not move the picture.
        box = slice_box(shape, z, data.shape[0], data.spacing_mm, data.slice_mm)
        torso = render_torso(changed, spacing, box, fine=data.fine)
        # The noise is keyed by the slice's name in its cohort.
        image = scan(torso, _scanner(data), run.seed, f"{shape.name}-{index}")
        planes.append(_plane(image.tensor)[None])
    return torch.stack(planes), factors_of(shape)
