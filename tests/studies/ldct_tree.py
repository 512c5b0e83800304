"""A folder of scans at two doses as a user would have it, made of simple shapes, with one defect of each kind."""

from pathlib import Path

import numpy as np
import torch

from regard.core.volume import Volume
from regard.io import save_volume

DEFECTS = {
    "alone": "no full-dose scan",
    "broken": "",
    "grids": "one grid",
    "not-hu": "CT in HU",
    "nan": "NaN",
    "twin": "same image",
    "tiny": "slices of 12 x 12 pixels",
}
"""Case to what its row of failures.tsv must say."""

AFFINE = np.diag([-4.0, -4.0, 5.0, 1.0])
"""Axes left, posterior, superior."""


def body(number: int, side: int = 40, n_slices: int = 2) -> np.ndarray:
    """A trunk with organs, (i, j, k) in HU; each number looks different."""
    i, j, _ = np.indices((side, side, n_slices)).astype(float) / side
    hu = np.full(i.shape, -1000.0)
    hu[((i - 0.5) / 0.46) ** 2 + ((j - 0.5) / 0.4) ** 2 < 1] = 40
    rng = np.random.default_rng(number)
    for _ in range(5):
        x, y, r = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.04, 0.12)
        hu[(i - x) ** 2 + (j - y) ** 2 < r**2] = rng.uniform(-100, 400)
    return hu


def noisy(array: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    return array + np.random.default_rng(seed).normal(0, deviation, array.shape)


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_volume(Volume(torch.tensor(array).float()[None], affine, "HU"), path)


def tree(folder: Path, *, n_good: int = 6, defects: bool = True) -> Path:
    """Write ``low`` and ``full`` and return the folder that holds them."""
    for n in range(n_good):
        write(folder / "low" / f"p{n}_1.nii.gz", noisy(body(n), 40, n))
        write(folder / "full" / f"p{n}_1.nii.gz", noisy(body(n), 12, 100 + n))
    if defects:
        good = noisy(body(50), 40, 50)
        pairs = {
            "alone": (good, None),
            "grids": (good, noisy(body(50, side=44), 12, 1)),
            "not-hu": (good / 2000, noisy(body(50), 12, 1) / 2000),
            "nan": (np.where(good > 300, np.nan, good), noisy(body(50), 12, 1)),
            "twin": (good, good),
            "tiny": (good[:12, :12], noisy(body(50), 12, 1)[:12, :12]),
        }
        for name, (low, full) in pairs.items():
            write(folder / "low" / f"{name}.nii.gz", low)
            if full is not None:
                write(folder / "full" / f"{name}.nii.gz", full)
        for dose in ("low", "full"):
            (folder / dose / "broken.nii.gz").write_bytes(b"\x1f\x8b not a scan")
    return folder
