"""Counts of attacks: what is counted apart, and intervals that SciPy's beta distribution gives."""

import pytest
from scipy.stats import beta

from regard.core.errors import InputError
from regard.evidence.attacked import success_table, transfer_table


def row(case: str, success: bool, **more: object) -> dict[str, object]:
    base = {
        "case": case, "goal": "keep-change", "attacked": "a", "method": "a", "kind": "attack", "norm": "inf",
        "budget": 0.1, "unit": "HU", "success": success, "success_softened": success, "success_rounded": None,
        "linf": 1.0, "l2": 2.0, "drift": 0.1, "spearman": 0.3, "top_overlap": 0.2,
    }  # fmt: skip
    return {**base, **more}


@pytest.mark.parametrize("k", [0, 3, 8])
def test_shares_have_exact_intervals(k: int) -> None:
    rows = [row(f"c{n}", n < k) for n in range(8)] + [row(f"c{n}", True, kind="blur") for n in range(8)]
    found, control = success_table(rows)
    assert (found["n"], found["n_success"], found["n_softened"], found["n_rounded"]) == (8, k, k, None)
    assert found["low"] == pytest.approx(beta.ppf(0.025, k, 9 - k) if k else 0)
    assert found["high"] == pytest.approx(beta.ppf(0.975, k + 1, 8 - k) if k < 8 else 1)
    assert (control["kind"], control["share"]) == ("blur", 1)


def test_a_case_counts_once() -> None:
    with pytest.raises(InputError, match="'c1' twice"):
        success_table([row("c1", True), row("c1", False)])


def test_transfer_is_attacked_by_seen() -> None:
    rows = [row(c, s, attacked=a, method=m) for c, s, a, m in (
        ("1", True, "a", "a"), ("2", True, "a", "a"), ("1", True, "a", "b"), ("2", False, "a", "b"),
        ("1", False, "b", "b"),
    )]  # fmt: skip
    rows += [row("1", True, kind="blur"), row("1", True, budget=0.2), row("1", True, goal="change-keep")]
    found = transfer_table(rows, goal="keep-change", budget=0.1)
    assert found == {"a": {"a": (2, 2), "b": (1, 2)}, "b": {"b": (0, 1)}}
