"""The same CT at low and at full dose, in the layouts in which pairs are handed out.

LDCT-and-Projection-data of The Cancer Imaging Archive, and two folders of files with the same names. Readers look at
names and tables, not at pixels, and give every pair or the reason why it cannot be used; `load_pair` reads the pixels.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from regard.core.errors import CardError, FileError, GeometryError, InputError, RegardError
from regard.core.geometry import reorient_grid, resample
from regard.core.volume import Volume
from regard.io import read
from regard.io.reading import strip_ending

__all__ = ["DosePair", "DosePairs", "load_pair", "read_dose_pairs", "read_ldct_and_projection", "read_pair_folders"]

_LOW = ("low", "low_dose", "low-dose", "lowdose", "quarter", "quarter_dose", "input")
_FULL = ("full", "full_dose", "full-dose", "fulldose", "routine", "target")
_COLUMNS = ("Subject ID", "Series Description", "File Location")


@dataclass(frozen=True)
class DosePair:
    """One patient's scan at two doses.

    Parameters
    ----------
    case, patient
        Ids.
    low, full
        Files, or folders of a DICOM series.
    """

    case: str
    patient: str
    low: Path
    full: Path


@dataclass(frozen=True)
class DosePairs:
    """What a folder holds.

    Parameters
    ----------
    name
        Of the layout.
    pairs
        Those that are whole, by case id.
    failures
        Case id to the reason why it cannot be used.
    """

    name: str
    pairs: tuple[DosePair, ...]
    failures: Mapping[str, RegardError]


def _gathered(name: str, made: Mapping[str, Callable[[], DosePair]]) -> DosePairs:
    pairs, failures = [], {}
    for case in sorted(made):
        try:
            pairs.append(made[case]())
        except RegardError as error:
            failures[case] = error
    return DosePairs(name, tuple(pairs), failures)


def read_ldct_and_projection(folder: str | Path) -> DosePairs:
    """Read LDCT-and-Projection-data as the archive's retriever writes it, by its ``metadata.csv``.

    Of its columns, ``Subject ID``, ``Series Description`` (``Full Dose Images``, ``Low Dose Images``) and ``File
    Location`` (relative to the table) are used. Patients without a low-dose reconstruction, as all of one of the two
    vendors, are failures.

    Parameters
    ----------
    folder
        With ``metadata.csv`` in it.

    Raises
    ------
    FileError
        If there is no such table.
    CardError
        If a column is missing.
    """
    table = Path(folder) / "metadata.csv"
    if not table.is_file():
        raise FileError(f"no 'metadata.csv' in '{folder}'", "the table that comes with LDCT-and-Projection-data")
    with table.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        missing = [c for c in _COLUMNS if c not in (rows.fieldnames or ())]
        if missing:
            raise CardError(f"'{table}' without the column {missing[0]}", f"the columns {', '.join(_COLUMNS)}", "check")
        places: dict[str, dict[str, list[Path]]] = {}
        for row in rows:
            subject, said = row["Subject ID"].strip(), row["Series Description"].strip().lower()
            ours = places.setdefault(subject, {"low": [], "full": []})
            for dose in ("low", "full"):
                if said == f"{dose} dose images":
                    ours[dose].append(_inside(Path(folder), row["File Location"]))

    def make(subject: str) -> DosePair:
        found = {}
        for dose, paths in places[subject].items():
            if len(paths) != 1:
                raise FileError(f"{len(paths)} series of {dose}-dose images of '{subject}'", "one", "correct the table")
            if not paths[0].is_dir():
                raise FileError(f"no folder '{paths[0]}'", f"the {dose}-dose images of '{subject}'", "fetch them")
            found[dose] = paths[0]
        return DosePair(subject, subject, found["low"], found["full"])

    return _gathered("ldct-and-projection", {s: lambda s=s: make(s) for s in places})  # type: ignore[misc]


def _inside(folder: Path, location: str) -> Path:
    """A place below a folder, as a table of either kind of path names it."""
    path = folder / location.strip().replace("\\", "/")
    if folder.resolve() not in (path.resolve(), *path.resolve().parents):
        raise CardError(f"'{location}' outside '{folder}'", "a place below it", "correct the table")
    return path


def read_pair_folders(folder: str | Path) -> DosePairs:
    """Read two folders: low dose (``low``, ``low_dose``, ``quarter``) and full dose (``full``, ``routine``).

    A pair has the same name in both, but for its ending: a file, or a folder of a DICOM series. What stands before a
    name's first ``_`` is the patient: ``p01_3`` and ``p01_4`` are two scans of ``p01``.

    Parameters
    ----------
    folder
        With both in it.

    Raises
    ------
    FileError
        If one of the two folders is missing, or both are empty.
    """
    there = {p.name.lower(): p for p in Path(folder).iterdir() if p.is_dir()} if Path(folder).is_dir() else {}
    low, full = (next((there[n] for n in names if n in there), None) for names in (_LOW, _FULL))
    if low is None or full is None:
        raise FileError(f"'{folder}' without folders of both doses", "'low' and 'full'", "name them so")
    doses = {"low": _named(low), "full": _named(full)}
    names = sorted(set(doses["low"]) | set(doses["full"]))
    if not names:
        raise FileError(f"nothing in '{low}' and '{full}'", "scans of the same names")

    def make(name: str) -> DosePair:
        for dose, found in doses.items():
            if name not in found:
                raise FileError(f"no {dose}-dose scan of '{name}'", "the same name in both folders", "add it")
        return DosePair(name, name.split("_")[0], doses["low"][name], doses["full"][name])

    return _gathered("pairs", {n: lambda n=n: make(n) for n in names})  # type: ignore[misc]


def _named(folder: Path) -> dict[str, Path]:
    return {p.name if p.is_dir() else strip_ending(p.name): p for p in folder.iterdir() if not p.name.startswith(".")}


def read_dose_pairs(folder: str | Path) -> DosePairs:
    """Read a folder in whichever of the two layouts it has.

    Raises
    ------
    FileError
        If it has neither.
    """
    if (Path(folder) / "metadata.csv").is_file():
        return read_ldct_and_projection(folder)
    return read_pair_folders(folder)


def _upright(volume: Volume) -> Volume:
    """Axes left, posterior, superior."""
    return resample(volume, reorient_grid(volume.grid, "LPS"), order=1)


def load_pair(pair: DosePair) -> tuple[Volume, Volume]:
    """Read both scans of a pair, axes left, posterior, superior.

    Raises
    ------
    FileError
        If one cannot be read.
    InputError
        If one is not CT in HU, or both are the same image.
    GeometryError
        If they do not share one grid.
    """
    low, full = (_upright(read(path)) for path in (pair.low, pair.full))
    for dose, one in (("low", low), ("full", full)):
        values = one.tensor
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"the {dose}-dose scan of '{pair.case}' with NaN", "finite values", "fill them")
        if one.n_channels != 1 or float(values.min()) > -300 or float(values.max()) < 0:
            span = f"{float(values.min()):g} to {float(values.max()):g}"
            raise InputError(f"the {dose}-dose scan of '{pair.case}' with values of {span}", "CT in HU, with air")
    if low.shape != full.shape or not low.grid.matches(full.grid):
        got = f"the scans of '{pair.case}' with {low.shape} and {full.shape} voxels"
        raise GeometryError(got, "one grid", "take both from one reconstruction")
    if torch.equal(low.tensor, full.tensor):
        raise InputError(f"the same image at both doses of '{pair.case}'", "two scans", "check the files")
    return low, full
