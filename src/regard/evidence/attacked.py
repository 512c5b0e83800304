"""How often attacks on explanations succeed, beside controls of their size, with exact intervals."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from regard.core.errors import InputError
from regard.evidence.statistics import exact_interval

__all__ = ["KEYS", "success_table", "transfer_table"]

KEYS = ("goal", "attacked", "method", "kind", "norm", "budget", "unit")
"""What is counted apart."""


def success_table(rows: Sequence[Mapping[str, Any]], *, keys: Sequence[str] = KEYS) -> list[dict[str, Any]]:
    """Share of cases in which prediction and map are as the goal wants, by goal, method, kind and budget.

    Parameters
    ----------
    rows
        Lines of ``attacks.tsv``, as `regard.explainers.attack.AttackResult.rows` gives them, of one case or of many.
    keys
        What is counted apart; everything that the rows differ in, but the case.

    Returns
    -------
    list
        One row for each: the keys, ``n`` cases and ``n_success`` of them, ``share`` with Clopper and Pearson's interval
        ``low`` to ``high``, the numbers on the network with rounded rectifiers (``n_softened``) and after rounding to
        grey levels (``n_rounded``), where known, and medians of what prediction and map did.

    Raises
    ------
    InputError
        If a case is counted twice.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    return [{**dict(zip(keys, group, strict=True)), **_counted(group, held)} for group, held in groups.items()]


def _counted(group: tuple[Any, ...], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cases = [r["case"] for r in rows]
    if len(set(cases)) < len(cases):
        twice = next(c for c in cases if cases.count(c) > 1)
        raise InputError(f"the case '{twice}' twice in {group}", "each case once", "count apart what differs")
    n, k = len(rows), sum(bool(r["success"]) for r in rows)
    low, high = exact_interval(k, n)
    return {
        "n": n, "n_success": k, "share": k / n, "low": low, "high": high,
        **{f"n_{what}": _known(rows, f"success_{what}") for what in ("softened", "rounded")},
        **{f"median_{what}": statistics.median(r[what] for r in rows)
           for what in ("linf", "l2", "drift", "spearman", "top_overlap")},
    }  # fmt: skip


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> int | None:
    values = [r[name] for r in rows if r[name] is not None]
    return sum(map(bool, values)) if values else None


def transfer_table(
    rows: Sequence[Mapping[str, Any]], *, goal: str, budget: float, norm: str = "inf"
) -> dict[str, dict[str, tuple[int, int]]]:
    """Attacked method, to method that sees the image, to successes and cases; of one goal and budget."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    wanted = [
        r for r in rows if (r["kind"], r["goal"], r["budget"], r["norm"]) == ("attack", str(goal), budget, norm)
    ]  # fmt: skip
    for row in success_table(wanted):
        found.setdefault(row["attacked"], {})[row["method"]] = row["n_success"], row["n"]
    return found
