"""A user's own scans as cohorts: bad cases are rows of ``failures.tsv``, the others are split by patient."""

from typing import Any

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import CardError
from regard.core.volume import Grid
from regard.datasets.bone_density import SPLITS, leaks
from regard.datasets.brain_scans import age_of, read_brain_table, scan_on
from regard.io import Case
from regard.phantoms.brain.predictors import histogram_of
from regard.phantoms.brain.render import lattice_of
from regard.studies.brain_age.cohort import Cohort
from regard.studies.brain_age.config import BrainAgeConfig
from regard.studies.run import StudyRun
from regard.studies.user_data import kept_data, readable

__all__ = ["table_cohorts"]

_FEWEST = 6
_SHARES = {"train": 0.6, "calibration": 0.15}
_FACTS = ("sex", "scanner", "head_size")


def _read(run: StudyRun, grid: Grid) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    assert run.data is not None
    cases = read_brain_table(run.data)
    refused = leaks(cases)
    images: list[Tensor] = []
    rows: list[dict[str, Any]] = []

    def read(case: Case) -> tuple[float, Tensor]:
        return age_of(case), scan_on(case, grid).tensor

    for case, (age, image) in readable(run, cases, read, image=lambda made: made[1], refused=refused):
        images.append(image)
        facts = {c: case.columns[c] for c in _FACTS if c in case.columns}
        rows.append(
            {
                "case": case.case, "patient": case.patient, "age": age, "split": case.columns.get("split", ""),
                "facts": facts,
            }
        )  # fmt: skip
    n_good = len({r["patient"] for r in rows})
    if n_good < _FEWEST:
        raise CardError(
            f"{n_good} patients whose scans can be used, of {len(cases)} cases in '{run.data}'",
            f"at least {_FEWEST}",
            "see failures.tsv",
        )
    return {"images": torch.stack(images)}, rows


def _splits(rows: list[dict[str, Any]], seed: int) -> dict[str, str]:
    """Which part each patient is in: as the table says, and the others drawn."""
    said = {r["patient"]: r["split"] for r in rows if r["split"]}
    free = sorted({r["patient"] for r in rows} - set(said))
    order = torch.randperm(len(free), generator=randomness.generator(seed, "table", "split")).tolist()
    n_train, n_calibration = (max(1, round(_SHARES[p] * len(free))) for p in ("train", "calibration"))
    for place, n in enumerate(order):
        said[free[n]] = "train" if place < n_train else "calibration" if place < n_train + n_calibration else "test"
    return said


def table_cohorts(run: StudyRun, config: BrainAgeConfig) -> tuple[Cohort, Cohort, Cohort]:
    """Cohorts to train on, to fit the correction of the age gap on, and to test on, from the user's table.

    Raises
    ------
    CardError
        If a column is missing, or too few cases can be used.
    """
    lattice = lattice_of(config.data.spacing_mm)
    grid = Grid(lattice.shape, lattice.affine)
    tensors, rows = kept_data(run, "data/table", lambda: _read(run, grid))
    images = tensors["images"]
    parts = _splits(rows, run.seed)
    for name in SPLITS:
        if name not in parts.values():
            raise CardError(f"no patient in the split {name} of '{run.data}'", "at least one", "correct the table")
    features = {"mean age": torch.zeros(len(rows), 0), "histogram": torch.stack([histogram_of(x[0]) for x in images])}
    whole = Cohort(
        images,
        torch.tensor([float(r["age"]) for r in rows]),
        features,
        tuple(r["facts"] for r in rows),
        grid.affine,
        tuple(r["case"] for r in rows),
        tuple(r["patient"] for r in rows),
    )

    def part(name: str) -> Cohort:
        return whole.of_patients({p for p, where in parts.items() if where == name})

    return part("train"), part("calibration"), part("test")
