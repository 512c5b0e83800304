"""Intervals of any statistic of paired values, with the patient as the unit of resampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

from regard.evidence.intervals import FEWEST_CLUSTERS

__all__ = ["Score", "Statistic", "bca", "scored"]

Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Weights of the cases (sample, case), whole numbers of at least 0, to one value per sample."""

_RESAMPLES = 1999


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
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    n_patients: int
    unit: str

    def __str__(self) -> str:
        bounds = "" if np.isnan(self.low) else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g}{bounds}"


def bca(samples: np.ndarray, left_out: np.ndarray, value: float, level: float) -> tuple[float, float]:
    """Bounds by the bias-corrected and accelerated bootstrap (Efron 1987).

    Parameters
    ----------
    samples
        The statistic of each bootstrap sample, (n,).
    left_out
        The statistic without each patient in turn, (n_patients,).
    value
        Of all patients.
    level
        Of the interval.
    """
    known = samples[np.isfinite(samples)]
    if len(known) < 0.9 * len(samples) or np.ptp(known) == 0 or not np.isfinite(value):
        return float("nan"), float("nan")
    # Ties count half, as statistics of counts have many.
    below = ((known < value).sum() + 0.5 * (known == value).sum()) / len(known)
    bias = stats.norm.ppf(np.clip(below, 1 / len(known), 1 - 1 / len(known)))
    away = left_out[np.isfinite(left_out)]
    away = away.mean() - away
    size = (away**2).sum() ** 1.5
    pull = (away**3).sum() / (6 * size) if size > 0 else 0.0
    tails = stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    shifted = stats.norm.cdf(bias + (bias + tails) / (1 - pull * (bias + tails)))
    low, high = np.quantile(known, shifted)
    return float(low), float(high)


def scored(
    statistic: Statistic,
    patients: Sequence[str],
    unit: str = "1",
    *,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = _RESAMPLES,
) -> Score:
    """Value of a statistic with its BCa interval over patients.

    Patients are drawn with all of their cases. The same seed draws the same patients, so that two statistics of the
    same cases are compared on the same samples: give their difference as one statistic.

    Parameters
    ----------
    statistic
        Of weights (sample, case).
    patients
        Whose case each is, (case,).
    unit
        Of the value.
    level, seed, n_resamples
        Of the bootstrap.

    Returns
    -------
    Score
        Its bounds are NaN below 10 patients, or where the statistic does not vary.
    """
    names, own = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    n_patients, n_cases = len(names), len(own)
    with np.errstate(all="ignore"):
        value = float(statistic(np.ones((1, n_cases)))[0]) if n_cases else float("nan")
        low = high = float("nan")
        if n_patients >= FEWEST_CLUSTERS:
            rng = np.random.default_rng(seed)
            drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_resamples)
            samples = statistic(drawn[:, own].astype(float))
            left_out = statistic((1.0 - np.eye(n_patients))[:, own])
            low, high = bca(samples, left_out, value, level)
    return Score(value, low, high, level, n_cases, n_patients, unit)
