"""Tests and intervals over patients: the unit is the patient, whose cases are averaged first.

One patient has no spread: there the map's rank among its surrogates is all that can be said.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from regard.evidence.intervals import FEWEST_CLUSTERS, Interval

__all__ = ["clustered_interval", "effect_size", "holm", "patient_means", "rank_p", "sign_flip_p"]

Side = Literal["greater", "less"]

_RESAMPLES = 1999
_FLIPS = 9999


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
    if len(kept) == 1:
        return 0.5 if (kept[0] > 0) == (side == "greater") and kept[0] != 0 else 1.0
    found = stats.permutation_test(
        (kept,),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        alternative=side,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


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
    """Mean over patients with its studentised bootstrap interval.

    Patients are drawn, never cases; each counts once. The studentised bootstrap (Efron and Tibshirani 1993, 12.5) keeps
    its coverage on skewed values where BCa falls short; where values tie so often that a tenth of the samples has no
    spread, the bounds are the samples' own quantiles.

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
        Bounds are NaN below `FEWEST_CLUSTERS` patients, or without spread.
    """
    means = np.asarray(list(patient_means(values, patients).values()), dtype=float)
    n = len(means)
    value = float(means.mean()) if n else float("nan")
    if n < FEWEST_CLUSTERS or np.ptp(means) == 0:
        return Interval(value, float("nan"), float("nan"), level, n)
    rng = np.random.default_rng(seed)
    samples = means[rng.integers(0, n, (_RESAMPLES, n))]
    errors = samples.std(1, ddof=1) / np.sqrt(n)
    usable = errors > 1e-12 * np.ptp(means)
    tail = (1 - level) / 2
    if usable.mean() < 0.9:
        low, high = np.quantile(samples.mean(1), [tail, 1 - tail])
        return Interval(value, float(low), float(high), level, n)
    pivots = (samples[usable].mean(1) - value) / errors[usable]
    lower, upper = np.quantile(pivots, [tail, 1 - tail])
    error = means.std(ddof=1) / np.sqrt(n)
    return Interval(value, float(value - upper * error), float(value - lower * error), level, n)
