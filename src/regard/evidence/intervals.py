"""Intervals over patients: the unit of resampling is the patient, never the slice or the voxel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["FEWEST_CLUSTERS", "Interval", "mean_interval"]

FEWEST_CLUSTERS = 10
"""Below this number of patients values are given, and no interval."""


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
        bounds = "" if np.isnan(self.low) else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{bounds}"


def mean_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over patients with its BCa bootstrap interval (Efron 1987).

    Parameters
    ----------
    values
        One per patient; NaN is undefined and left out.
    level
        Of the interval.
    seed
        Of the resampling.
    """
    kept = np.asarray([v for v in values if not np.isnan(v)], dtype=float)
    n = len(kept)
    value = float(kept.mean()) if n else float("nan")
    if n < FEWEST_CLUSTERS or np.ptp(kept) == 0:
        return Interval(value, float("nan"), float("nan"), level, n)
    found = stats.bootstrap(
        (kept,), np.mean, confidence_level=level, n_resamples=2000, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high), level, n)
