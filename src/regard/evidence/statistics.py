"""Tests and intervals over patients: the unit is the patient, whose cases are averaged first.

One patient has no spread: there the map's rank among its surrogates is all that can be said.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from regard.evidence.intervals import FEWEST_CLUSTERS, Interval, mean_interval

__all__ = [
    "clustered_interval",
    "difference_interval",
    "effect_size",
    "exact_interval",
    "holm",
    "patient_means",
    "rank_p",
    "sign_flip_p",
]

Side = Literal["greater", "less"]

_FLIPS = 9999
_ENUMERATED = 13
_RESAMPLES = 1999


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979); NaN was not tested, stays and does not count."""
    p = np.asarray(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    found = np.full(len(p), np.nan)
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(v) for v in found]


def rank_p(value: float, null: Sequence[float], side: Side = "greater") -> float:
    """Share of the controls that do as well, the map itself counted among them.

    (1 + number of controls at least as large) / (1 + number of controls): exact when map and controls are exchangeable
    (Phipson and Smyth 2010). NaN controls are left out; NaN without any.
    """
    kept = np.asarray([v for v in null if not np.isnan(v)], dtype=float)
    if not len(kept) or np.isnan(value):
        return float("nan")
    as_well = kept >= value if side == "greater" else kept <= value
    return float((1 + as_well.sum()) / (1 + len(kept)))


def sign_flip_p(differences: Sequence[float], *, side: Side = "greater", seed: int = 0) -> float:
    """Paired permutation test of patients' differences: under the null each is as likely to have the other sign.

    All 2^n signs up to n = 13, 9999 random ones and the +1 correction beyond (Fisher; Phipson and Smyth 2010).
    """
    kept = np.asarray([d for d in differences if not np.isnan(d)], dtype=float)
    if len(kept) == 0:
        return float("nan")
    whole = len(kept) <= _ENUMERATED
    if whole:
        flips = 1.0 - 2.0 * ((np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))) & 1)
    else:
        flips = np.random.default_rng(seed).choice([-1.0, 1.0], (_FLIPS, len(kept)))
    null, observed = flips @ kept, kept.sum()
    # Sums that differ by rounding only are equal.
    near = 1e-12 * np.abs(kept).sum()
    reached = int((null >= observed - near).sum() if side == "greater" else (null <= observed + near).sum())
    return reached / len(null) if whole else (reached + 1) / (len(null) + 1)


def effect_size(differences: Sequence[float]) -> float:
    """Mean over standard deviation of patients' differences, paired and standardised; NaN without spread."""
    kept = np.asarray([d for d in differences if not np.isnan(d)], dtype=float)
    if len(kept) < 2 or kept.std(ddof=1) == 0:
        return float("nan")
    return float(kept.mean() / kept.std(ddof=1))


def patient_means(values: Sequence[float], patients: Sequence[str]) -> dict[str, float]:
    """Mean of each patient's values, NaN left out; patients without any value are left out."""
    found: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        if not np.isnan(value):
            found.setdefault(patient, []).append(value)
    return {patient: float(np.mean(own)) for patient, own in found.items()}


def clustered_interval(
    values: Sequence[float], patients: Sequence[str], *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean over patients with its studentised bootstrap interval (`regard.evidence.intervals.mean_interval`).

    Patients are drawn, never cases; each counts once.

    Parameters
    ----------
    values
        One per case; NaN is undefined and left out.
    patients
        Whose case it is.
    level
        Of the interval.
    seed
        Of the resampling.

    Returns
    -------
    Interval
        Bounds are NaN below `regard.evidence.intervals.FEWEST_CLUSTERS` patients, or without spread.
    """
    return mean_interval(list(patient_means(values, patients).values()), level=level, seed=seed)


def difference_interval(
    first: Sequence[float], second: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of one group of patients minus that of another, with its studentised bootstrap interval.

    Each group is resampled by itself, with an error of its own (as Welch's test has).

    Parameters
    ----------
    first, second
        One value per patient; NaN is left out.
    level
        Of the interval.
    seed
        Of the resampling.

    Returns
    -------
    Interval
        ``n`` counts both groups; no bounds with fewer than 10 patients in one of them, or without spread.
    """
    groups = [np.asarray([v for v in g if not np.isnan(v)], dtype=float) for g in (first, second)]
    n = sum(len(g) for g in groups)
    value = float(groups[0].mean() - groups[1].mean()) if all(len(g) for g in groups) else float("nan")
    if min(len(g) for g in groups) < FEWEST_CLUSTERS or all(np.ptp(g) == 0 for g in groups):
        return Interval(value, float("nan"), float("nan"), level, n)
    rng = np.random.default_rng(seed)
    drawn = [g[rng.integers(0, len(g), (_RESAMPLES, len(g)))] for g in groups]
    means = drawn[0].mean(1) - drawn[1].mean(1)
    errors = np.sqrt(sum(d.var(1, ddof=1) / d.shape[1] for d in drawn))
    error = float(np.sqrt(sum(g.var(ddof=1) / len(g) for g in groups)))
    tail = (1 - level) / 2
    lower, upper = np.quantile((means - value) / np.maximum(errors, 1e-12 * error), [tail, 1 - tail])
    return Interval(value, float(value - upper * error), float(value - lower * error), level, n)


def exact_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share k of n."""
    found = stats.binomtest(k, n).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)
