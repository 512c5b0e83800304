"""Beside the pooled values: naive pooling, spread, subgroups, single studies left out, small studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from regard.evidence.accuracy.bivariate import FEWEST, Fit, fit_normal
from regard.evidence.accuracy.tables import Floats, Tables

__all__ = [
    "Deeks",
    "OddsRatio",
    "Subgroups",
    "deeks",
    "heterogeneity",
    "left_out",
    "naive",
    "odds_ratio",
    "repeated",
    "subgroups",
]


def naive(tables: Tables) -> Floats:
    """Sensitivity and false positive rate of all counts added up, (2,): as if all were one study."""
    tp, fn, fp, tn = tables.counts.sum(0)
    return np.array([tp / (tp + fn), fp / (fp + tn)])


def repeated(tables: Tables) -> dict[str, int]:
    """Studies of several rows, which the model takes for independent, with how many they have."""
    return {name: tables.names.count(name) for name in dict.fromkeys(tables.names) if tables.names.count(name) > 1}


@dataclass(frozen=True)
class OddsRatio:
    """The diagnostic odds ratio pooled alone.

    Parameters
    ----------
    value, low, high
        Of the random-effects model, with 95 %.
    variance
        tau2: of the logarithm, between studies.
    q, p
        Cochran's Q and its p.
    i2
        Share of the spread that is not chance within studies, in percent.
    fixed
        By Mantel and Haenszel, from the counts as they are.
    """

    value: float
    low: float
    high: float
    variance: float
    q: float
    p: float
    i2: float
    fixed: float


def odds_ratio(tables: Tables) -> OddsRatio:
    """Pool the diagnostic odds ratio.

    Notes
    -----
    DerSimonian and Laird 1986, Control Clin Trials 7(3); Higgins and Thompson 2002, Stat Med 21(11), for I2.
    """
    y, v = tables.logits @ [1.0, -1.0], tables.variances.sum(1)
    w = 1 / v
    mean, df = float((w * y).sum() / w.sum()), len(y) - 1
    q = float((w * (y - mean) ** 2).sum())
    variance = max(0.0, (q - df) / float(w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (v + variance)
    mean, error = float((w * y).sum() / w.sum()), float(w.sum() ** -0.5)
    z = stats.norm.ppf(0.975)
    tp, fn, fp, tn = tables.counts.T
    n = tables.counts.sum(1)
    return OddsRatio(
        float(np.exp(mean)), float(np.exp(mean - z * error)), float(np.exp(mean + z * error)), variance, q,
        float(stats.chi2.sf(q, df)), 100 * max(0.0, 1 - df / q) if q > 0 else 0.0,
        float((tp * tn / n).sum() / (fp * fn / n).sum()),
    )  # fmt: skip


def heterogeneity(tables: Tables, fit: Fit) -> float:
    """Share of the joint spread of the logits that lies between studies, in percent.

    The spread is the square root of the determinant; that within a study is the one of a study of typical size, whose
    variance is averaged over the distribution of true rates.

    Notes
    -----
    Zhou and Dendukuri 2014, Stat Med 33(16), with the mean number of patients for the typical size.
    """
    sizes = np.array([tables.counts[:, :2].sum(1).mean(), tables.counts[:, 2:].sum(1).mean()])
    variance, mean = np.diag(fit.between), fit.effects[:2]
    within = (np.exp(variance / 2 + mean) + np.exp(variance / 2 - mean) + 2) / sizes
    between = float(np.sqrt(max(0.0, np.linalg.det(fit.between))))
    return 100 * between / (between + float(np.sqrt(within.prod())))


@dataclass(frozen=True)
class Deeks:
    """Whether small studies give other odds ratios.

    Parameters
    ----------
    slope, p
        Of the logarithm of the odds ratio on the inverse root of the effective size.
    sizes, effects
        Effective sizes and logarithms, (study,).
    intercept
        Of the line.
    """

    slope: float
    p: float
    sizes: Floats
    effects: Floats
    intercept: float


def deeks(tables: Tables) -> Deeks:
    """Test the funnel's asymmetry, weighted by the effective size 4 n1 n0 / (n1 + n0).

    Notes
    -----
    Deeks, Macaskill and Irwig 2005, J Clin Epidemiol 58(9).
    """
    n1, n0 = tables.counts[:, :2].sum(1), tables.counts[:, 2:].sum(1)
    size = 4 * n1 * n0 / (n1 + n0)
    effects = tables.logits @ [1.0, -1.0]
    x, root = np.stack([np.ones_like(size), size**-0.5], 1), np.sqrt(size)[:, None]
    solution, *_ = np.linalg.lstsq(x * root, effects * root[:, 0], rcond=None)
    left, df = (effects - x @ solution) * root[:, 0], len(size) - 2
    covariance = np.linalg.inv((x * root).T @ (x * root)) * float(left @ left) / max(1, df)
    t = float(solution[1] / np.sqrt(covariance[1, 1]))
    return Deeks(float(solution[1]), float(2 * stats.t.sf(abs(t), max(1, df))), size, effects, float(solution[0]))


def left_out(tables: Tables) -> list[Fit]:
    """The fit without each of the rows."""
    return [fit_normal(tables.only([k for k in range(len(tables)) if k != n])) for n in range(len(tables))]


@dataclass(frozen=True)
class Subgroups:
    """Studies by a column.

    Parameters
    ----------
    column
        Its name.
    fits
        Of each group that is large enough, by REML.
    too_few
        The others, with their number of studies.
    p
        That the groups pooled have one mean, by the likelihood ratio of full-likelihood fits; NaN with fewer than two.
    df
        Its degrees of freedom.
    """

    column: str
    fits: Mapping[str, Fit]
    too_few: Mapping[str, int]
    p: float
    df: int


def subgroups(tables: Tables, column: str) -> Subgroups:
    """Pool the groups of a column, and test whether their means differ.

    Restricted likelihoods of different means cannot be compared; the test is of full likelihoods with one spread.
    """
    values: Sequence[str] = tables.columns[column]
    rows = {g: [n for n, v in enumerate(values) if v == g] for g in dict.fromkeys(values)}
    pooled = {g: r for g, r in rows.items() if len(r) >= FEWEST}
    fits = {g: fit_normal(tables.only(r)) for g, r in pooled.items()}
    few = {g: len(r) for g, r in rows.items() if g not in pooled}
    if len(pooled) < 2:
        return Subgroups(column, fits, few, float("nan"), 0)
    used = tables.only([n for r in pooled.values() for n in r])
    design = np.array([[float(v == g) for g in pooled] for v in used.columns[column]])
    ratio = 2 * (
        fit_normal(used, design=design, likelihood="full").log_likelihood
        - fit_normal(used, likelihood="full").log_likelihood
    )
    df = 2 * (len(pooled) - 1)
    return Subgroups(column, fits, few, float(stats.chi2.sf(max(0.0, ratio), df)), df)
