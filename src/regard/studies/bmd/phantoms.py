"""Phantom patients: slices through L1 of torsos, kept in pieces, and rendered again with one factor changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.phantoms.torso import (
    Scanner,
    Torso,
    TorsoShape,
    draw_shape,
    factors_of,
    measure_l1,
    render_torso,
    scan,
    with_factors,
)
from regard.phantoms.torso.density import L1Measure, dxa_noise
from regard.phantoms.torso.population import standardised
from regard.phantoms.torso.slices import slice_box
from regard.studies.bmd.cohort import Cohort, joined
from regard.studies.bmd.config import BMDConfig, DataSection
from regard.studies.run import StudyRun

__all__ = ["PARTS", "again", "dosed", "phantom_cohort", "structures_of"]

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


def _numbers(data: DataSection, middle: bool) -> list[int]:
    """Which of a torso's slices: all, or the middle one."""
    n = len(data.offsets_mm)
    return [n // 2] if middle else list(range(n))


def _rendered(
    data: DataSection, shape: TorsoShape, changes: Mapping[str, float], *, seed: int, middle: bool
) -> list[tuple[Torso, Volume]]:
    """Each slice of a torso with some factors changed, and its scan; a slice keeps its noise, whatever is changed."""
    if data.shape[0] != data.shape[1]:
        raise InputError(f"phantom slices of {data.shape}", "as many rows as columns", "set data.shape")
    spacing = (data.spacing_mm, data.spacing_mm, data.slice_mm)
    changed, numbers = with_factors(shape, changes), _numbers(data, middle)
    heights = [data.offsets_mm[k] for k in numbers]
    # Slices that touch are drawn at once, which costs half as much.
    touching = all(abs(b - a - data.slice_mm) < 1e-6 for a, b in pairwise(heights))
    torsos: list[Torso] = []
    for group in [heights] if touching else [[height] for height in heights]:
        # The box is the unchanged torso's, so that a factor that moves the spine does not move the picture.
        across, along, (low, high) = slice_box(shape, group[0], data.shape[0], data.spacing_mm, data.slice_mm)
        box = (across, along, (low, high + group[-1] - group[0]))
        torsos += _apart(render_torso(changed, spacing, box, fine=data.fine))
    scans = [scan(t, _scanner(data), seed, f"{shape.name}-{k}") for k, t in zip(numbers, torsos, strict=True)]
    return list(zip(torsos, scans, strict=True))


def _apart(torso: Torso) -> list[Torso]:
    """The slices of a torso, each one slice thick."""

    def one(volume: Volume, k: int) -> Volume:
        affine = volume.affine.copy()
        affine[:3, 3] += k * affine[:3, 2]
        return Volume(volume.tensor[..., k : k + 1], affine, volume.unit)

    return [
        replace(
            torso,
            hu=one(torso.hu, k),
            labels=one(torso.labels, k),
            mineral=one(torso.mineral, k),
            calcium=one(torso.calcium, k),
            uptake=one(torso.uptake, k),
            fractions={name: one(volume, k) for name, volume in torso.fractions.items()},
            front=torso.front[..., k : k + 1],
        )
        for k in range(torso.hu.shape[2])
    ]


def _plane(volume: Volume) -> Tensor:
    """A volume one slice thick, rows to posterior and columns to the left."""
    return volume.tensor[0, :, :, 0].T.contiguous()


def _tensors(
    data: DataSection, drawn: Sequence[tuple[TorsoShape, L1Measure]], *, seed: int, middle: bool
) -> dict[str, Tensor]:
    """Tensors of some torsos, a row for each slice."""
    columns: dict[str, list[Any]] = {}
    for shape, measure in drawn:
        label = measure.areal_bmd + dxa_noise(shape, data.label_noise, seed)
        for torso, image in _rendered(data, shape, {}, seed=seed, middle=middle):
            body, behind = (_plane(torso.fractions[part]) for part in ("body", "posterior"))
            row = {
                "images": _plane(image)[None],
                "body": body,
                "vertebra": (body + behind).clamp(0, 1),
                "affines": torch.tensor(image.affine),
                "labels": torch.tensor(label),
                "truth": torch.tensor(measure.areal_bmd),
                "second": torch.tensor(measure.trabecular_bmd),
                "decoy": torch.tensor(factors_of(shape)[data.decoy]),
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in columns.items()}


def _cohort(data: DataSection, tensors: dict[str, Any], part: str, numbers: range, n_slices: int) -> Cohort:
    patients = [f"{part}-{n:04d}" for n in numbers for _ in range(n_slices)]
    cases = [f"{p}-{k % n_slices}" for k, p in enumerate(patients)]
    return Cohort(**tensors, spacing=(data.spacing_mm, data.spacing_mm), cases=tuple(cases), patients=tuple(patients))


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
    if dose == 0:
        return phantom_cohort(run, config, part, n).one_each()
    data, middle = config.data, dose is not None
    found = []
    starts = range(0, n, _AT_ONCE)
    for k, start in enumerate(starts):
        numbers = range(start, min(start + _AT_ONCE, n))

        def make(numbers: range = numbers, k: int = k) -> dict[str, Tensor]:
            run.stage(f"phantoms, {part}" + (f", decoy {dose:g}" if dose is not None else ""), k, len(starts))
            drawn = _drawn(run, data.decoy, part, numbers.start, len(numbers))
            given = [(dosed(s, m.areal_bmd, data.decoy, dose or 0.0), m) for s, m in drawn]
            return _tensors(data, given, seed=run.seed, middle=middle)

        name = f"data/{part}{f'-decoy{dose:g}' if dose is not None else ''}-{start:04d}"
        found.append(_cohort(data, run.tensors(name, make), part, numbers, len(_numbers(data, middle))))
    return joined(found)


def _of_patient(run: StudyRun, config: BMDConfig, patient: str) -> tuple[TorsoShape, L1Measure]:
    """The torso of a patient, with a decoy that says nothing."""
    data = config.data
    part, _, text = patient.rpartition("-")
    number = int(text)
    start = number - number % _AT_ONCE
    n = {"train": data.n_train, "calibration": data.n_calibration, "test": data.n_test}[part]
    return _drawn(run, data.decoy, part, start, min(_AT_ONCE, n - start))[number - start]


def again(
    run: StudyRun, config: BMDConfig, patient: str, changes: Sequence[Mapping[str, float]], *, dose: float | None = None
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
        Of the decoy in the patient's cohort, as in `phantom_cohort`.

    Returns
    -------
    images
        HU (change, 1, row, column).
    factors
        The patient's own.
    """
    data = config.data
    shape, measure = _of_patient(run, config, patient)
    shape = dosed(shape, measure.areal_bmd, data.decoy, dose or 0.0)
    planes = []
    for change in changes:
        ((_, image),) = _rendered(data, shape, change, seed=run.seed, middle=True)
        planes.append(_plane(image)[None])
    images = torch.stack(planes) if planes else torch.empty(0, 1, *data.shape)
    return images, factors_of(shape)


def structures_of(run: StudyRun, config: BMDConfig, patient: str) -> Tensor:
    """Number of the structure (`regard.phantoms.torso.STRUCTURES`) in each pixel of the middle slice, (row, column)."""

    def make() -> dict[str, Tensor]:
        shape, _ = _of_patient(run, config, patient)
        ((torso, _),) = _rendered(config.data, shape, {}, seed=run.seed, middle=True)
        return {"structures": _plane(torso.labels).to(torch.int16)}

    return run.tensors(f"explain/structures-{patient}", make)["structures"]
