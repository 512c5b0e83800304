"""Supported, not supported or undetermined: one word for a method, with its reasons and what it is said of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regard.core.quantity import Quantity
from regard.evidence.comparison import ALONE, DRAWN, FILLING, Comparison
from regard.evidence.intervals import FEWEST_CLUSTERS

__all__ = ["FAITHFUL", "INSERTION", "PLACED", "QUICK", "RESEMBLES", "THRESHOLDS", "Verdict", "judge"]

THRESHOLDS: Mapping[str, tuple[float, str]] = {
    "p": (0.05, "Largest adjusted p at which the map counts as better than a control, and p at which it is worse."),
    "enough patients": (
        20,
        "From here on, not shown better is no better: 8 in 10 cohorts show 0.6 standard deviations.",
    ),
    "resemblance": (0.1, "Rank correlation with a randomised network's map beyond that of surrogates that matters."),
    "share": (
        0.9,
        "Least share of the attainable: of development cases exact maps had 0.98 or more, shifts by 2 up to 0.85.",
    ),
    "share of an effect": (
        0.88,
        "The same of an effect, whose windows overlap: exact maps had 0.90 or more, wrong ones up to 0.86.",
    ),
    "refuted share": (0.5, "Only below this share of the attainable can a control refute a map."),
    "attainable": (
        0.3,
        "Least correlation of the parts' own measured effects: below, no map can be told from another.",
    ),
    "steady": (
        0.5,
        "Least correlation of what a filling does with hard and with soft borders: below, it is not neutral.",
    ),
    "quick patients": (12, "Fewest patients of a quick measure that can support."),
    "the same map": (0.99, "Rank correlation from which on another patient's map is the map itself, and no control."),
}
"""Name to value and why; chosen on development cases, and set before any reported result was seen."""

FAITHFUL = "deletion"
"""The measure of faithfulness that decides; others are shown beside it."""

QUICK = "sensitivity-n"
"""The measure that decides where `FAITHFUL` was not taken: the network is asked once for all maps and controls."""

INSERTION = "insertion"
"""Of a signed map the same figure as `FAITHFUL`, and so no second witness: neither judged nor corrected for."""

RESEMBLES = "randomised-similarity"
"""Similarity to the same method's map of a network with drawn weights."""

RANDOMISED = "randomised network"
"""The control that is a randomised network's map."""

PLACED = "average-precision"
"""The measure of place that decides, where the truth is known."""

BEATEN_BY_FAITH = (DRAWN, "displaced", "edges", "image", "centred gaussian", "other patient", RANDOMISED)
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

    Supported: better than every control of `BEATEN_BY_FAITH` by `FAITHFUL` or by `QUICK`, and worse by neither, with
    the stated share of what is attainable on the same parts, and with fillings that agree and are neutral; no more like
    a randomised network's map than surrogates are, or more faithful than that one; and, where the truth is known,
    better than every control of `BEATEN_BY_PLACE` by `PLACED`. Not supported: one of these fails. Undetermined:
    neither, which includes what was not measured.

    All controls have to be beaten, so no correction is made for their number (an intersection-union test); Holm has
    been done over the measures of the method.

    Parameters
    ----------
    rows
        Of one method, over all cases.
    """
    n_patients = max((r.n_patients for r in rows), default=0)
    measured = {r.measure for r in rows}
    measures = tuple(m for m in (FAITHFUL, QUICK) if m in measured) or (FAITHFUL,)
    faithful = _faithful(rows, measures, n_patients)
    found = [faithful, _depends(rows, measures)]
    if any(r.measure == PLACED for r in rows):
        found.append(_beats(rows, (PLACED,), BEATEN_BY_PLACE, "place against the truth"))
    states = [state for state, _ in found]
    word: Word = "undetermined"
    if "fails" in states:
        word = "not supported"
    elif all(s == "holds" for s in states):
        word = "supported"
    scope = "for this image only" if n_patients <= 1 else f"for {n_patients} patients and 1 network"
    return Verdict(word, tuple(reason for _, reason in found), scope)


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


def _beats(
    rows: Sequence[Comparison], measures: Sequence[str], controls: Sequence[str], what: str
) -> tuple[_State, str]:
    """Whether the map is better than each control by one of the measures, and worse by none."""
    name = f"{what.capitalize()} ({' and '.join(measures)})"
    found = {c: [r for r in rows if r.measure in measures and r.control == c] for c in controls}
    found = {c: own for c, own in found.items() if own}
    if DRAWN not in found:
        return "open", f"{name} was not measured against surrogates."
    states: dict[str, _State] = {c: _together(own) for c, own in found.items()}
    missing = [c for c in controls if c not in found]
    left_out = f" Not compared with: {', '.join(missing)}." if missing else ""

    def nearest(among: Sequence[str]) -> Comparison:
        return min((r for c in among for r in found[c] if r.measure == measures[0]), key=lambda r: r.difference)

    about = f"{name}: {_figure(found[DRAWN][0])}"
    failing = [c for c, s in states.items() if s == "fails"]
    if failing:
        worse = any(r.p_worse <= _threshold("p") for c in failing for r in found[c])
        how = "worse than" if worse else "no better than"
        return "fails", f"{name}: {how} {', '.join(failing)}; {_against(nearest(failing))}.{left_out}"
    unsure = [c for c, s in states.items() if s == "open"]
    if unsure:
        return (
            "open",
            f"{about}; not shown to be better than {', '.join(unsure)}: {_why(found[unsure[0]][0])}.{left_out}",
        )
    beaten = f"better than all of {', '.join(found)}, the nearest being {_against(nearest(list(found)))}"
    return "holds", f"{about}; {beaten}.{left_out}"


def _together(rows: Sequence[Comparison]) -> _State:
    """One control by one measure or two."""
    states = [_state(r) for r in rows]
    worse = any(r.p_worse <= _threshold("p") for r in rows)
    if "holds" in states:
        return "open" if worse else "holds"
    return "fails" if "fails" in states else "open"


def _share(rows: Sequence[Comparison], measure: str) -> tuple[float, str, float]:
    """The lowest share of the attainable, by which figure, and the least that is asked; NaN where none was measured."""
    chance = [r for r in rows if r.measure == measure and r.control == DRAWN]
    own = [r for r in [*chance, *_looked(rows)] if not np.isnan(r.share) and not np.isnan(r.attainable)]
    effect = any(r.quantity == Quantity.EFFECT for r in chance)
    least = _threshold("share of an effect" if effect else "share")
    if not own:
        return float("nan"), "", least
    lowest = min(own, key=lambda r: r.share)
    return lowest.share, lowest.measure, least


def _faithful(rows: Sequence[Comparison], measures: Sequence[str], n_patients: int) -> tuple[_State, str]:
    """Whether the map is better than its controls, by enough, with fillings that can tell."""
    state, reason = _beats(rows, measures, BEATEN_BY_FAITH, "faithfulness")
    if not any(r.measure == measures[0] and r.control == DRAWN for r in rows):
        return state, reason
    why = _cannot_tell(rows)
    if why:
        return "open", f"{reason} {why}"
    share, lowest, least = _share(rows, measures[0])
    if np.isnan(share):
        return ("fails", reason) if state == "fails" else ("open", f"{reason} What is attainable was not measured.")
    told = f"{100 * share:.0f} % of what is attainable on the same parts above chance ({lowest})"
    if state == "fails":
        if share >= _threshold("refuted share"):
            return "open", f"{reason} Yet it has {told}: what it is compared with is as good here."
        return "fails", f"{reason} It has {told}."
    if state == "holds" and share < least:
        asked = f"{100 * least:.0f} % is asked."
        if any(r.quantity == Quantity.EFFECT for r in rows):
            asked += " Of windows that overlap a place shows the mean; with a stride as wide as they are, its own."
        return "open", f"{reason} Better than chance is not enough: it has only {told}, and {asked}"
    reason = f"{reason} It has {told}."
    if state == "holds" and measures == (QUICK,) and n_patients < _threshold("quick patients"):
        few = f"a quick measure on {n_patients} patient{'' if n_patients == 1 else 's'}"
        return "open", f"{reason} But it is {few}: take the full one, or {_threshold('quick patients'):.0f} patients."
    return state, reason


def _looked(rows: Sequence[Comparison]) -> list[Comparison]:
    """Rows of single fillings against chance."""
    return [r for r in rows if r.family == FILLING and r.control == DRAWN]


def _cannot_tell(rows: Sequence[Comparison]) -> str:
    """Why fillings can tell no map from another here; empty where they can."""
    looked = {r.measure.partition("/")[2]: r for r in _looked(rows)}
    first = next((r for r in looked.values() if not np.isnan(r.attainable)), None)
    if first is None:
        return ""
    if first.steady < _threshold("steady"):
        return (
            "No filling is neutral here, as for a network that looks at edges or texture: what filled parts do goes "
            f"along with what they do at soft borders by {first.steady:.2f} only."
        )
    if first.attainable < _threshold("attainable"):
        return (
            f"Fillings cannot tell here: even the measured effects of single parts say what sets of them do by "
            f"{first.attainable:.2f} only."
        )
    largest = _threshold("p")
    better = [name for name, r in looked.items() if r.p <= largest]
    worse = [name for name, r in looked.items() if r.p_worse <= largest]
    if better and worse:
        return f"The fillings disagree: better than surrogates with {', '.join(better)}, worse with {', '.join(worse)}."
    return ""


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
    if row.test == "rank, stopped":
        return f"p = {row.p:.2g} among {row.n_null} surrogates, and no further one could change this word"
    if row.test == "rank" and row.p <= _threshold("p"):
        return f"p = {row.p:.2g}, and {row.p_adjusted:.2g} after Holm; more surrogates (--n-null) would tell"
    if row.n_patients < FEWEST_CLUSTERS and row.control != DRAWN:
        return f"{row.control} reaches {row.null_mean:.3g}, better in {100 * row.everywhere:.0f} % of {row.n_patients}"
    return f"p = {row.p:.2g}, {row.p_adjusted:.2g} after Holm, with {row.n_patients} patients"


def _depends(rows: Sequence[Comparison], measures: Sequence[str]) -> tuple[_State, str]:
    """Whether the map depends on the weights: unlike a randomised network's, or as faithful as that one is not."""
    row = next((r for r in rows if r.measure == RESEMBLES and r.control == DRAWN), None)
    if row is None or np.isnan(row.difference):
        return "open", "Dependence on the weights was not measured."
    excess = -row.difference
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    alike, chance = round(row.value, 2) + 0.0, round(row.null_mean, 2) + 0.0
    said = f"rank correlation with a randomised network's map {alike:.2f}, that of surrogates {chance:.2f}"
    if excess <= _threshold("resemblance"):
        return "holds", f"It depends on the weights: {said}."
    share, _, least = _share(rows, measures[0])
    attains = share >= least
    randomised = [r for r in rows if r.measure in measures and r.control == RANDOMISED]
    if attains and randomised and _together(randomised) == "holds":
        # The image is a factor of both maps; what tells them apart has been measured.
        return "holds", f"It depends on the weights, as a randomised network's map is less faithful: {said}."
    if row.p_worse <= _threshold("p") and not attains:
        return "fails", f"It hardly depends on the weights: {said} (p = {row.p_worse:.2g})."
    return "open", f"Whether it depends on the weights is open: {said} (p = {row.p_worse:.2g})."
