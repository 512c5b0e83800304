"""Two-by-two tables of studies: read, checked, and as logits."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regard.core.errors import CardError, InputError
from regard.io.guard import read_text

__all__ = ["COUNTS", "QUADAS", "Tables", "read_tables", "wilson"]

COUNTS = ("TP", "FN", "FP", "TN")
"""Columns of a table of counts; case does not matter."""

QUADAS = (
    "patient selection", "index test", "reference standard", "flow and timing",
    "applicability: patient selection", "applicability: index test", "applicability: reference standard",
)  # fmt: skip
"""Domains of QUADAS-2 (Whiting et al. 2011, Ann Intern Med 155(8)), judged ``low``, ``high`` or ``unclear``."""

_NAMES = ("study", "author", "studynames", "name")
_LARGEST = 2**22

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tables:
    """Counts of several studies.

    Parameters
    ----------
    names
        Of the studies, one for each row; rows of one study have one name.
    counts
        True positives, false negatives, false positives, true negatives (study, 4).
    columns
        What else the table says of each row, by column.
    """

    names: tuple[str, ...]
    counts: Floats
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def only(self, rows: Sequence[int]) -> "Tables":
        """Some of the rows."""
        columns = {k: tuple(v[n] for n in rows) for k, v in self.columns.items()}
        return Tables(tuple(self.names[n] for n in rows), self.counts[list(rows)], columns)

    @property
    def corrected(self) -> bool:
        """Whether a half is added to every count: where one of the studies has an empty cell."""
        return bool((self.counts == 0).any())

    @property
    def cells(self) -> Floats:
        """The counts, with a half added to each of all studies where one of them is 0."""
        return self.counts + 0.5 if self.corrected else self.counts

    @property
    def logits(self) -> Floats:
        """Logit of sensitivity and of the false positive rate, (study, 2)."""
        tp, fn, fp, tn = self.cells.T
        return np.stack([np.log(tp / fn), np.log(fp / tn)], 1)

    @property
    def variances(self) -> Floats:
        """Their variances within each study, (study, 2)."""
        tp, fn, fp, tn = self.cells.T
        return np.stack([1 / tp + 1 / fn, 1 / fp + 1 / tn], 1)

    @property
    def rates(self) -> Floats:
        """Sensitivity and false positive rate as counted, (study, 2)."""
        tp, fn, fp, tn = self.counts.T
        return np.stack([tp / (tp + fn), fp / (fp + tn)], 1)


def wilson(found: Floats, n: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's interval of shares."""
    z = stats.norm.ppf((1 + level) / 2)
    share, n = np.asarray(found, float) / n, np.asarray(n, float)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def read_tables(path: Path) -> Tables:
    """Read a CSV or TSV with the columns TP, FN, FP, TN, and possibly a study's name and whatever else is told of it.

    Raises
    ------
    CardError
        If a column is missing, or a count is no whole number of at least 0.
    InputError
        If a study has nobody with the condition, or nobody without it.
    """
    text = read_text(path, "table of TP, FN, FP and TN", largest=_LARGEST)
    lines = text.lstrip("\ufeff").splitlines()
    if not lines:
        raise CardError(f"'{path}' without a line", f"a table with the columns {', '.join(COUNTS)}", "check the path")
    delimiter = "\t" if "\t" in lines[0] else ";" if ";" in lines[0] and "," not in lines[0] else ","
    rows = list(csv.DictReader(lines, delimiter=delimiter))
    header = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    lacking = [name for name in COUNTS if name.lower() not in header]
    if lacking or not rows:
        have = ", ".join(map(str, header.values())) or "no row"
        raise CardError(f"'{path}' with {have}", f"the columns {', '.join(COUNTS)}", f"add {', '.join(lacking)}")
    counts = np.array([[_count(r[header[c.lower()]], c, n, path) for c in COUNTS] for n, r in enumerate(rows, 2)])
    named = next((header[n] for n in _NAMES if n in header), None)
    names = tuple(str(r[named]).strip() if named else f"study {n}" for n, r in enumerate(rows, 1))
    for k, who in ((0, "with"), (2, "without")):
        none = np.flatnonzero(counts[:, k : k + 2].sum(1) == 0)
        if len(none):
            n = int(none[0])
            got = f"'{names[n]}' in line {n + 2} of '{path}', with nobody {who} the condition"
            raise InputError(got, "patients of both kinds", "leave it out")
    used = {named, *(header[c.lower()] for c in COUNTS)}
    others = {str(k).strip(): tuple(str(r[k] or "").strip() for r in rows) for k in header.values() if k not in used}
    return Tables(names, counts, others)


def _count(text: str | None, column: str, line: int, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0 and value == round(value)):
        got = f"{column} '{str(text)[:40]}' in line {line} of '{path}'"
        raise CardError(got, "a whole number of patients", "correct it")
    return value
