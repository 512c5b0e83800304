"""A user's own radiographs: bad cases are rows of ``failures.tsv``, the others become a cohort."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regard.core.errors import CardError, InputError, RegardError
from regard.datasets.collection import Box, Collection, Radiograph
from regard.datasets.radiograph_images import grey_of, prepared, twice_seen, upside_down
from regard.datasets.radiographs import read_layout
from regard.io import Case, read_table
from regard.io.tables import is_table
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.cohort import Cohort
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.studies.tuberculosis.suppression import picture_size
from regard.studies.user_data import kept_data

__all__ = ["read_cohort"]

_FEWEST = 4
"""Ill and well patients, at least, for two folds and an inner validation split."""


def _of_table(case: Case) -> Radiograph:
    label = case.number("label")
    if label not in (0, 1):
        raise InputError(f"label {case.columns.get('label', 'n/a')} of '{case.case}'", "1 for ill, 0 for well")
    return Radiograph(case.case, case.patient, next(iter(case.inputs.values())), int(label), twin=case.file("twin"))


def _collection(run: StudyRun) -> Collection:
    assert run.data is not None
    if not is_table(run.data):
        return read_layout(run.data)
    cases, failures = [], {}
    for case in read_table(run.data):
        try:
            cases.append(_of_table(case))
        except RegardError as error:
            failures[case.case] = error
    return Collection("table", tuple(cases), failures)


def _marked(boxes: Sequence[Box], shape: Sequence[int], size: int) -> Tensor:
    """Places of boxes in a picture of ``shape`` (row, column), brought to a square: (size, size) of 0 and 1."""
    found = torch.zeros(size, size)
    for box in boxes:
        rows = [round(v / shape[0] * size) for v in (box.y, box.y + box.h)]
        columns = [round(v / shape[1] * size) for v in (box.x, box.x + box.w)]
        found[rows[0] : max(rows[1], rows[0] + 1), columns[0] : max(columns[1], columns[0] + 1)] = 1
    return found


def _one(radiograph: Radiograph, picture: int, size: int, *, boxed: bool) -> dict[str, Tensor]:
    if radiograph.label is None:
        raise InputError(f"'{radiograph.case}' without a label", "1 for ill or 0 for well", "name it in a table")
    grey = grey_of(radiograph.image)
    twin = None if radiograph.twin is None else grey_of(radiograph.twin)
    if twin is not None and twin.shape != grey.shape:
        raise InputError(f"'{radiograph.case}' and its twin of other sizes", "the same size", "take one release")
    plain, soft = prepared(grey, picture, twin=twin)
    known = boxed and (radiograph.label == 0 or bool(radiograph.boxes))
    places = _marked(radiograph.boxes, grey.shape, size) if known else torch.full((size, size), torch.nan)
    return {"plain": plain, "soft": soft, "findings": places, "labels": torch.tensor(float(radiograph.label))}


def _read(run: StudyRun, config: TuberculosisConfig) -> tuple[dict[str, Tensor], list[dict[str, str]]]:
    collection = _collection(run)
    made: dict[str, dict[str, Tensor]] = {}
    failures: dict[str, BaseException] = dict(collection.failures)
    boxed = any(r.boxes for r in collection.cases)
    picture = picture_size(run, config)
    for n, radiograph in enumerate(collection.cases):
        run.stage(f"reading {radiograph.case}", n, len(collection.cases))
        try:
            made[radiograph.case] = _one(radiograph, picture, config.data.size, boxed=boxed)
        except Exception as error:  # one bad file must not cost the others
            failures[radiograph.case] = error
    patients = {r.case: r.patient for r in collection.cases}
    images: Mapping[str, Tensor] = {case: m["plain"] for case, m in made.items()}
    failures |= twice_seen(images, patients)
    failures |= upside_down({c: i for c, i in images.items() if c not in failures})
    for case, why in failures.items():
        run.folder.add_failure(case, "read", why)
    kept = [c for c in sorted(made) if c not in failures]
    for value, words in ((1.0, "ill"), (0.0, "well")):
        n = len({patients[c] for c in kept if float(made[c]["labels"]) == value})
        if n < _FEWEST:
            got = f"{n} {words} patients whose images can be used, of {len(collection.cases)} in '{run.data}'"
            raise CardError(got, f"at least {_FEWEST}", "see failures.tsv")
    rows = [{"case": c, "patient": patients[c]} for c in kept]
    return {k: torch.stack([made[c][k] for c in kept]) for k in made[kept[0]]}, rows


def read_cohort(run: StudyRun, config: TuberculosisConfig) -> Cohort:
    """The user's cases.

    Raises
    ------
    FileError
        If the folder has none of the known layouts.
    CardError
        If a table lacks a column, or too few cases can be used.
    """
    tensors, rows = kept_data(run, "data/table", lambda: _read(run, config))
    return Cohort(
        plain=tensors["plain"],
        soft=tensors["soft"],
        findings=tensors["findings"],
        labels=tensors["labels"],
        marker=torch.full((len(rows),), torch.nan),
        cases=tuple(r["case"] for r in rows),
        patients=tuple(r["patient"] for r in rows),
        real=True,
    )
