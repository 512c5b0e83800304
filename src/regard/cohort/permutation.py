"""Tests over regions or voxels by exchanging cases: the largest statistic says what chance gives anywhere.

One sample: each patient's difference is as likely to have the other sign, a test of symmetry; `regard.cohort.means`
tests the mean. Groups and covariates: residuals of the model without the effect are exchanged (Freedman and Lane 1983,
as in Winkler et al., NeuroImage 2014), within or between blocks of repeated scans. Every p-value is of the largest |t|
over all regions: (1 + draws at least as large) / (1 + draws).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import InputError

__all__ = [
    "EXCHANGE",
    "N_DRAWS",
    "SYMMETRY",
    "Coefficient",
    "Tested",
    "exchanged",
    "freedman_lane",
    "orders",
    "ordinary_t",
    "p_of_largest",
    "sign_flipping",
    "variance_groups",
]

N_DRAWS = 4999
"""Draws of signs or orders."""

SYMMETRY = "sign flips: symmetry about 0"
EXCHANGE = "exchange of residuals (Freedman-Lane)"
"""What the two tests of this file are called."""

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
    test
        Which test it is, in words.
    """

    t: np.ndarray
    p: np.ndarray
    n: int
    largest: np.ndarray
    test: str = ""


def _t(values: np.ndarray) -> np.ndarray:
    """Student's t of the mean against zero over the first axis."""
    n = len(values)
    error = values.std(0, ddof=1) / np.sqrt(n)
    found: np.ndarray = np.divide(values.mean(0), error, out=np.full(values.shape[1:], np.nan), where=error > 0)
    return found


def p_of_largest(t: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Share of the largest |t| of the draws that reach each region's |t|, (region,); NaN where t is."""
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
    return Tested(t, p_of_largest(t, found), n, found, SYMMETRY)


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


@dataclass(frozen=True, eq=False)
class Coefficient:
    """One coefficient of a linear model and its Student's t, ready for many draws of the values.

    Its error allows a variance to each group of cases: the variance of the least-squares estimate is the sum over
    groups of sigma_g^2 times the sum of squared weights of their cases, with sigma_g^2 the squared residuals of the
    group over the sum of their leverages' complements. One group is ordinary least squares; two groups and no nuisance
    is Welch's t (Welch 1938; Winkler et al. 2014, eq. 9 to 11).
    """

    weights: np.ndarray
    basis: np.ndarray
    groups: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray, column: int, groups: np.ndarray | None = None) -> "Coefficient":
        """Of a design (case, column), with the number of the variance group of each case, (case,)."""
        basis, sizes, _ = np.linalg.svd(design, full_matrices=False)
        basis = basis[:, sizes > sizes.max() * max(design.shape) * np.finfo(float).eps]
        weights = np.linalg.pinv(design)[column]
        number = np.zeros(len(design), dtype=int) if groups is None else groups
        member = (number[None] == np.arange(number.max() + 1)[:, None]).astype(float)
        freedom = member @ (1 - (basis**2).sum(1))
        return cls(weights, basis, member, (member @ weights**2) / freedom)

    def t(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coefficient and its standard error, each (region,), of values (case, region)."""
        left = values - self.basis @ (self.basis.T @ values)
        return self.weights @ values, np.sqrt(self.share @ (self.groups @ left**2))


def variance_groups(effect: np.ndarray, design: np.ndarray) -> np.ndarray | None:
    """The two levels of an effect as groups with a variance each; None for a covariate, or where one has none.

    A group of which the design explains every case has no residuals to measure a variance by.
    """
    levels, number = np.unique(effect, return_inverse=True)
    if len(levels) != 2:
        return None
    basis, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, sizes > sizes.max() * max(design.shape) * np.finfo(float).eps]
    freedom = np.bincount(number, 1 - (basis**2).sum(1))
    return number if freedom.min() >= 1 - 1e-9 else None


def orders(blocks: Sequence[str], effect: np.ndarray) -> Callable[[np.random.Generator], np.ndarray]:
    """Random orders of the cases that keep repeated scans together, as a function of a generator.

    Where the effect differs between patients, whole patients change places with others of as many scans, each keeping
    the order of its scans. Where it differs only within patients, scans change places within each.

    Parameters
    ----------
    blocks
        Patient of each case.
    effect
        What is tested, (case,).

    Returns
    -------
    Callable
        Takes a generator; gives the row that stands at each place, (case,).
    """
    rows: dict[str, list[int]] = {}
    for row, block in enumerate(blocks):
        rows.setdefault(block, []).append(row)
    n = len(effect)
    patients = [np.array(own) for own in rows.values()]
    means = np.array([effect[own].mean() for own in patients])
    if np.ptp(means) <= 1e-9 * max(1.0, np.abs(means).max()):

        def within(rng: np.random.Generator) -> np.ndarray:
            order = np.arange(n)
            for own in patients:
                order[own] = rng.permutation(own)
            return order

        return within
    # (patient, scan) of patients with as many scans, in the order in which such patients come.
    alike: dict[int, list[np.ndarray]] = {}
    for own in patients:
        alike.setdefault(len(own), []).append(own)
    tables = [np.stack(group) for group in alike.values()]

    def between(rng: np.random.Generator) -> np.ndarray:
        order = np.empty(n, dtype=np.int64)
        for table in tables:
            order[table] = table[rng.permutation(len(table))]
        return order

    return between


def exchanged(blocks: Sequence[str], effect: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random order of `orders`, (case,)."""
    return orders(blocks, effect)(rng)


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

    Two groups have a variance each (Welch 1938), a covariate has one for all cases. What is assumed: residuals can be
    exchanged. Groups that spread unlike are seldom called different for it, but more often than stated where one is
    small; a covariate along which the variance changes is not told from one that shifts the mean.

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
    coefficient = Coefficient.of(design, 0, variance_groups(effect, design))
    value, error = coefficient.t(whole)
    t[kept] = np.divide(value, error, out=np.full(value.shape, np.nan), where=error > 0)
    fitted = reduced @ (np.linalg.pinv(reduced) @ whole)
    left = whole - fitted
    names = list(blocks) if blocks is not None else [str(k) for k in range(n)]
    rng = np.random.default_rng(seed)
    largest = [np.nanmax(np.abs(t))]
    order_of = orders(names, effect)
    for _ in range(n_draws):
        value, error = coefficient.t(fitted + left[order_of(rng)])
        ratio = np.divide(np.abs(value), error, out=np.zeros(error.shape), where=error > 0)
        largest.append(ratio.max())
    found = np.asarray(largest)
    return Tested(t, p_of_largest(t, found), len(set(names)), found, EXCHANGE)
