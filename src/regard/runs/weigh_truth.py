"""What is known about the cases of a run: their table, where the truth lies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.core.errors import CardError, InputError
from regard.core.volume import Volume
from regard.io import Case, read, read_table
from regard.io.delimited import read_rows
from regard.io.guard import exists
from regard.io.intervals import interval_region, is_interval_table
from regard.io.regions import split_region, whole_labels
from regard.io.tables import is_table

__all__ = ["Truth", "with_columns"]

_BOX = ("x", "y", "w", "h")


def with_columns(
    cases: Sequence[Case], table: Path | None, record: Mapping[str, Any], wanted: Sequence[str]
) -> list[Case]:
    """The cases with what their table says of them.

    Parameters
    ----------
    cases
        As ``inputs.tsv`` names them.
    table
        The table, or None for those that the run's record names.
    record
        ``run.yaml``; one of an earlier version names no tables, and they are looked for in its command.
    wanted
        Columns that are asked for.

    Raises
    ------
    InputError
        If a column is asked for and no table has it.
    """
    said = record["tables"] if "tables" in record else [a for a in record["argv"] if is_table(a)]
    tables = [table] if table is not None else [Path(t) for t in said if Path(t).is_file()]
    known = {c.case: c for t in tables for c in read_table(t)}
    found = [
        replace(c, columns={**known[c.case].columns, **c.columns}, folder=known[c.case].folder)
        if c.case in known
        else c
        for c in cases
    ]
    for column in wanted:
        if not any(column in c.columns for c in found):
            have = sorted({name for c in found for name in c.columns})
            got = f"the column '{column}', and {'no table of the cases' if not known else 'a table without it'}"
            raise InputError(got, f"one of {', '.join(have)}" if have else "a table", "name the table with --table")
    return found


@dataclass(frozen=True)
class Truth:
    """Where the truth lies, as ``--truth`` or ``--boxes`` say.

    Parameters
    ----------
    truth, boxes
        As given; at most one of them.
    """

    truth: str | None = None
    boxes: str | None = None

    def __post_init__(self) -> None:
        if self.truth is not None and self.boxes is not None:
            raise InputError("both --truth and --boxes", "one of them", "weigh twice, with --overwrite")
        if self.truth is None:
            return
        file, label = split_region(self.truth)
        if label and not label.isdecimal() and not is_interval_table(Path(file)):
            raise InputError(f"--truth {self.truth}", "FILE#LABEL with a whole number", f"check '{file}'")

    @property
    def column(self) -> str | None:
        """The column of the table that is named, or None where a file is."""
        text = self.boxes if self.boxes is not None else self.file
        return None if text is None or exists(text) or _looks_like_a_file(text) else text

    @property
    def label(self) -> int | None:
        """The label that is the core, where one is named."""
        label = "" if self.truth is None else split_region(self.truth).label
        return int(label) if label.isdecimal() else None

    @property
    def file(self) -> str | None:
        """The file, folder or column that ``truth`` names, without its label."""
        return None if self.truth is None else split_region(self.truth).path

    def of(self, case: Case, scan: Volume) -> Volume | None:
        """The truth of a case, or None where there is none for it."""
        if self.boxes is not None:
            path = case.file(self.column) if self.column else Path(self.boxes)
            return None if path is None else _boxes(path, case.case, scan)
        text = self.file
        if text is None:
            return None
        if self.column is not None:
            path = case.file(self.column)
        else:
            path = Path(text)
            if path.is_dir():
                own = [p for p in sorted(path.iterdir()) if p.name.split(".")[0] == case.case]
                path = own[0] if own else None
        if path is None:
            return None
        if is_interval_table(path):
            return interval_region(path, "" if self.truth is None else split_region(self.truth).label)
        volume = read(path)
        return volume.with_tensor(whole_labels(volume.tensor))


def _looks_like_a_file(text: str) -> bool:
    return "/" in text or text.lower().endswith((".nii", ".nii.gz", ".tsv", ".csv", ".png", ".nrrd"))


def _boxes(path: Path, case: str, scan: Volume) -> Volume | None:
    """Boxes of a case as a mask on its scan: x along the first axis, y along the second, through all slices."""
    rows = read_rows(path, "table with the columns x, y, w, h")
    lacking = [c for c in _BOX if rows and c not in rows[0]]
    if lacking or not rows:
        raise CardError(f"'{path}' without {', '.join(lacking) or 'a row'}", "the columns x, y, w, h", "correct it")
    own = [r for r in rows if r.get("case", case) == case]
    if not own:
        return None
    mask = torch.zeros(1, *scan.shape)
    for row in own:
        x, y, w, h = (_number(row, c, path) for c in _BOX)
        mask[:, round(max(x, 0)) : round(x + w), round(max(y, 0)) : round(y + h)] = 1.0
    return scan.with_tensor(mask, unit="label")


def _number(row: Mapping[str, str], column: str, path: Path) -> float:
    try:
        number = float(row[column])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        got = f"'{row[column][:80]}' in column '{column}' of '{path}'"
        raise CardError(got, "a number of pixels", "correct it")
    return number
