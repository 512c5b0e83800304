"""Intervals of any statistic of paired values, with the patient as the unit of resampling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from regard.evidence.intervals import FEWEST_CLUSTERS
from regard.studies.scoring.studentised import AT_LIMIT, Measured, Statistic, of_patients, studentised

__all__ = ["FEW", "Score", "Statistic", "mean_score", "scored"]

_RESAMPLES = 999

FEW = f"none: fewer than {FEWEST_CLUSTERS} patients"
"""What is said of values without an interval."""


@dataclass(frozen=True)
class Score:
    """One figure of a study.

    Parameters
    ----------
    value, low, high
        Figure and bounds; NaN where they are not defined.
    level
        Of the interval.
    n, n_patients
        Cases and patients behind it.
    unit
        ``"1"`` for shares and correlations.
    interval
        How the bounds were made, in words; empty where a study makes its own.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    n_patients: int
    unit: str
    interval: str = ""

    def __str__(self) -> str:
        bounds = "" if np.isnan(self.low) else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g}{bounds}"


def scored(
    statistic: Statistic,
    patients: Sequence[str],
    unit: str = "1",
    *,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = _RESAMPLES,
) -> Score:
    """Value of a statistic with its studentised bootstrap interval over patients (`studentised`).

    Patients are drawn with all of their cases. The same seed draws the same patients, so that two statistics of the
    same cases are compared on the same samples: give their difference as one statistic.

    Parameters
    ----------
    statistic
        Of weights (sample, case); a `Measured` one says on which scale it is studentised.
    patients
        Whose case each is, (case,).
    unit
        Of the value.
    level, seed, n_resamples
        Of the bootstrap.

    Returns
    -------
    Score
        Its bounds are NaN below 10 patients, and where the value is.
    """
    names, own = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    n_patients, n_cases = len(names), len(own)
    measured = statistic if isinstance(statistic, Measured) else Measured(statistic)
    low = high = float("nan")
    how = FEW
    with np.errstate(all="ignore"):
        value = float(measured(np.ones((1, n_cases)))[0]) if n_cases else float("nan")
        if n_patients >= FEWEST_CLUSTERS:
            found = studentised(measured, own, value, level=level, seed=seed, n_resamples=n_resamples)
            low, high, how = found.low, found.high, found.how
    return Score(value, low, high, level, n_cases, n_patients, unit, how)


def mean_score(
    values: Sequence[float],
    patients: Sequence[str],
    unit: str = "1",
    *,
    within: tuple[float, float] | None = None,
    seed: int = 0,
) -> Score:
    """Mean over cases with its interval over patients; NaN is undefined and left out.

    Parameters
    ----------
    values, patients
        One per case.
    unit
        Of the values.
    within
        Range of the values, as 0 and 1 of a Dice coefficient: bounds stay inside, and values that are all at its limit
        have an exact interval.
    seed
        Of the bootstrap.
    """
    kept = [(float(v), p) for v, p in zip(values, patients, strict=True) if np.isfinite(v)]
    array = np.array([v for v, _ in kept])
    owners = [p for _, p in kept]
    found = scored(lambda w: w @ array / w.sum(1), owners, unit, seed=seed)
    if within is None or np.isnan(found.low):
        return found
    bottom, top = within
    if found.low == found.high and found.value in within:
        # Of values inside a range the share of those at its end is at most as large as the mean says.
        own = np.unique(np.asarray(owners, dtype=str), return_inverse=True)[1]
        edges = of_patients(own, found.level, best=found.value == top)
        low, high = (bottom + (top - bottom) * e for e in edges)
        return replace(found, low=low, high=high, interval=AT_LIMIT)
    return replace(found, low=max(found.low, bottom), high=min(found.high, top))
