"""Regions of signals: a table of intervals in seconds, such as the waves of a heart beat or events."""

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.core.errors import CardError, InputError
from regard.core.volume import Volume
from regard.io.delimited import read_rows
from regard.io.first_bytes import first_bytes
from regard.io.guard import exists

__all__ = ["Interval", "interval_region", "is_interval_table", "read_intervals"]

_LABELS = ("label", "trial_type", "wave", "event")
_FINEST_HZ = 4000.0
_MOST_CELLS = 2**24


class Interval(NamedTuple):
    """From when to when [s], and what it is."""

    onset_s: float
    offset_s: float
    label: str


def is_interval_table(path: Path) -> bool:
    """Whether a file is a table with a column ``onset``: tabs, or commas in a ``.csv``."""
    if path.suffix.lower() not in (".tsv", ".csv") or not exists(path) or path.is_dir():
        return False
    first = first_bytes(path).decode("utf-8-sig", "replace").splitlines()[:1]
    return bool(first) and "onset" in [c.strip() for c in re.split("[\t,]", first[0])]


def read_intervals(path: Path) -> list[Interval]:
    """Read a table of intervals: ``onset`` [s], ``offset`` or ``duration`` [s], and ``label``.

    Raises
    ------
    CardError
        If a column is missing, a time is no number, or an interval ends before it begins.
    """
    rows = read_rows(path, "table of intervals")
    header = list(rows[0]) if rows else []
    end = next((c for c in ("offset", "duration") if c in header), None)
    label = next((c for c in _LABELS if c in header), None)
    if "onset" not in header or end is None:
        got = f"'{path}' with the columns {', '.join(header) or 'none'}"
        raise CardError(got, "onset and offset (or duration) in seconds, and label", "correct the table")
    found = []
    for row in rows:
        onset, last = (_seconds(row[c], path) for c in ("onset", end))
        last = onset + last if end == "duration" else last
        if last < onset:
            raise CardError(f"an interval from {onset:g} to {last:g} s in '{path}'", "a later end", "correct the table")
        found.append(Interval(onset, last, row[label] if label else ""))
    return found


def _seconds(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e9:
        raise CardError(f"'{text[:40]}' in '{path}'", "seconds", "correct the table")
    return value


def interval_region(path: Path, label: str = "") -> Volume:
    """The intervals of a label, or all of them, as a mask over time.

    Returns
    -------
    Volume
        (1, sample, 1, 1) of 1 and 0, unit ``"label"``, fine enough to be carried to the grid of any recording.

    Raises
    ------
    InputError
        If no interval has the label.
    """
    every = read_intervals(path)
    taken = [i for i in every if label in ("", i.label)]
    if not taken:
        present = ", ".join(dict.fromkeys(i.label for i in every if i.label)) or "none"
        raise InputError(f"the region {path}#{label}, of which there is no interval", f"a label among {present}")
    start, end = min(i.onset_s for i in taken), max(i.offset_s for i in taken)
    rate = min(_FINEST_HZ, _MOST_CELLS / max(end - start, 1e-3))
    n = math.ceil((end - start) * rate) + 3
    centres = start + (np.arange(n) - 1) / rate
    inside = np.zeros(n, dtype=np.float32)
    for interval in taken:
        # A marked instant is the one cell that holds it.
        reach = 0.5 / rate if interval.offset_s == interval.onset_s else 1e-9
        inside[(centres >= interval.onset_s - reach) & (centres <= interval.offset_s + reach)] = 1.0
    return Volume.of_signal(inside, rate, [label or "all"], unit="label", start_s=float(centres[0]), source=str(path))
