"""Supported, not supported or undetermined: one word for a method, with its reasons and what it is said of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regard.evidence.comparison import ALONE, DRAWN, Comparison
from regard.evidence.intervals import FEWEST_CLUSTERS

__all__ = ["FAITHFUL", "INSERTION", "PLACED", "QUICK", "RESEMBLES", "THRESHOLDS", "Verdict", "judge"]

THRESHOLDS: Mapping[str, tuple[float, str]] = {
    "p": (0.05, "Largest adjusted p at which the map counts as better than a control, and p at which it is worse."),
    "enough patients": (
        20,
        "From here on, not shown better is no better: 8 in 10 cohorts show 0.6 standard deviations.",
    ),
    "resemblance": (0.1, "Rank correlation with a randomised network's map beyond that of surrogates that matters."),
    "the same map": (0.99, "Rank correlation from which on another patient's map is the map itself, and no control."),
}
"""Name to value and why; set before any result was seen, and not tuned since."""

FAITHFUL = "deletion"
"""The measure of faithfulness that decides; others are shown beside it."""

QUICK = "sensitivity-n"
"""The measure that decides where `FAITHFUL` was not taken: the network is asked once for all maps and controls."""

INSERTION = "insertion"
"""Of a signed map the same figure as `FAITHFUL`, and so no second witness: neither judged nor corrected for."""

RESEMBLES = "randomised-similarity"
"""Similarity to the same method's map of a network with drawn weights."""

PLACED = "average-precision"
"""The measure of place that decides, where the truth is known."""

BEATEN_BY_FAITH = (DRAWN, "displaced", "edges", "image", "centred gaussian", "other patient", "randomised network")
"""Controls that a faithful map beats: none knows what this network does with this image at this place."""

BEATEN_BY_PLACE = (DRAWN, "edges", "image", "centred gaussian")
"""Controls that a well-placed map beats; another patient's map may rightly lie at the same place."""

Word = Literal["supported", "not supported", "undetermined"]
_State = Literal["holds", "fails", "open"]


@dataclass(frozen=True)
class Verdict:
    """What was found of one method.

    Parameters
    ----------
    verdict
        One of three words.
    reasons
        A sentence for each criterion.
    scope
        What it is said of.
    """

    verdict: Word
    reasons: tuple[str, ...]
    scope: str


def judge(rows: Sequence[Comparison]) -> Verdict:
    """Judge one method by its rows over all cases.

    Supported: better than every control of `BEATEN_BY_FAITH` by `FAITHFUL` (by `QUICK` where that was not taken), no
    more like a randomised network's map than surrogates are, and, where the truth is known, better than every control
    of `BEATEN_BY_PLACE` by `PLACED`. Not supported: one of these fails. Undetermined: neither, which includes what was
    not measured.

    All controls have to be beaten, so no correction is made for their number (an intersection-union test); Holm has
    been done over the measures of the method.

    Parameters
    ----------
    rows
        Of one method, over all cases.
    """
    n_patients = max((r.n_patients for r in rows), default=0)
    states: list[_State] = []
    reasons: list[str] = []

    def add(found: tuple[_State, str]) -> None:
        states.append(found[0])
        reasons.append(found[1])

    measured = {r.measure for r in rows}
    add(
        _beats(
            rows, QUICK if QUICK in measured and FAITHFUL not in measured else FAITHFUL, BEATEN_BY_FAITH, "faithfulness"
        )
    )
    add(_depends(rows))
    if any(r.measure == PLACED for r in rows):
        add(_beats(rows, PLACED, BEATEN_BY_PLACE, "place against the truth"))
    word: Word = "undetermined"
    if "fails" in states:
        word = "not supported"
    elif states and all(s == "holds" for s in states):
        word = "supported"
    scope = "for this image only" if n_patients <= 1 else f"for {n_patients} patients and 1 network"
    return Verdict(word, tuple(reasons), scope)


def _threshold(name: str) -> float:
    return THRESHOLDS[name][0]


def _state(row: Comparison) -> _State:
    """Whether the map is better than one control, worse or no better, or nothing can be said."""
    largest = _threshold("p")
    if row.n_patients < FEWEST_CLUSTERS and row.control != DRAWN:
        # Too few patients for a test after Holm: the map has to be better in every one of them.
        if row.everywhere == 1:
            return "holds"
        return "fails" if row.p_worse <= largest else "open"
    if row.p_adjusted <= largest:
        return "holds"
    if row.p_worse <= largest or (row.n_patients >= _threshold("enough patients") and row.p > largest):
        return "fails"
    return "open"


def _beats(rows: Sequence[Comparison], measure: str, controls: Sequence[str], what: str) -> tuple[_State, str]:
    found = {r.control: r for r in rows if r.measure == measure and r.control in controls}
    if DRAWN not in found:
        return "open", f"{what.capitalize()} ({measure}) was not measured against surrogates."
    states = {name: _state(row) for name, row in found.items()}
    missing = [c for c in controls if c not in found]
    left_out = f" Not compared with: {', '.join(missing)}." if missing else ""
    least = min(found.values(), key=lambda r: r.difference)
    about = f"{what.capitalize()} ({measure}): {_figure(least)}"
    failing = [n for n, s in states.items() if s == "fails"]
    if failing:
        how = "worse than" if any(found[n].p_worse <= _threshold("p") for n in failing) else "no better than"
        worst = min((found[n] for n in failing), key=lambda r: r.difference)
        return "fails", f"{what.capitalize()} ({measure}): {how} {', '.join(failing)}; {_against(worst)}.{left_out}"
    open_ones = [n for n, s in states.items() if s == "open"]
    if open_ones:
        first = found[open_ones[0]]
        return "open", f"{about}; not shown to be better than {', '.join(open_ones)}: {_why(first)}.{left_out}"
    return "holds", f"{about}; better than all of {', '.join(found)}, the nearest being {_against(least)}.{left_out}"


def _figure(row: Comparison) -> str:
    bounds = "" if np.isnan(row.low) else f" ({row.low:.3g} to {row.high:.3g})"
    unit = "" if row.unit == "1" else f" {row.unit}"
    return f"{row.value:.3g}{bounds}{unit}"


def _against(row: Comparison) -> str:
    p = "" if np.isnan(row.p_adjusted) else f", p = {row.p_adjusted:.2g} after Holm"
    return f"{row.control}, {row.null_mean:.3g}{p}"


def _why(row: Comparison) -> str:
    if row.control == DRAWN and np.isnan(row.p):
        return f"fewer than {ALONE} surrogates a case, and fewer than {FEWEST_CLUSTERS} patients"
    if row.test == "rank" and row.p <= _threshold("p"):
        return f"p = {row.p:.2g}, and {row.p_adjusted:.2g} after Holm; more surrogates (--n-null) would tell"
    if row.n_patients < FEWEST_CLUSTERS and row.control != DRAWN:
        return f"{row.control} reaches {row.null_mean:.3g}, better in {100 * row.everywhere:.0f} % of {row.n_patients}"
    return f"p = {row.p:.2g}, {row.p_adjusted:.2g} after Holm, with {row.n_patients} patients"


def _depends(rows: Sequence[Comparison]) -> tuple[_State, str]:
    """Whether the map depends on the weights."""
    row = next((r for r in rows if r.measure == RESEMBLES and r.control == DRAWN), None)
    if row is None or np.isnan(row.difference):
        return "open", "Dependence on the weights was not measured."
    excess = -row.difference
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    alike, chance = round(row.value, 2) + 0.0, round(row.null_mean, 2) + 0.0
    said = f"rank correlation with a randomised network's map {alike:.2f}, that of surrogates {chance:.2f}"
    if excess <= _threshold("resemblance"):
        return "holds", f"It depends on the weights: {said}."
    if row.p_worse <= _threshold("p"):
        return "fails", f"It hardly depends on the weights: {said} (p = {row.p_worse:.2g})."
    return "open", f"Whether it depends on the weights is open: {said} (p = {row.p_worse:.2g})."
