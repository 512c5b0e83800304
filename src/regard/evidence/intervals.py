"""Intervals over patients: the unit of resampling is the patient, never the slice or the voxel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["FEWEST_CLUSTERS", "Interval", "mean_interval"]

FEWEST_CLUSTERS = 10
"""Below this number of patients values are given, and no interval."""

_RESAMPLES = 1999


@dataclass(frozen=True)
class Interval:
    """A mean over patients.

    Parameters
    ----------
    value, low, high
        Mean and bounds; the bounds are NaN where there are too few patients, or no spread.
    level
        Of the interval.
    n
        Number of patients.
    """

    value: float
    low: float
    high: float
    level: float
    n: int

    def __str__(self) -> str:
        # Adding 0.0 turns a rounded -0.0 into 0.0.
        value, low, high = (round(v, 2) + 0.0 for v in (self.value, self.low, self.high))
        bounds = "" if np.isnan(low) else f" ({low:.2f} to {high:.2f})"
        return f"{value:.2f}{bounds}"


def mean_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over patients with its studentised bootstrap interval.

    The studentised bootstrap (Efron and Tibshirani 1993, 12.5) keeps its coverage on skewed values of few patients,
    where BCa falls short (`regard.evidence.coverage`). Where values tie so often that a tenth of the samples has no
    spread, the bounds are the samples' own quantiles.

    Parameters
    ----------
    values
        One per patient; NaN is undefined and left out.
    level
        Of the interval.
    seed
        Of the resampling.

    Returns
    -------
    Interval
        Bounds are NaN below `FEWEST_CLUSTERS` patients, or without spread.
    """
    kept = np.asarray([v for v in values if not np.isnan(v)], dtype=float)
    n = len(kept)
    value = float(kept.mean()) if n else float("nan")
    if n < FEWEST_CLUSTERS or np.ptp(kept) == 0:
        return Interval(value, float("nan"), float("nan"), level, n)
    rng = np.random.default_rng(seed)
    samples = kept[rng.integers(0, n, (_RESAMPLES, n))]
    errors = samples.std(1, ddof=1) / np.sqrt(n)
    usable = errors > 1e-12 * np.ptp(kept)
    tail = (1 - level) / 2
    if usable.mean() < 0.9:
        low, high = np.quantile(samples.mean(1), [tail, 1 - tail])
        return Interval(value, float(low), float(high), level, n)
    pivots = (samples[usable].mean(1) - value) / errors[usable]
    lower, upper = np.quantile(pivots, [tail, 1 - tail])
    error = kept.std(ddof=1) / np.sqrt(n)
    return Interval(value, float(value - upper * error), float(value - lower * error), level, n)
