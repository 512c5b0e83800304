"""Tests of means over regions by resampling patients: they hold for skewed values and for groups that spread unlike.

Flipping signs tests whether differences are symmetric, and exchanging patients whether two groups have one
distribution; neither says that means differ. Here patients are drawn with replacement from values whose mean, or whose
groups' means, have been made equal, and Student's t is taken with each draw's own error (the studentised bootstrap,
Efron and Tibshirani 1993, 16.4; with a variance for each group, as Welch 1938). Every p-value is of the largest |t|
over all regions.
"""

import numpy as np

from regard.cohort.permutation import (
    N_DRAWS,
    Coefficient,
    Tested,
    freedman_lane,
    p_of_largest,
    sign_flipping,
    variance_groups,
)
from regard.evidence.intervals import FEWEST_CLUSTERS

__all__ = ["FEWEST_IN_A_GROUP", "group_means_test", "mean_test"]

FEWEST_IN_A_GROUP = 6
"""Patients of a group below which its variance cannot be resampled."""

_MEAN = "bootstrap of the mean"
_GROUPS = "bootstrap of the groups' means, a variance for each"


def mean_test(differences: np.ndarray, *, seed: int = 0, n_draws: int = N_DRAWS) -> Tested:
    """Test that the mean of differences is 0, in all regions at once.

    Below `FEWEST_CLUSTERS` patients signs are flipped instead (`sign_flipping`): resampling says nothing of so few.

    Parameters
    ----------
    differences
        (patient, region), one row per patient; regions with a NaN are left out.
    seed, n_draws
        Of the draws.
    """
    n, n_regions = differences.shape
    if n < FEWEST_CLUSTERS:
        return sign_flipping(differences, seed=seed, n_draws=n_draws)
    kept = np.isfinite(differences).all(0) & (np.ptp(differences, axis=0) > 0)
    t = np.full(n_regions, np.nan)
    if not kept.any():
        return Tested(t, t.copy(), n, np.zeros(0), _MEAN)
    values = differences[:, kept]
    t[kept] = values.mean(0) / (values.std(0, ddof=1) / np.sqrt(n))
    centred = values - values.mean(0)
    least = 1e-9 * np.ptp(centred, axis=0)
    rng, largest = np.random.default_rng(seed), [np.array([np.nanmax(np.abs(t))])]
    # A draw is how often each patient was taken: its mean and its spread are then products of matrices.
    for size in _chunks(n_draws, n + 2 * values.shape[1]):
        taken = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float)
        mean = taken @ centred / n
        spread = np.sqrt(np.maximum(taken @ centred**2 / n - mean**2, 0) * n / (n - 1))
        largest.append((np.abs(mean) * np.sqrt(n) / np.maximum(spread, least)).max(1))
    drawn = np.concatenate(largest)
    return Tested(t, p_of_largest(t, drawn), n, drawn, _MEAN)


def group_means_test(
    values: np.ndarray,
    effect: np.ndarray,
    nuisance: np.ndarray,
    *,
    blocks: list[str] | None = None,
    seed: int = 0,
    n_draws: int = N_DRAWS,
) -> Tested:
    """Test an effect on all regions at once: of two groups by their means, of a covariate by exchange.

    Two groups of at least `FEWEST_IN_A_GROUP` patients with one scan each: residuals of the whole model are drawn with
    replacement within each group, and the coefficient's error has a variance for each group. A covariate, repeated
    scans or smaller groups: `freedman_lane`, which assumes that residuals can be exchanged.

    Parameters
    ----------
    values, effect, nuisance, blocks, seed, n_draws
        As `freedman_lane`.

    Raises
    ------
    InputError
        As `freedman_lane`.
    """
    n, n_regions = values.shape
    levels, number = np.unique(effect, return_inverse=True)
    repeated = blocks is not None and len(set(blocks)) < n
    design = np.column_stack([effect, np.ones(n), nuisance.reshape(n, -1)])
    small = len(levels) != 2 or np.bincount(number).min() < FEWEST_IN_A_GROUP
    if repeated or small or np.linalg.matrix_rank(design) == np.linalg.matrix_rank(design[:, 1:]):
        return freedman_lane(values, effect, nuisance, blocks=blocks, seed=seed, n_draws=n_draws)
    groups = variance_groups(effect, design)
    kept = np.isfinite(values).all(0)
    t = np.full(n_regions, np.nan)
    if groups is None or not kept.any():
        return freedman_lane(values, effect, nuisance, blocks=blocks, seed=seed, n_draws=n_draws)
    whole = values[:, kept]
    coefficient = Coefficient.of(design, 0, groups)
    value, error = coefficient.t(whole)
    t[kept] = np.divide(value, error, out=np.full(value.shape, np.nan), where=error > 0)
    if np.isnan(t).all():
        return Tested(t, t.copy(), n, np.zeros(0), _GROUPS)
    left = whole - design @ (np.linalg.pinv(design) @ whole)
    least = 1e-9 * np.maximum(error, np.finfo(float).tiny)
    members = [np.flatnonzero(number == level) for level in range(2)]
    rng, largest = np.random.default_rng(seed), [np.nanmax(np.abs(t))]
    order = np.empty(n, dtype=np.int64)
    for _ in range(n_draws):
        for own in members:
            order[own] = own[rng.integers(0, len(own), len(own))]
        value, error = coefficient.t(left[order])
        largest.append((np.abs(value) / np.maximum(error, least)).max())
    drawn = np.asarray(largest)
    return Tested(t, p_of_largest(t, drawn), n, drawn, _GROUPS)


def _chunks(n_draws: int, width: int) -> list[int]:
    """Draws at a time, so that a few hundred megabytes are enough."""
    most = max(1, 2**24 // max(1, width))
    return [min(most, n_draws - start) for start in range(0, n_draws, most)]
