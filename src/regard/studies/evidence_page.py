"""The evidence of a run, as its report shows it."""

import csv
from pathlib import Path
from typing import Any

from regard.io.schema import read_json

__all__ = ["evidence_of"]

_SHOWN = ("method", "measure", "control", "value", "low", "high", "null_mean", "difference", "p_adjusted")


def evidence_of(folder: Path) -> tuple[list[dict[str, Any]] | None, dict[str, Any] | None]:
    """Rows over all cases, and verdicts, as they were written; None before the maps have been weighed."""
    if not (folder / "evidence.json").exists():
        return None, None
    verdicts = read_json(folder / "evidence.json", "evidence")["verdicts"]
    with (folder / "evidence.tsv").open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream, dialect="excel-tab") if r["case"] == "*"]
    return [{k: _number(r[k]) for k in _SHOWN} for r in rows], verdicts


def _number(text: str) -> Any:
    if text == "n/a":
        return None
    try:
        return float(text)
    except ValueError:
        return text
