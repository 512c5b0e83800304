"""Brain MRI with ages: from a table of cases to images on one grid of MNI152 space, one case at a time.

The table has the columns ``case``, ``image`` (T1, skull-stripped, affinely registered to MNI152 space: its own affine
says where it lies there) and ``age`` (or ``label``) [year], and may have ``patient``, ``sex``, ``scanner`` and
``split`` (train, calibration or test).
"""

import math
from pathlib import Path

import torch

from regard.core.errors import CardError, InputError
from regard.core.foreground import background_level
from regard.core.geometry import resample
from regard.core.volume import Grid, Volume
from regard.io import Case, read_table

__all__ = ["age_of", "read_brain_table", "scan_on"]

_YOUNGEST, _OLDEST = 0.0, 120.0

_LEAST_BRAIN_ML = 300.0
"""Less than that on the template's grid is no brain [ml]."""


def read_brain_table(path: str | Path) -> list[Case]:
    """Read the table and see that it has an age.

    Raises
    ------
    FileError
        If it cannot be read, or an image does not exist.
    CardError
        If a column is missing.
    """
    path = Path(path)
    if path.is_dir():
        path = path / next((n for n in ("cases.tsv", "cases.csv") if (path / n).exists()), "cases.tsv")
    cases = read_table(path)
    if not any(name in case.columns for case in cases for name in ("age", "label")):
        raise CardError(f"'{path}' without the column age", "the columns case, image and age [year]", "add it")
    return cases


def age_of(case: Case) -> float:
    """Age of a case [year].

    Raises
    ------
    CardError
        If there is none.
    InputError
        If nobody is so old.
    """
    value = case.number("age" if "age" in case.columns else "label")
    if not math.isfinite(value) or not _YOUNGEST <= value <= _OLDEST:
        unit = "; that looks like months" if _OLDEST < value <= 12 * _OLDEST else ""
        raise InputError(f"an age of {value:g}{unit}", f"years, {_YOUNGEST:g} to {_OLDEST:g}", "correct the table")
    return value


def scan_on(case: Case, grid: Grid) -> Volume:
    """The scan of a case on a grid of MNI152 space, averaged over each voxel.

    Raises
    ------
    InputError
        If it is no volume of one channel with a brain where the template has one.
    FileError
        If the file cannot be read.
    """
    scan = case.read("image")
    if scan.n_channels != 1 or not scan.has_geometry:
        got = f"an image of {scan.n_channels} channels" if scan.has_geometry else "an image without geometry"
        raise InputError(got, "one T1 volume that says where it lies", "give its NIfTI file")
    if not bool(torch.isfinite(scan.tensor).all()):
        raise InputError("an image with NaN or infinite voxels", "numbers everywhere", "set the background to 0")
    if min(scan.shape) < 8:
        raise InputError(
            f"an image of {' x '.join(map(str, scan.shape))} voxels", "a volume of the whole brain", "give the volume"
        )
    if float(scan.tensor.max()) <= float(scan.tensor.min()):
        raise InputError("an image of one intensity", "a brain", "check the file")
    step = min(grid.spacing)
    n = max(1, round(step / max(1.0, min(scan.spacing))))
    affine = grid.affine.copy()
    affine[:3, :3] /= n
    affine[:3, 3] += grid.affine[:3, :3].sum(1) * (1 / n - 1) / 2
    i, j, k = grid.shape
    fine = resample(scan, Grid((n * i, n * j, n * k), affine), order=1, fill=float(scan.tensor.min()))
    values = torch.nn.functional.avg_pool3d(fine.tensor[None].float(), n)[0]
    found = Volume(values, grid.affine, source=case.case)
    background = background_level(values)
    filled = float((values > background + 0.05 * (values.max() - background)).sum()) * math.prod(grid.spacing) / 1e3
    if not filled >= _LEAST_BRAIN_ML:
        raise InputError(
            f"an image with {filled:.0f} ml where the template has its brain",
            f"a brain of {_LEAST_BRAIN_ML:.0f} ml or more, registered to MNI152 space",
            "register it (an affine in its header is enough)",
        )
    return found
