"""What a weighing writes for all to read: ``evidence.tsv`` and ``evidence.json``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.evidence.comparison import Comparison, Figure, WeighedMap
from regard.evidence.verdict import Verdict
from regard.io.atomic import write_json, write_tsv

__all__ = ["COLUMNS", "evidence_rows", "weighed_map", "write_evidence"]

COLUMNS = (
    *("case", "group", "method", "target", "measure", "control", "value", "low", "high", "n", "n_patients", "unit"),
    *("direction", "null_mean", "p", "p_adjusted", "difference", "difference_low", "difference_high", "effect"),
    *("everywhere", "p_worse", "test", "attainable", "share", "steady", "n_null"),
)
"""Columns of ``evidence.tsv``."""

_SHOWN = {
    "group": "group", "method": "method", "measure": "measure", "control": "control", "value": "value", "low": "low",
    "high": "high", "unit": "unit", "attainable": "attainable",
    "share": "share of it", "null_mean": "control's mean", "difference": "better by", "effect": "effect size",
    "p": "p", "p_adjusted": "p after Holm", "n_patients": "patients",
}  # fmt: skip


def write_evidence(
    folder: Path, rows: Sequence[Comparison], verdicts: Mapping[str, Verdict], notes: Mapping[str, Sequence[str]]
) -> None:
    """Write ``evidence.tsv`` and ``evidence.json``."""
    write_tsv(
        folder / "evidence.tsv",
        COLUMNS,
        [[getattr(r, c) or None if c in ("control", "test") else getattr(r, c) for c in COLUMNS] for r in rows],
    )
    said = {
        m: {"verdict": v.verdict, "reasons": v.reasons, "scope": v.scope, "notes": notes.get(m, ())}
        for m, v in verdicts.items()
    }
    write_json(folder / "evidence.json", "evidence", {"verdicts": said})


def evidence_rows(rows: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Rows over all cases as the report shows them."""
    over_all = [r for r in rows if r.case == "*"]
    grouped = any(r.group != "*" for r in over_all)
    found = []
    for r in over_all:
        row = {shown: _cell(getattr(r, name)) for name, shown in _SHOWN.items() if grouped or name != "group"}
        found.append({k: "all" if k == "group" and v == "*" else v for k, v in row.items()})
    return found


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return value or None if isinstance(value, str) else value


def weighed_map(said: Mapping[str, Any]) -> WeighedMap:
    """Read a weighed map back from its plain values; null is NaN."""
    figures = {
        name: Figure(
            _float(f["value"]), f["unit"], f["direction"], f["family"],
            {control: [_float(v) for v in values] for control, values in f["controls"].items()},
            _float(f.get("attainable")), _float(f.get("steady")), bool(f.get("stopped", False)),
        )
        for name, f in said["figures"].items()
    }  # fmt: skip
    return WeighedMap(**{**said, "figures": figures, "notes": tuple(said["notes"])})


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
