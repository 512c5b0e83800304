"""CT with a density measured elsewhere: from a table of cases to slices through L1, one case at a time.

The table has the columns ``case``, ``image``, ``patient`` and ``label`` (areal density of L1 in g/cm2), and may have
``l1`` (a mask of L1, its body 1 and the rest of it 2; or the height of its middle [mm, RAS]) and ``split`` (train,
calibration or test). An image of one slice needs no ``l1``.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import CardError, FileError, InputError, RegardError
from regard.core.geometry import resample
from regard.core.volume import Grid, Volume
from regard.io import Case, read, read_table

__all__ = ["SPLITS", "L1Slice", "digest", "leaks", "read_density_table", "slices_through_l1"]

SPLITS = ("train", "calibration", "test")
"""What the column ``split`` may say."""

_LOWEST, _HIGHEST = 0.1, 3.0
"""Areal densities that a spine can have [g/cm2]."""

_AIR = -1000.0
"""Where the scan ends [HU]."""

_NEEDED = ("patient", "label")


@dataclass(frozen=True, eq=False)
class L1Slice:
    """One slice through L1.

    Parameters
    ----------
    image
        HU, one slice thick, axes left, posterior, superior.
    body, vertebra
        Share of each voxel in L1's body and in all of L1, on the same grid; None where no mask was given.
    """

    image: Volume
    body: Tensor | None
    vertebra: Tensor | None


def read_density_table(path: str | Path) -> list[Case]:
    """Read the table and see that it has every column.

    Raises
    ------
    FileError
        If it cannot be read, or an image does not exist.
    CardError
        If a column is missing, or a patient's cases are told to be in two splits.
    """
    path = Path(path)
    if path.is_dir():
        inside = [path / name for name in ("cases.tsv", "cases.csv", "participants.tsv") if (path / name).exists()]
        if not inside:
            raise FileError(f"'{path}' without a table", "cases.tsv or cases.csv in it", "write one, or give the table")
        path = inside[0]
    cases = read_table(path)
    for column in _NEEDED:
        if not any(column in c.columns for c in cases):
            raise CardError(
                f"'{path}' without the column {column}",
                "the columns case, image, patient and label (areal bone density of L1 in g/cm2)",
                "add it",
            )
    return cases


def label_of(case: Case) -> float:
    """Areal density of a case [g/cm2].

    Raises
    ------
    InputError
        If there is none, or it is of another unit.
    """
    value = case.number("label")
    if not math.isfinite(value) or not _LOWEST <= value <= _HIGHEST:
        unit = "; that looks like mg/cm3 or mg/cm2" if 20 <= value <= 3000 else ""
        raise InputError(
            f"a density of {value:g}{unit}",
            f"areal density in g/cm2, {_LOWEST} to {_HIGHEST}",
            "give what the densitometer printed for L1 (a volumetric density cannot be converted)",
        )
    return value


def _l1(case: Case) -> tuple[Volume | None, float | None]:
    """Mask of L1, or the height of its middle, or neither."""
    said = case.columns.get("l1")
    if said is None:
        return None, None
    try:
        return None, float(said)
    except ValueError:
        path = case.file("l1")
        return (None if path is None else read(path, unit="label")), None


def _middle(mask: Volume) -> np.ndarray:
    """Middle of L1's body in RAS mm, from a mask with the body as 1."""
    body = (mask.tensor[0] - 1).abs() < 0.5
    if not bool(body.any()):
        raise InputError("a mask of L1 without a voxel of 1", "L1's body as 1, the rest of it as 2", "correct the mask")
    return mask.grid.to_world(body.nonzero().double().mean(0).tolist())


def _centre(scan: Volume, mask: Volume | None, height: float | None) -> np.ndarray:
    middle = scan.grid.to_world([(n - 1) / 2 for n in scan.shape])
    if mask is not None:
        middle = _middle(mask)
    elif height is not None:
        middle[2] = height
    elif scan.shape[int(np.abs(scan.affine[2, :3]).argmax())] > 1:
        raise InputError(
            f"a volume of {' x '.join(map(str, scan.shape))} voxels without L1's place",
            "a mask of L1 or the height of its middle in the column l1, or an image of one slice",
            "add it to the table",
        )
    at = scan.grid.to_index(list(middle))
    if any(not -0.5 <= v <= n - 0.5 for v, n in zip(at, scan.shape, strict=True)):
        where = ", ".join(f"{v:.0f}" for v in middle)
        raise InputError(f"L1 at ({where}) mm, off the scan", "a place inside it", "check the column l1")
    return middle


def slices_through_l1(
    case: Case, *, shape: tuple[int, int], spacing_mm: float, slice_mm: float, offsets_mm: Sequence[float]
) -> list[L1Slice]:
    """Cut slices of one case.

    Parameters
    ----------
    case
        A row of the table.
    shape
        Rows and columns.
    spacing_mm, slice_mm
        Of a pixel, and thickness; finer scans are averaged over it.
    offsets_mm
        Heights of the slices above L1's middle; an image of one slice gives that one.

    Raises
    ------
    InputError
        If the image is not CT in HU, or L1's place is not known.
    FileError
        If a file cannot be read.
    """
    scan = case.read("image")
    if not bool(torch.isfinite(scan.tensor).all()) or scan.n_channels != 1:
        raise InputError(f"an image of {scan.n_channels} channels, or with NaN", "a CT in HU", "check the file")
    low, high = float(scan.tensor.min()), float(scan.tensor.max())
    if low > -100 or high < 200:
        raise InputError(f"intensities of {low:g} to {high:g}", "HU, with air or fat and bone in view", "rescale it")
    mask, height = _l1(case)
    middle = _centre(scan, mask, height)
    along = int(np.abs(scan.affine[2, :3]).argmax())
    single = scan.shape[along] == 1
    found = []
    for offset in (0.0,) if single else offsets_mm:
        n_fine = 1 if single else max(1, round(slice_mm / scan.spacing[along]))
        heights = [middle[2] + offset + slice_mm * ((k + 0.5) / n_fine - 0.5) for k in range(n_fine)]
        planes = [
            resample(scan, _grid(shape, spacing_mm, slice_mm, (*middle[:2], z)), order=1, fill=_AIR) for z in heights
        ]
        grid = _grid(shape, spacing_mm, slice_mm, (*middle[:2], middle[2] + offset))
        image = Volume(torch.stack([p.tensor for p in planes]).mean(0), grid.affine, "HU", source=scan.source)
        body = vertebra = None
        if mask is not None:
            parts = [(mask.tensor[:1] - value).abs() < 0.5 for value in (1, 2)]
            carried = [resample(mask.with_tensor(p.float()), image.grid, order=1).tensor for p in parts]
            body, vertebra = carried[0], (carried[0] + carried[1]).clamp(0, 1)
            if not bool((body > 0.5).any()):
                raise InputError(f"a slice {offset:g} mm from L1's middle without L1", "L1 in it", "check the mask")
        found.append(L1Slice(image, body, vertebra))
    return found


def _grid(shape: tuple[int, int], spacing: float, slice_mm: float, middle: Sequence[float]) -> Grid:
    """A slice with its middle at a place, axes left, posterior, superior."""
    affine = np.diag([-spacing, -spacing, slice_mm, 1.0])
    affine[:3, 3] = np.add(middle, [spacing * (shape[1] - 1) / 2, spacing * (shape[0] - 1) / 2, 0.0])
    return Grid((shape[1], shape[0], 1), affine)


def digest(image: Tensor) -> str:
    """A name for the content of an image, to find one that comes twice."""
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()


def leaks(cases: Sequence[Case]) -> dict[str, RegardError]:
    """Cases that may not be used, with the reason: those of a patient who is told to be in two splits."""
    splits: dict[str, str] = {}
    found: dict[str, RegardError] = {}
    for case in cases:
        said = case.columns.get("split")
        if said is None:
            continue
        if said not in SPLITS:
            found[case.case] = CardError(f"the split '{said}'", f"one of {', '.join(SPLITS)}", "correct the table")
        elif splits.setdefault(case.patient, said) != said:
            found[case.case] = CardError(
                f"a case of patient '{case.patient}' in {said}, who is in {splits[case.patient]} already",
                "all cases of a patient in one split",
                "correct the column split",
            )
    return found
