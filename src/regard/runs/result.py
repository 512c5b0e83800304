"""What a run gives back: where its files are, what it found, and the words for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.core.errors import SomeCasesFailed

__all__ = ["RunResult", "bounds_in_words", "columns_of_text"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run gives back; ``str()`` tells it as the command line does.

    Parameters
    ----------
    folder
        The run folder.
    report
        Its page; None where there is nothing to show.
    failed
        Ids of the cases that failed, told in ``failures.tsv``.
    """

    folder: Path
    report: Path | None = None
    failed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: done; 3: some cases failed."""
        return SomeCasesFailed.exit_code if self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values, as ``--json`` prints it."""
        report = None if self.report is None else str(self.report)
        return {"folder": str(self.folder), "report": report, "failed": list(self.failed)}

    def _last_lines(self) -> list[str]:
        """What is said of every run at the end."""
        failed = f"failed: {len(self.failed)}, told in {self.folder / 'failures.tsv'}"
        report = f"report: {self.report}"
        return [failed] * bool(self.failed) + [report] * (self.report is not None)


def bounds_in_words(low: float, high: float, form: str = ".3g") -> str:
    """An interval in brackets after its value, or nothing where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f" ({low:{form}} to {high:{form}})"


def columns_of_text(rows: Sequence[Mapping[str, str]], columns: Sequence[str] | None = None) -> str:
    """Rows as lines of columns; what is not a number is a dash."""
    if not rows:
        return ""
    names = list(rows[0]) if columns is None else list(columns)
    rows = [{c: "-" if r[c] == "nan" else r[c] for c in names} for r in rows]
    widths = [max(len(c), *(len(r[c]) for r in rows)) for c in names]
    lines = [dict(zip(names, names, strict=True)), *rows]
    return "\n".join("  ".join(r[c].ljust(w) for c, w in zip(names, widths, strict=True)).rstrip() for r in lines)
