"""A method's figures beside those of its controls, over the patients of a cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from regard.evidence.intervals import FEWEST_CLUSTERS
from regard.evidence.measure import Direction
from regard.evidence.statistics import (
    clustered_interval,
    effect_size,
    holm,
    patient_means,
    rank_p,
    sign_flip_p,
)

__all__ = ["ALONE", "DRAWN", "FILLING", "Comparison", "Figure", "WeighedMap", "adjusted", "compare"]

DRAWN = "surrogate"
"""The control that is drawn many times; of every other control with several maps the best one counts."""

FILLING = "filling"
"""Family of the figures of single fillings."""

ALONE = 99
"""Fewest draws that a p-value is made of by rank."""


@dataclass(frozen=True)
class Figure:
    """What one measure gave for one map and its controls.

    Parameters
    ----------
    value, unit, direction, family
        As the measure says; NaN is undefined.
    controls
        Values of each control's maps, by its name.
    attainable, steady
        As `regard.evidence.measure.Measured`.
    stopped
        Whether fewer surrogates were drawn than were asked for, as no further one could change the verdict.
    """

    value: float
    unit: str
    direction: Direction
    family: str
    controls: Mapping[str, Sequence[float]] = field(default_factory=dict)
    attainable: float = float("nan")
    steady: float = float("nan")
    stopped: bool = False


@dataclass(frozen=True)
class WeighedMap:
    """All figures of one map of one case.

    Parameters
    ----------
    case, patient, method, target
        What it is a map of.
    figures
        By the measure's name.
    notes
        Why a control or a measure is missing, and what part of the map was carried.
    columns
        What the table of cases says, for subgroups.
    quantity
        What the map's numbers are; empty where that is not known.
    """

    case: str
    patient: str
    method: str
    target: str
    figures: Mapping[str, Figure]
    notes: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    quantity: str = ""


@dataclass(frozen=True)
class Comparison:
    """One row of evidence: a method by one measure, alone or against one control.

    Parameters
    ----------
    case, group
        ``"*"`` for all.
    method, target, measure, control
        ``control`` is empty for the method's own figure alone.
    family, unit, direction
        Of the measure.
    n, n_patients
        Cases and patients with a figure for both.
    value, low, high
        Mean over patients and its interval.
    null_mean
        Mean of the control.
    difference, difference_low, difference_high
        Better by how much, over patients: positive is in the method's favour whatever the measure's direction.
    effect
        Paired standardised mean difference.
    everywhere
        Share of the patients in whom the map is better than the control.
    p, p_adjusted, p_worse
        One-sided: that it is better, the same after Holm over the measures of one method, that it is worse.
    test
        ``"rank"`` among drawn controls, ``"rank, stopped"`` among those that were drawn until no other could change the
        verdict, or ``"sign flips"`` of patients; empty where nothing was tested.
    n_null
        Surrogates of each case behind the row; 0 for other controls.
    attainable, steady
        Means over patients of what the parts' own measured effects reach, and of how far fillings are free of their
        borders.
    share
        Share of the attainable above the control: (value - null_mean) / (attainable - null_mean).
    quantity
        What the map's numbers are.
    """

    case: str
    group: str
    method: str
    target: str
    measure: str
    control: str
    family: str
    unit: str
    direction: Direction
    n: int
    n_patients: int
    value: float
    low: float
    high: float
    null_mean: float = float("nan")
    difference: float = float("nan")
    difference_low: float = float("nan")
    difference_high: float = float("nan")
    effect: float = float("nan")
    everywhere: float = float("nan")
    p: float = float("nan")
    p_worse: float = float("nan")
    p_adjusted: float = float("nan")
    test: str = ""
    attainable: float = float("nan")
    share: float = float("nan")
    steady: float = float("nan")
    quantity: str = ""
    n_null: int = 0


def compare(
    maps: Sequence[WeighedMap], measure: str, control: str = "", *, case: str = "*", group: str = "*", seed: int = 0
) -> Comparison:
    """Compare one method with one control by one measure.

    From 10 patients up the patients' differences are tested by sign flips. Below, the method's mean is ranked among the
    means of as many cohorts of surrogates as were drawn for each case, and other controls are tested by sign flips
    where there are two patients at least: with one patient there is nothing to flip.

    Parameters
    ----------
    maps
        The same method's maps, one per case.
    measure, control
        Names; no control: the method's own figure.
    case, group
        What the row is called.
    seed
        Of intervals and tests.
    """
    having = [m for m in maps if measure in m.figures and not np.isnan(m.figures[measure].value)]
    if control:
        having = [m for m in having if _known(m.figures[measure].controls.get(control, ()))]
    first = (having or [m for m in maps if measure in m.figures])[0]
    about = first.figures[measure]
    patients = [m.patient for m in having]
    values = [m.figures[measure].value for m in having]
    own = clustered_interval(values, patients, seed=seed)
    row = Comparison(
        case, group, first.method, first.target, measure, control, about.family, about.unit, about.direction,
        len(having), own.n, own.value, own.low, own.high,
        attainable=_mean([m.figures[measure].attainable for m in having], patients),
        steady=_mean([m.figures[measure].steady for m in having], patients),
        quantity=first.quantity,
    )  # fmt: skip
    if not control or not having:
        return row
    better = 1.0 if about.direction == "higher" else -1.0
    table = _table([m.figures[measure].controls[control] for m in having])
    # Columns are draws, or the ways in which a control can be read; patients are the rows after averaging their cases.
    by_patient = _by_patient(table, patients)
    mine = np.array(list(patient_means(values, patients).values()))
    drawn = control == DRAWN
    if drawn:
        null = np.nanmean(by_patient, axis=1)
    else:
        null = by_patient[:, int(np.argmax(better * np.nanmean(by_patient, axis=0)))]
    differences = better * (mine - null)
    spread = clustered_interval(list(differences), list(map(str, range(len(differences)))), seed=seed)
    chance = float(null.mean())
    row = replace(
        row,
        null_mean=chance,
        share=(row.value - chance) / (row.attainable - chance) if row.attainable > chance else float("nan"),
        difference=float(differences.mean()),
        difference_low=spread.low,
        difference_high=spread.high,
        effect=effect_size(list(differences)),
        everywhere=float((differences > 0).mean()),
        n_null=by_patient.shape[1] if drawn else 0,
    )
    if len(mine) >= FEWEST_CLUSTERS or (not drawn and len(mine) > 1):
        return replace(
            row,
            p=sign_flip_p(list(differences), seed=seed),
            p_worse=sign_flip_p(list(differences), side="less", seed=seed),
            test="sign flips",
        )
    stopped = all(m.figures[measure].stopped for m in having)
    if drawn and (by_patient.shape[1] >= ALONE or stopped):
        cohorts = list(better * np.nanmean(by_patient, axis=0))
        reached = better * float(mine.mean())
        return replace(
            row,
            p=rank_p(reached, cohorts),
            p_worse=rank_p(reached, cohorts, "less"),
            test="rank, stopped" if stopped else "rank",
        )
    return row


def adjusted(rows: Sequence[Comparison]) -> list[Comparison]:
    """Holm over the measures of one method, within one control and one set of cases.

    Not over methods: what is said of one must not depend on which others were weighed beside it.
    """
    found: dict[int, Comparison] = {}

    def family(n: int) -> tuple[str, str, str, str]:
        return rows[n].case, rows[n].group.partition("=")[0], rows[n].control, rows[n].method

    for _, numbers in groupby(sorted(range(len(rows)), key=family), key=family):
        these = list(numbers)
        # Figures of single fillings are looked at, and give no verdict of their own.
        tested = [rows[n].p if rows[n].family != FILLING else float("nan") for n in these]
        for n, p in zip(these, holm(tested), strict=True):
            found[n] = replace(rows[n], p_adjusted=p)
    return [found[n] for n in range(len(rows))]


def _mean(values: Sequence[float], patients: Sequence[str]) -> float:
    own = list(patient_means(values, patients).values())
    return float(np.mean(own)) if own else float("nan")


def _known(values: Sequence[float]) -> bool:
    return len(values) > 0 and not all(np.isnan(v) for v in values)


def _table(controls: Sequence[Sequence[float]]) -> np.ndarray:
    width = min(len(c) for c in controls)
    return np.array([list(c)[:width] for c in controls], dtype=float)


def _by_patient(table: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    order = list(dict.fromkeys(patients))
    own = [np.nanmean(table[[p == patient for p in patients]], axis=0) for patient in order]
    return np.array(own)
