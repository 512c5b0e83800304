"""A tree of brain volumes as a user would have them, made of simple shapes, with one defect of each kind."""

import csv
from pathlib import Path

import numpy as np
import torch

from regard.core.volume import Volume
from regard.io import save_volume

COLUMNS = ("case", "image", "patient", "age", "sex", "scanner", "split")

DEFECTS = {
    "unreadable": "",
    "no-age": "age",
    "months": "months",
    "nan": "NaN",
    "flat": "one intensity",
    "slice": "whole brain",
    "two-channels": "channels",
    "elsewhere": "registered to MNI152",
    "twin": "again, as patient",
    "two-splits": "in one split",
    "no-such-split": "one of train",
}
"""Case to what its row of failures.tsv must say."""

_AFFINE = np.diag([6.0, 6.0, 6.0, 1.0])
_AFFINE[:3, 3] = (-84, -120, -72)
_SHAPE = (29, 36, 29)


def brain(age: float, number: int) -> np.ndarray:
    """An ellipsoid with a dark middle that grows with age, (i, j, k); each number looks different."""
    index = np.stack(np.indices(_SHAPE)).astype(float)
    place = index * 6.0 + _AFFINE[:3, 3].reshape(3, 1, 1, 1) - np.array([0, -16, 8]).reshape(3, 1, 1, 1)
    radius = np.sqrt((place / np.array([65, 80, 60]).reshape(3, 1, 1, 1)) ** 2).sum(0)
    inside = ((place / np.array([65, 80, 60]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1
    hole = (place**2).sum(0) < (10 + 0.5 * age) ** 2
    noise = np.random.default_rng(number).normal(0, 3, _SHAPE)
    return np.where(inside, np.where(hole, 30.0, 100.0) + noise - 2 * radius, 0.0).astype(np.float32)


def _write(path: Path, values: np.ndarray, affine: np.ndarray = _AFFINE) -> None:
    tensor = torch.from_numpy(values)
    save_volume(Volume(tensor if tensor.ndim == 4 else tensor[None], affine), path)


def tree(folder: Path, *, n_good: int = 14, columns: tuple[str, ...] = COLUMNS, defects: bool = True) -> Path:
    """Write images and ``cases.tsv``; returns the table."""
    folder.mkdir(parents=True)
    rows: list[dict[str, str]] = []

    def add(case: str, **said: str) -> None:
        row = {"case": case, "image": f"{case}.nii.gz", "patient": case, "age": "60", "sex": "F", "scanner": "A"}
        rows.append({**row, "split": "", **said})

    for n in range(n_good):
        age = 45.0 + 2.5 * n
        _write(folder / f"good-{n}.nii.gz", brain(age, n))
        add(f"good-{n}", age=f"{age}", sex="FM"[n % 2], scanner="AB"[n % 2])
    if defects:
        for n, case in enumerate(DEFECTS):
            values = brain(60.0, 100 + n)
            affine = _AFFINE.copy()
            if case == "nan":
                values[3, 3, 3] = np.nan
            elif case == "flat":
                values[:] = 7.0
            elif case == "slice":
                values = values[:, :, :2]
            elif case == "two-channels":
                values = np.stack([values, values])
            elif case == "elsewhere":
                affine[:3, 3] += 400
            elif case == "twin":
                values = brain(45.0, 0)
            _write(folder / f"{case}.nii.gz", values, affine)
            add(case)
        (folder / "unreadable.nii.gz").write_bytes(b"no image at all")
        by_case = {row["case"]: row for row in rows}
        by_case["no-age"]["age"] = ""
        by_case["months"]["age"] = "744"
        by_case["no-such-split"]["split"] = "holdout"
        by_case["good-1"]["split"] = "train"
        by_case["two-splits"] |= {"patient": "good-1", "split": "test"}
    table = folder / "cases.tsv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, dialect="excel-tab", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return table
