"""How often intervals hold the truth: ``python -m regard.evidence.coverage`` writes the tables of the documentation.

Cohorts are drawn whose true mean is known, with skewed patients of several cases each, and every kind of interval is
made of the same cohorts: the studentised bootstrap that Regard reports, BCa (Efron 1987) and Student's t.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from regard.evidence.statistics import clustered_interval, exact_interval, patient_means

__all__ = ["INTERVALS", "bca", "cohort", "coverage", "student"]

HELD_OUT = 40_000
"""Seed of the simulation; the intervals were designed with others."""

_RESAMPLES = 1999


def student(values: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Student's t interval of a mean, (patient,)."""
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def bca(values: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a mean, (patient,) (Efron 1987)."""
    n, mean = len(values), values.mean()
    samples = values[np.random.default_rng(seed).integers(0, n, (_RESAMPLES, n))].mean(1)
    bias = stats.norm.ppf(((samples < mean).mean() + (samples <= mean).mean()) / 2)
    without = (values.sum() - values) / (n - 1)
    gaps = without.mean() - without
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(samples, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def _studentised(values: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    found = clustered_interval(list(values), [str(n) for n in range(len(values))], level=level, seed=seed)
    return found.low, found.high


INTERVALS: dict[str, Callable[..., tuple[float, float]]] = {
    "studentised": _studentised,
    "BCa": bca,
    "Student's t": student,
}
"""Patients' means, level and seed to bounds."""


def cohort(random: np.random.Generator, n_patients: int, skew: float) -> tuple[list[float], list[str]]:
    """Values of cases and whose they are: lognormal patients with one to four lognormal cases each.

    ``skew`` is the standard deviation of the patients' logarithm, that of cases within a patient is 0.3; the mean over
    patients is exp(skew^2 / 2).
    """
    levels = np.exp(skew * random.standard_normal(n_patients))
    counts = random.integers(1, 5, n_patients)
    values = np.repeat(levels, counts) * np.exp(0.3 * random.standard_normal(counts.sum()) - 0.045)
    return list(values), [str(p) for p in np.repeat(np.arange(n_patients), counts)]


def coverage(n_patients: int, skew: float, *, n_cohorts: int = 1000, seed: int = HELD_OUT) -> dict[str, int]:
    """How many of ``n_cohorts`` intervals at 95 % hold the true mean, by kind of interval."""
    random = np.random.default_rng([seed, n_patients, round(1000 * skew)])
    true, hits = float(np.exp(skew**2 / 2)), dict.fromkeys(INTERVALS, 0)
    for number in range(n_cohorts):
        means = np.array(list(patient_means(*cohort(random, n_patients, skew)).values()))
        for name, interval in INTERVALS.items():
            low, high = interval(means, seed=number)
            hits[name] += low <= true <= high
    return hits


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    asked = parser.parse_args(arguments)
    sys.stdout.write(f"| patients | log standard deviation | {' | '.join(INTERVALS)} |\n")
    sys.stdout.write("| --- " * (2 + len(INTERVALS)) + "|\n")
    for n_patients in (10, 20, 40):
        for skew in (0.5, 0.8, 1.0):
            hits = coverage(n_patients, skew, n_cohorts=asked.cohorts, seed=asked.seed)
            cells = []
            for k in hits.values():
                low, high = exact_interval(k, asked.cohorts)
                cells.append(f"{100 * k / asked.cohorts:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
            sys.stdout.write(f"| {n_patients} | {skew:g} | {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
