"""Tests over regions or voxels by exchanging cases: the largest statistic says what chance gives anywhere.

One sample: each patient's difference is as likely to have the other sign. Groups and covariates: residuals of the model
without the effect are exchanged (Freedman and Lane 1983, as in Winkler et al., NeuroImage 2014), within or between
blocks of repeated scans. Every p-value is of the largest |t| over all regions:
(1 + draws at least as large) / (1 + draws).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import InputError

__all__ = ["N_DRAWS", "Tested", "exchanged", "freedman_lane", "ordinary_t", "sign_flipping"]

N_DRAWS = 4999
"""Draws of signs or orders."""

_EXACT = 12


@dataclass(frozen=True, eq=False)
class Tested:
    """Statistic and p-value of each region.

    Parameters
    ----------
    t
        Student's t, (region,); NaN where there is no spread or no value.
    p
        Two-sided, of the largest |t| over regions, (region,); NaN where t is.
    n
        Units that were exchanged: patients.
    largest
        The largest |t| of each draw, the unchanged one first.
    """

    t: np.ndarray
    p: np.ndarray
    n: int
    largest: np.ndarray


def _t(values: np.ndarray) -> np.ndarray:
    """Student's t of the mean against zero over the first axis."""
    n = len(values)
    error = values.std(0, ddof=1) / np.sqrt(n)
    found: np.ndarray = np.divide(values.mean(0), error, out=np.full(values.shape[1:], np.nan), where=error > 0)
    return found


def _p(t: np.ndarray, largest: np.ndarray) -> np.ndarray:
    # Rounding must not make the unchanged order smaller than itself.
    as_large = (largest[:, None] >= np.abs(np.nan_to_num(t))[None] * (1 - 1e-6)).mean(0)
    return np.where(np.isnan(t), np.nan, as_large)


def sign_flipping(differences: np.ndarray, *, seed: int = 0, n_draws: int = N_DRAWS) -> Tested:
    """Test that differences are symmetric about zero, in all regions at once.

    All signs up to 12 patients, random ones beyond. Regions with a NaN are left out.

    Parameters
    ----------
    differences
        (patient, region), one row per patient.
    seed
        Of the signs.
    n_draws
        Random draws.
    """
    n, n_regions = differences.shape
    kept = np.isfinite(differences).all(0) & (np.ptp(differences, axis=0) > 0 if n > 1 else False)
    t = np.full(n_regions, np.nan)
    if n < 2 or not kept.any():
        return Tested(t, t.copy(), n, np.zeros(0))
    values = differences[:, kept]
    t[kept] = _t(values)
    if n <= _EXACT:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        signs = 1.0 - 2.0 * bits
    else:
        drawn = np.random.default_rng(seed).integers(0, 2, (n_draws, n))
        signs = np.concatenate([np.ones((1, n)), 1.0 - 2.0 * drawn])
    # The sum of squares does not change with the signs: each draw needs only its mean.
    squares = (values**2).sum(0)
    largest = []
    for part in np.array_split(signs, max(1, len(signs) * values.shape[1] // 2**22)):
        mean = part @ values / n
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
        error = np.sqrt(variance / n)
        # Without any spread left the statistic has no bound.
        ratio = np.divide(np.abs(mean), error, out=np.full(mean.shape, np.inf), where=error > 1e-12 * np.abs(mean))
        largest.append(ratio.max(1))
    found = np.concatenate(largest)
    return Tested(t, _p(t, found), n, found)


def ordinary_t(values: np.ndarray, design: np.ndarray, column: int) -> np.ndarray:
    """Student's t of one column's coefficient by ordinary least squares, (region,).

    Parameters
    ----------
    values
        (case, region).
    design
        (case, column), with a column of ones among them.
    column
        Which coefficient.
    """
    inverse = np.linalg.pinv(design)
    coefficients = inverse @ values
    left = values - design @ coefficients
    freedom = len(design) - np.linalg.matrix_rank(design)
    variance = (left**2).sum(0) / freedom
    error = np.sqrt(variance * (inverse @ inverse.T)[column, column])
    found: np.ndarray = np.divide(coefficients[column], error, out=np.full(values.shape[1], np.nan), where=error > 0)
    return found


def exchanged(blocks: Sequence[str], effect: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of the cases that keeps repeated scans together.

    Where the effect differs between patients, whole patients change places with others of as many scans, each keeping
    the order of its scans. Where it differs only within patients, scans change places within each.

    Parameters
    ----------
    blocks
        Patient of each case.
    effect
        What is tested, (case,).
    rng
        Of the order.

    Returns
    -------
    numpy.ndarray
        Row that stands at each place, (case,).
    """
    rows: dict[str, list[int]] = {}
    for row, block in enumerate(blocks):
        rows.setdefault(block, []).append(row)
    order = np.arange(len(effect))
    means = np.array([effect[own].mean() for own in rows.values()])
    if np.ptp(means) <= 1e-9 * max(1.0, np.abs(means).max()):
        for own in rows.values():
            order[own] = rng.permutation(own)
        return order
    sizes: dict[int, list[list[int]]] = {}
    for own in rows.values():
        sizes.setdefault(len(own), []).append(own)
    for alike in sizes.values():
        for to, at in zip(alike, rng.permutation(len(alike)), strict=True):
            order[to] = alike[at]
    return order


def freedman_lane(
    values: np.ndarray,
    effect: np.ndarray,
    nuisance: np.ndarray,
    *,
    blocks: Sequence[str] | None = None,
    seed: int = 0,
    n_draws: int = N_DRAWS,
) -> Tested:
    """Test an effect on all regions at once, beside nuisance columns.

    Parameters
    ----------
    values
        (case, region); regions with a NaN are left out.
    effect
        What is tested, (case,): a covariate, or 0 and 1 of two groups.
    nuisance
        (case, column), without the column of ones, which is added.
    blocks
        Patient of each case, where patients have several; see `exchanged`.
    seed, n_draws
        Of the orders.

    Raises
    ------
    InputError
        If the effect is constant or follows from the nuisance columns, or there are too few cases.
    """
    n, n_regions = values.shape
    reduced = np.column_stack([np.ones(n), nuisance.reshape(n, -1)])
    design = np.column_stack([effect, reduced])
    rank = int(np.linalg.matrix_rank(design))
    if rank == np.linalg.matrix_rank(reduced):
        raise InputError("an effect that is constant or follows from the other columns", "one that differs", "drop one")
    if n - rank < 2:
        raise InputError(f"{n} cases for {rank} columns", f"at least {rank + 2}", "test fewer columns")
    kept = np.isfinite(values).all(0)
    t = np.full(n_regions, np.nan)
    if not kept.any():
        return Tested(t, t.copy(), n, np.zeros(0))
    whole = values[:, kept]
    t[kept] = ordinary_t(whole, design, 0)
    fitted = reduced @ (np.linalg.pinv(reduced) @ whole)
    left = whole - fitted
    names = list(blocks) if blocks is not None else [str(k) for k in range(n)]
    rng = np.random.default_rng(seed)
    largest = [np.nanmax(np.abs(t))]
    inverse = np.linalg.pinv(design)
    project = design @ inverse
    scale, freedom = (inverse @ inverse.T)[0, 0], n - rank
    for _ in range(n_draws):
        drawn = fitted + left[exchanged(names, effect, rng)]
        error = np.sqrt(((drawn - project @ drawn) ** 2).sum(0) / freedom * scale)
        ratio = np.divide(np.abs(inverse[0] @ drawn), error, out=np.zeros(error.shape), where=error > 0)
        largest.append(ratio.max())
    found = np.asarray(largest)
    return Tested(t, _p(t, found), len(set(names)), found)
