"""A tree of CT volumes as a user would have them, made of simple shapes, with one defect of each kind."""

import csv
from pathlib import Path

import numpy as np
import torch

from regard.core.volume import Volume
from regard.io import save_volume

COLUMNS = ("case", "image", "patient", "label", "l1", "split")

DEFECTS = {
    "unit": "areal density in g/cm2",
    "no-l1": "without L1's place",
    "off-scan": "off the scan",
    "unreadable": "",
    "twin": "again, as patient",
    "two-splits": "in one split",
    "no-label": "label",
    "not-hu": "HU",
    "empty-mask": "without a voxel of 1",
}
"""Case to what its row of failures.tsv must say."""


def body(density: float, number: int) -> np.ndarray:
    """A trunk with a vertebra whose mineral is the density, (i, j, k) in HU; each number looks different."""
    i, j, k = np.indices((40, 40, 8)).astype(float)
    hu = np.full(i.shape, -1000.0)
    hu[((i - 19.5) / 18) ** 2 + ((j - 19.5) / (15 + number % 3)) ** 2 < 1] = 40
    hu[((i - 19.5) / 5) ** 2 + ((j - 22) / 4) ** 2 < 1] = 100 + 300 * density
    hu[(abs(i - 19.5) < 2) & (abs(j - 30) < 4)] = 500
    return hu + np.random.default_rng(number).normal(0, 10, hu.shape)


def mask() -> np.ndarray:
    i, j, k = np.indices((40, 40, 8)).astype(float)
    found = np.zeros(i.shape)
    found[(abs(i - 19.5) < 2) & (abs(j - 30) < 4)] = 2
    found[((i - 19.5) / 5) ** 2 + ((j - 22) / 4) ** 2 < 1] = 1
    return found


AFFINE = np.diag([-4.5, -4.5, 4.0, 1.0])
AFFINE[:3, 3] = [100.0, 80.0, -500.0]
"""Axes left, posterior, superior."""


def write(path: Path, array: np.ndarray, unit: str = "HU") -> None:
    save_volume(Volume(torch.tensor(array).float()[None], AFFINE, unit), path)


def tree(folder: Path, *, n_good: int = 12, columns: tuple[str, ...] = COLUMNS, defects: bool = True) -> Path:
    """Write the tree and return its table."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "l1.nii.gz", mask(), "label")
    write(folder / "empty.nii.gz", 0 * mask(), "label")
    middle = AFFINE[2, 3] + 4.0 * 3.5
    rows = []
    for n in range(n_good):
        density = 0.6 + 0.6 * n / n_good
        write(folder / f"ct{n}.nii.gz", body(density, n))
        place = "l1.nii.gz" if n % 2 else f"{middle}"
        rows.append(
            {"case": f"good{n}", "image": f"ct{n}.nii.gz", "patient": f"p{n}", "label": f"{density:.3f}", "l1": place}
        )
    if defects:
        good = {"image": "ct0.nii.gz", "label": "0.9", "l1": f"{middle}"}
        write(folder / "ct50.nii.gz", body(0.9, 50))
        write(folder / "ct51.nii.gz", body(0.9, 51) / 2000)
        (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b not a scan")
        other = {**good, "image": "ct50.nii.gz"}
        rows += [
            {**other, "case": "unit", "patient": "q1", "label": "112.5"},
            {**other, "case": "no-l1", "patient": "q2", "l1": "n/a"},
            {**other, "case": "off-scan", "patient": "q3", "l1": "900"},
            {**good, "case": "unreadable", "patient": "q4", "image": "broken.nii.gz"},
            {**good, "case": "twin", "patient": "q5"},
            {**other, "case": "in-train", "patient": "q6", "split": "train"},
            {**good, "case": "two-splits", "patient": "q6", "split": "test"},
            {**other, "case": "no-label", "patient": "q7", "label": "n/a"},
            {**good, "case": "not-hu", "patient": "q8", "image": "ct51.nii.gz"},
            {**other, "case": "empty-mask", "patient": "q9", "l1": "empty.nii.gz"},
        ]
    table = folder / "cases.tsv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, dialect="excel-tab", restval="n/a", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return table
