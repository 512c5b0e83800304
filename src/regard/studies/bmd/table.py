"""A user's own cases as cohorts: bad cases are rows of ``failures.tsv``, the others are split by patient."""

from functools import partial

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import CardError, InputError
from regard.datasets.bone_density import SPLITS, label_of, leaks, read_density_table, slices_through_l1
from regard.io import Case
from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.config import BMDConfig
from regard.studies.run import StudyRun
from regard.studies.user_data import kept_data, readable

__all__ = ["table_cohorts"]

_FEWEST = 6
_SHARES = {"train": 0.65, "calibration": 0.15}


def _rows(case: Case, config: BMDConfig) -> dict[str, Tensor]:
    """Tensors of one case, one row for each slice."""
    data = config.data
    label = label_of(case)
    if "patient" not in case.columns:
        raise InputError(f"no patient for the case '{case.case}'", "whose image it is", "fill the column patient")
    found = slices_through_l1(
        case, shape=data.shape, spacing_mm=data.spacing_mm, slice_mm=data.slice_mm, offsets_mm=data.offsets_mm
    )
    unknown = torch.full(data.shape, torch.nan)
    n = len(found)
    return {
        "images": torch.stack([s.image.tensor[0, :, :, 0].T[None] for s in found]),
        "body": torch.stack([unknown if s.body is None else s.body[0, :, :, 0].T for s in found]),
        "vertebra": torch.stack([unknown if s.vertebra is None else s.vertebra[0, :, :, 0].T for s in found]),
        "labels": torch.full((n,), label),
        "affines": torch.stack([torch.tensor(s.image.affine) for s in found]),
    }


def _read(run: StudyRun, config: BMDConfig) -> tuple[dict[str, Tensor], list[dict[str, str]]]:
    assert run.data is not None
    cases = read_density_table(run.data)
    refused = leaks(cases)
    parts: list[dict[str, Tensor]] = []
    rows: list[dict[str, str]] = []
    read = partial(_rows, config=config)
    for case, made in readable(run, cases, read, image=lambda made: made["images"], refused=refused):
        parts.append(made)
        for k in range(len(made["labels"])):
            rows.append(
                {
                    "case": case.case if len(made["labels"]) == 1 else f"{case.case}-{k}",
                    "patient": case.patient,
                    "split": case.columns.get("split", ""),
                }
            )
    if len({r["patient"] for r in rows}) < _FEWEST:
        n_good = len({r["patient"] for r in rows})
        raise CardError(
            f"{n_good} patients whose cases can be used, of {len(cases)} cases in '{run.data}'",
            f"at least {_FEWEST}",
            "see failures.tsv",
        )
    return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}, rows


def _splits(rows: list[dict[str, str]], seed: int) -> dict[str, str]:
    """Which part each patient is in: as the table says, and the others drawn."""
    said = {r["patient"]: r["split"] for r in rows if r["split"]}
    free = sorted({r["patient"] for r in rows} - set(said))
    order = torch.randperm(len(free), generator=randomness.generator(seed, "table", "split")).tolist()
    n_train, n_calibration = (max(1, round(_SHARES[p] * len(free))) for p in ("train", "calibration"))
    for place, n in enumerate(order):
        part = "train" if place < n_train else "calibration" if place < n_train + n_calibration else "test"
        said[free[n]] = part
    return said


def table_cohorts(run: StudyRun, config: BMDConfig) -> tuple[Cohort, Cohort | None, Cohort]:
    """Cohorts to train on, to calibrate on and to test on, from the user's table.

    Raises
    ------
    CardError
        If a column is missing, or too few cases can be used.
    """
    tensors, rows = kept_data(run, "data/table", lambda: _read(run, config))
    parts = _splits(rows, run.seed)
    for name in SPLITS:
        if name != "calibration" and name not in parts.values():
            raise CardError(f"no patient in the split {name} of '{run.data}'", "at least one", "correct the table")
    n = len(rows)
    unknown = torch.full((n,), torch.nan)
    whole = Cohort(
        **tensors,
        truth=unknown,
        second=unknown,
        decoy=unknown,
        spacing=(config.data.spacing_mm, config.data.spacing_mm),
        cases=tuple(r["case"] for r in rows),
        patients=tuple(r["patient"] for r in rows),
        real=True,
    )

    def part(name: str) -> Cohort:
        return whole.of_patients({p for p, where in parts.items() if where == name})

    return part("train"), part("calibration") if "calibration" in parts.values() else None, part("test")
