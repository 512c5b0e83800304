"""Rows of evidence over the cases of a cohort and its subgroups, and the verdicts that they give."""

from collections.abc import Sequence

import numpy as np

from regard.evidence.comparison import Comparison, WeighedMap, adjusted, compare
from regard.evidence.verdict import Verdict, judge

__all__ = ["all_verdicts", "comparisons"]


def comparisons(
    maps: Sequence[WeighedMap], *, by: Sequence[str] = (), by_case: bool = True, seed: int = 0
) -> list[Comparison]:
    """All rows of evidence: over all cases, over the subgroups of each column of ``by``, and case by case."""
    cases = list(dict.fromkeys(m.case for m in maps))
    rows = _rows(maps, "*", "*", seed)
    for column in by:
        for value, members in _subgroups(maps, column).items():
            rows += _rows(members, "*", f"{column}={value}", seed)
    if by_case and len(cases) > 1:
        for case in cases:
            rows += _rows([m for m in maps if m.case == case], case, "*", seed)
    return adjusted(rows)


def all_verdicts(rows: Sequence[Comparison]) -> dict[str, Verdict]:
    """The verdict of each method, by its rows over all cases."""
    over_all = [r for r in rows if r.case == "*" and r.group == "*"]
    return {m: judge([r for r in over_all if r.method == m]) for m in dict.fromkeys(r.method for r in over_all)}


def _rows(maps: Sequence[WeighedMap], case: str, group: str, seed: int) -> list[Comparison]:
    rows = []
    for method in dict.fromkeys(m.method for m in maps):
        own = [m for m in maps if m.method == method]
        for measure in dict.fromkeys(name for m in own for name in m.figures):
            names = dict.fromkeys(c for m in own if measure in m.figures for c in m.figures[measure].controls)
            for control in ("", *names):
                rows.append(compare(own, measure, control, case=case, group=group, seed=seed))
    return rows


def _subgroups(maps: Sequence[WeighedMap], column: str) -> dict[str, list[WeighedMap]]:
    """Maps by what a column says; numbers of more than six values are cut at their median."""
    said = [m.columns.get(column) for m in maps]
    try:
        numbers = [float(v) for v in said if v is not None]
    except ValueError:
        numbers = []
    if len(set(numbers)) > 6:
        middle = float(np.median(numbers))
        names = [
            None if v is None else f"at most {middle:g}" if float(v) <= middle else f"above {middle:g}" for v in said
        ]
    else:
        names = list(said)
    found: dict[str, list[WeighedMap]] = {}
    for m, name in zip(maps, names, strict=True):
        if name is not None:
            found.setdefault(name, []).append(m)
    return dict(sorted(found.items()))
