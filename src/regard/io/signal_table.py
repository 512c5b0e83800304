"""Recordings as tables of numbers: a column a lead, with a column of times or a rate that is told."""

import re
from pathlib import Path

import numpy as np

from regard.core.errors import FileError
from regard.core.volume import Volume
from regard.io.first_bytes import first_bytes
from regard.io.guard import read_text
from regard.io.limits import check_size

__all__ = ["is_signal_table", "read_signal_table"]

_TIMES = {"time": 1.0, "t": 1.0, "time_s": 1.0, "seconds": 1.0, "time_ms": 1e-3, "ms": 1e-3}
_UNEVEN = 0.01
_LARGEST = 2**28


def _delimiter(path: Path) -> str:
    return "," if path.suffix.lower() == ".csv" else "\t"


def _is_number(cell: str) -> bool:
    if re.fullmatch(r"\s*(nan|n/a)?\s*", cell, re.IGNORECASE):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_signal_table(path: Path) -> bool:
    """Whether a table holds numbers alone under its header, as no table of cases does; False if it cannot be read."""
    try:
        head = first_bytes(path, 2**16).decode("utf-8-sig", "replace")
    except FileError:
        return False
    lines = [line for line in head.splitlines() if line.strip() and not line.startswith("#")][:3]
    if len(lines) < 2:
        return False
    names = [cell.strip().lower() for cell in lines[0].split(_delimiter(path))]
    cells = lines[1].split(_delimiter(path))
    return "case" not in names and all(map(_is_number, cells)) and any(cell.strip() for cell in cells)


def read_signal_table(path: Path, rate_hz: float | None = None) -> Volume:
    """Read a recording of numbers.

    Parameters
    ----------
    path
        ``.csv`` (commas) or ``.tsv`` (tabs), with or without a header; a unit may follow a name, as in ``II [mV]``. A
        column ``time``, ``t``, ``time_s`` or ``seconds`` [s], or ``time_ms`` [ms], says when. Lines that begin with
        ``#`` are left out.
    rate_hz
        Samples a second, where no column says when.

    Returns
    -------
    Volume
        (lead, sample, 1, 1).

    Raises
    ------
    FileError
        If a cell is no number, rows differ in length, times are uneven, or neither times nor rate are there, or both
        and they differ.
    """
    text = read_text(path, "recording as a table", largest=_LARGEST)
    delimiter = _delimiter(path)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise FileError(f"'{path}' without a row", "a column a lead", "export it again")
    first = [cell.strip() for cell in lines[0].split(delimiter)]
    names = None if all(map(_is_number, first)) else first
    rows = lines if names is None else lines[1:]
    check_size(path, (len(rows), len(first)), 4)
    values = _numbers(path, rows, len(first), delimiter, 1 if names is None else 2)
    times = _time_column(names)
    start = 0.0
    if times is not None:
        number, seconds = times
        rate_of_times, start = _rate(path, values[:, number] * seconds)
        if rate_hz is not None and abs(rate_hz / rate_of_times - 1) > _UNEVEN:
            got = f"a rate of {rate_hz:g} Hz for '{path}', whose times say {rate_of_times:g} Hz"
            raise FileError(got, "one of them", "leave the rate out")
        rate_hz = rate_of_times
        values = np.delete(values, number, 1)
        names = [n for k, n in enumerate(names or []) if k != number]
    if rate_hz is None:
        got = f"the recording '{path}' without a column time"
        raise FileError(got, "times [s], or a rate", "give it with --rate HZ (in Python read(path, rate_hz=HZ))")
    if not values.shape[1]:
        raise FileError(f"'{path}' with times alone", "a column for each lead", "export it again")
    leads, units = _leads(names, values.shape[1], path)
    return Volume.of_signal(values.T.copy(), rate_hz, leads, unit=units, start_s=start, source=str(path))


def _numbers(path: Path, rows: list[str], n: int, delimiter: str, line: int) -> np.ndarray:
    """Values (row, column), float64; an empty cell or n/a is NaN."""
    if not rows:
        raise FileError(f"'{path}' without a row of numbers", "a row for each sample", "export it again")
    made = np.empty((len(rows), n))
    for k, row in enumerate(rows):
        cells = row.split(delimiter)
        if len(cells) != n:
            got = f"{len(cells)} cells in row {line + k} of '{path}'"
            raise FileError(got, f"{n}, as in the first row", "correct the row")
        try:
            made[k] = [float(c) if c.strip() and c.strip().lower() != "n/a" else np.nan for c in cells]
        except ValueError as error:
            bad = next(c for c in cells if not _is_number(c))
            got = f"'{bad.strip()[:40]}' in row {line + k} of '{path}'"
            do = "a recording holds numbers; a table of cases has the columns case and image"
            raise FileError(got, "a number", do) from error
    return made


def _time_column(names: list[str] | None) -> tuple[int, float] | None:
    """Number of the column of times, and how many seconds its unit is."""
    for number, name in enumerate(names or []):
        key = re.sub(r"[\s_\[\](),]+", "_", name.lower()).strip("_")
        if key in _TIMES:
            return number, _TIMES[key]
    return None


def _rate(path: Path, times: np.ndarray) -> tuple[float, float]:
    """Rate [Hz] and first time [s] of even times."""
    steps = np.diff(times)
    step = (times[-1] - times[0]) / max(1, len(steps))
    if not len(steps) or not np.isfinite(times).all() or step <= 0 or np.abs(steps - step).max() > _UNEVEN * step:
        where = int(np.abs(steps - step).argmax()) if len(steps) and np.isfinite(steps).all() else 0
        got = f"the times of '{path}', whose steps are not alike (near row {where + 2})"
        raise FileError(got, "rising times at one rate, to 1 %", "resample the recording to one rate")
    # Printed times are rounded: a rate that is whole to one part in 10,000 is meant to be whole.
    rate = 1 / step
    return (float(round(rate)) if abs(rate / max(round(rate), 1) - 1) < 1e-4 else float(rate)), float(times[0])


def _leads(names: list[str] | None, n: int, path: Path) -> tuple[list[str], list[str]]:
    """Name and unit of each lead, of headers such as ``II [mV]`` or ``II (mV)``."""
    if names is None:
        return [str(k + 1) for k in range(n)], ["intensity"] * n
    leads, units = [], []
    for number, name in enumerate(names):
        match = re.fullmatch(r"(.*?)\s*[\[(]([^\])]*)[\])]", name)
        leads.append((match[1] if match else name).strip() or str(number + 1))
        units.append((match[2].strip() if match else "") or "intensity")
    twice = next((name for name in leads if leads.count(name) > 1), None)
    if twice is not None:
        raise FileError(f"'{path}' with the column {twice} twice", "each lead once", "rename one")
    return leads, units
