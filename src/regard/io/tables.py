"""Cases: from a table (TSV or CSV), or from files and folders named one by one."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from regard.core.errors import CardError, FileError
from regard.core.plain_text import without_controls
from regard.core.volume import Volume
from regard.io.delimited import read_cells
from regard.io.guard import exists
from regard.io.reading import is_dicom, read, strip_ending
from regard.io.signal_table import is_signal_table

__all__ = ["CHOICES", "IMAGE", "Case", "Choice", "choosing", "find_cases", "is_table", "read_table"]

IMAGE = "image"
"""Name of the only input of a case, as its column is called."""

_DELIMITERS = {".tsv": "\t", ".csv": ","}


CHOICES = ("volume", "series", "rate_hz")
"""Columns that say how a file is read; ``volume_<input>``, ``series_<input>``, ... for one input of several."""

_FLAGS = {"rate_hz": "rate"}


class Choice(NamedTuple):
    """How a file is read: one volume of several, one series of a DICOM folder, the rate [Hz] of a table of samples."""

    volume: int | None = None
    series: str | None = None
    rate_hz: float | None = None


@dataclass(frozen=True)
class Case:
    """One case: its id, its image files, and what else a table says of it.

    Parameters
    ----------
    case
        Case id.
    inputs
        File or DICOM folder of each input; the only one is called ``"image"``.
    columns
        The table's other columns, as text; empty cells are left out. ``volume``, ``series`` and ``rate_hz`` say how a
        file is read.
    folder
        Folder of the table, which paths in it are relative to.
    """

    case: str
    inputs: Mapping[str, Path]
    columns: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @property
    def patient(self) -> str:
        """The patient, who may have several cases; the case itself if the table does not say."""
        return self.columns.get("patient", self.case)

    def choice(self, name: str = IMAGE) -> Choice:
        """Which part of an input's file is meant.

        Raises
        ------
        CardError
            If the column ``volume`` holds no whole number, or ``rate_hz`` no number above 0.
        """
        text, series, rate = (self.columns.get(f"{c}_{name}", self.columns.get(c)) for c in CHOICES)
        if text is not None and not text.isdecimal():
            got = f"volume '{text}' of case '{self.case}'"
            raise CardError(got, "a whole number from 0", "correct --volume, or the table")
        if rate is not None and not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", rate) and float(rate) > 0):
            got = f"rate '{rate}' of case '{self.case}'"
            raise CardError(got, "samples a second, above 0", "correct --rate, or the column rate_hz of the table")
        return Choice(None if text is None else int(text), series, None if rate is None else float(rate))

    def read(self, name: str = IMAGE, *, unit: str | None = None) -> Volume:
        """Read the image of an input, the part that is meant; see `regard.io.read`."""
        choice = self.choice(name)
        return read(self.inputs[name], unit=unit, volume=choice.volume, series=choice.series, rate_hz=choice.rate_hz)

    def file(self, column: str) -> Path | None:
        """The file that a column names (``truth``, ``boxes``), or None where the cell is empty.

        Raises
        ------
        FileError
            If it does not exist.
        """
        name = self.columns.get(column)
        if name is None:
            return None
        path = self.folder / name
        if not exists(path):
            got = f"no file '{path}' (case '{self.case}', column '{column}')"
            raise FileError(got, "an existing file", "correct the table")
        return path

    def number(self, column: str) -> float:
        """The number in a column (``label``, a covariate).

        Raises
        ------
        CardError
            If the cell is empty or not a number.
        """
        text = self.columns.get(column)
        try:
            return float(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            got = f"'{text or 'nothing'}' in column '{column}' of case '{self.case}'"
            raise CardError(got, "a number", "correct the table") from None


def is_table(path: str | Path) -> bool:
    """Whether a path names a table of cases: by its ending, and not one of numbers alone, which is a signal."""
    return Path(path).suffix.lower() in _DELIMITERS and not is_signal_table(Path(path))


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a table, each with its line number."""
    if not exists(path):
        raise FileError(f"no table '{path}'", "an existing .tsv or .csv", "check the path")
    rows = read_cells(path, "table of cases (.tsv or .csv)")
    if len(rows) < 2:
        raise CardError(f"'{path}' without a case", "a header and at least one row", "fill the table")
    return rows[0][1], rows[1:]


def _image_columns(header: Sequence[str], path: Path) -> dict[str, str]:
    """Input name to column."""
    named = {c.removeprefix("image_"): c for c in header if c.startswith("image_") and c != "image_"}
    if IMAGE in header and named:
        got = f"'{path}' with the columns image and {', '.join(named.values())}"
        raise CardError(got, "image, or image_<input> for each input", "rename one")
    found = {IMAGE: IMAGE} if IMAGE in header else named
    lacking = [*([] if "case" in header else ["case"]), *([] if found else ["image (or image_<input>)"])]
    if lacking:
        raise CardError(
            f"'{path}' without the column {' and '.join(lacking)}; it has {', '.join(header) or 'none'}",
            "the columns case and image, separated by " + ("tabs" if path.suffix.lower() == ".tsv" else "commas"),
            "rename the columns",
        )
    twice = [c for c, n in Counter(header).items() if n > 1 and c]
    if twice:
        raise CardError(f"'{path}' with the column {', '.join(twice)} twice", "each once", "rename one")
    return found


def read_table(path: str | Path) -> list[Case]:
    """Read a table of cases.

    Parameters
    ----------
    path
        ``.tsv`` or ``.csv`` with the columns ``case`` and ``image`` (or ``image_<input>``); other columns are kept
        as text. Paths are relative to the table.

    Returns
    -------
    list of Case
        In the table's order.

    Raises
    ------
    FileError
        If the table cannot be read, or an image of it does not exist; the message names the row.
    CardError
        If it is empty, a column is missing, a cell is empty, or two cases have one id.
    """
    path = Path(path)
    header, rows = _rows(path)
    images = _image_columns(header, path)
    folder = path.parent
    cases: list[Case] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        if len(row) > len(header):
            got = f"{len(row)} cells in row {line} of '{path}'"
            raise CardError(got, f"{len(header)}, as in the header", "correct the row")
        cells = {c: v for c, v in zip(header, row, strict=False) if v and v.lower() != "n/a"}
        name = cells.get("case", "")
        if without_controls(name) != name:
            got = f"the case id '{name}' in row {line} of '{path}', with control characters"
            raise CardError(got, "letters and digits", "rename it")
        if not name:
            raise CardError(f"no case id in row {line} of '{path}'", "a name in the column case", "fill it")
        if name in seen:
            got = f"the case id '{name}' in rows {seen[name]} and {line} of '{path}'"
            raise CardError(got, "an id of its own for each case", "rename one; column patient may say who it is")
        seen[name] = line
        inputs = {}
        for key, column in images.items():
            if column not in cells:
                raise CardError(f"no file in column '{column}', row {line} of '{path}'", "a path", "fill it")
            inputs[key] = folder / cells[column]
            if not exists(inputs[key]):
                got = f"no file '{inputs[key]}' (column '{column}', row {line} of '{path}')"
                raise FileError(got, "a path relative to the table", "correct it")
        others = {c: v for c, v in cells.items() if c != "case" and c not in images.values()}
        cases.append(Case(name, inputs, others, folder))
    return cases


def _named(path: Path) -> Case:
    """A case of one file, with the id that its name gives; DICOM gets its number later."""
    if not exists(path):
        raise FileError(f"no file '{path}'", "an image, a signal, a DICOM folder or a table", "check the path")
    # What a file holds is found when its turn comes: one bad image does not cost the others.
    dicom = path.is_dir() or is_dicom(path)
    return Case("" if dicom else without_controls(strip_ending(path.name)), {IMAGE: path})


def choosing(
    cases: Sequence[Case], volumes: Sequence[str] = (), series: Sequence[str] = (), rates: Sequence[str] = ()
) -> list[Case]:
    """The same cases with the parts of their files that a command line chooses; a table's own cell goes first.

    Parameters
    ----------
    cases
        The cases.
    volumes, series, rates
        ``N`` for every input, or ``INPUT=N`` for one.

    Raises
    ------
    CardError
        If an input is named twice, or no case has it.
    """
    chosen: dict[str, str] = {}
    names = {name for c in cases for name in c.inputs}
    for column, texts in zip(CHOICES, (volumes, series, rates), strict=True):
        flag = _FLAGS.get(column, column)
        for text in texts:
            name, equals, value = text.partition("=")
            key, value = (f"{column}_{name}", value) if equals else (column, text)
            if key in chosen:
                raise CardError(f"--{flag} {text}, given before", "one for each input", "leave one out")
            if equals and name not in names:
                got = f"--{flag} {text}"
                raise CardError(got, f"N, or INPUT=N with an input among {', '.join(sorted(names))}", "correct it")
            chosen[key] = value
    changed = [replace(c, columns={**chosen, **c.columns}) for c in cases] if chosen else list(cases)
    for case in changed:
        for name in case.inputs:
            case.choice(name)
    return changed


def _distinct(cases: list[Case]) -> list[Case]:
    """Put the folder's name before ids that several files share."""
    counts = Counter(c.case for c in cases)
    fixed = [
        replace(c, case=f"{c.inputs[IMAGE].resolve().parent.name}_{c.case}") if counts[c.case] > 1 and c.case else c
        for c in cases
    ]
    twice = [name for name, n in Counter(c.case for c in fixed if c.case).items() if n > 1]
    if twice:
        got = f"several files that would be the case '{twice[0]}'"
        raise CardError(got, "one file for each case", "name the cases in a table")
    return fixed


def find_cases(paths: Sequence[str | Path], further: Mapping[str, str | Path] | None = None) -> list[Case]:
    """The cases that a command line names.

    Parameters
    ----------
    paths
        Image files, DICOM folders, or tables. An id comes from the table, else it is the file's name without its ending
        (with the folder's name before it where files share one); DICOM is numbered ``case-0001`` and on.
    further
        Files of further inputs of the one case, by name.

    Raises
    ------
    FileError
        If a file does not exist.
    CardError
        If there is no case, ids collide, or further inputs are given to several cases.
    """
    if not paths:
        raise CardError("no case", "an image, a DICOM folder or a table", "name one")
    tables = [read_table(p) if is_table(p) else None for p in paths]
    named = _distinct([_named(Path(p)) for p, t in zip(paths, tables, strict=True) if t is None])
    taken = {c.case for part in (named, *(t for t in tables if t)) for c in part}
    singles = iter(named)
    cases: list[Case] = []
    number = 0
    for table in tables:
        if table is not None:
            cases += table
            continue
        case = next(singles)
        while not case.case:
            number += 1
            if (name := f"case-{number:04d}") not in taken:
                case = replace(case, case=name)
        cases.append(case)
    twice = [name for name, n in Counter(c.case for c in cases).items() if n > 1]
    if twice:
        raise CardError(f"several cases called '{twice[0]}'", "an id of its own for each", "rename one in its table")
    if further:
        if len(cases) != 1:
            got = f"further inputs ({', '.join(further)}) for {len(cases)} cases"
            raise CardError(got, "one case", "name the inputs of several cases in a table, as columns image_<input>")
        lost = [str(p) for p in further.values() if not exists(p)]
        if lost:
            raise FileError(f"no file '{lost[0]}'", "an image for each --input", "check the path")
        cases = [replace(cases[0], inputs={**cases[0].inputs, **{k: Path(p) for k, p in further.items()}})]
    return cases
