"""The studentised bootstrap of any statistic over patients, on a scale on which its error hardly depends on its value.

Patients are drawn with replacement; each draw's distance from the value is divided by the draw's own standard error
(Efron and Tibshirani 1993, 12.5), on Fisher's scale for correlations, the logit for shares and areas, the logarithm for
mean errors, the square for roots of mean squares. The error within a draw is a jackknife over its
patients (over at most 40 groups of them), or a bootstrap of the draw where a statistic jumps (ranks, medians), for
which the jackknife is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

__all__ = ["AT_LIMIT", "SCALES", "Bounds", "Measured", "Statistic", "of_patients", "studentised"]

Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Weights of the cases (sample, case), whole numbers of at least 0, to one value per sample."""

Scale: TypeAlias = Literal["plain", "correlation", "share", "positive", "square"]

# Groups of patients that a draw's jackknife leaves out in turn; samples of a draw where it is a bootstrap.
_GROUPS, _INNER = 40, 25

_CHUNK = 2**21


def _logit(x: np.ndarray) -> np.ndarray:
    return np.log(x) - np.log1p(-x)


SCALES: dict[str, tuple[Statistic, Statistic, float, float]] = {
    "plain": (lambda x: x, lambda x: x, -np.inf, np.inf),
    "correlation": (np.arctanh, np.tanh, -1.0, 1.0),
    "share": (_logit, lambda x: 1 / (1 + np.exp(-x)), 0.0, 1.0),
    "positive": (np.log, np.exp, 0.0, np.inf),
    "square": (np.square, lambda x: np.sqrt(np.maximum(x, 0)), 0.0, np.inf),
}
"""To each scale and back, and the range of its values."""

_WORDS = {
    "plain": "studentised bootstrap",
    "correlation": "studentised bootstrap, Fisher's z",
    "share": "studentised bootstrap, logit",
    "positive": "studentised bootstrap, logarithm",
    "square": "studentised bootstrap of the square",
}

AT_LIMIT = "exact, as every patient is at the limit"
"""How bounds of a statistic were made that stands at the end of its range."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of an interval, and in words how they were made."""

    low: float
    high: float
    how: str


@dataclass(frozen=True)
class Measured:
    """A statistic with its scale.

    Parameters
    ----------
    of
        The statistic.
    scale
        On which it is studentised.
    jumps
        Whether it is one of ranks or an order statistic; then errors within draws are bootstrapped.
    at_limit
        Bounds of the statistic where it stands at the best or the worst of its range, of the number of each case's
        patient (case,) and the level; None where nothing exact is known.
    """

    of: Statistic
    scale: Scale = "plain"
    jumps: bool = False
    at_limit: Callable[[np.ndarray, float], tuple[float, float]] | None = None

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self.of(weights)


def of_patients(own: np.ndarray, level: float, *, best: bool = True) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share that is 1 (or 0) in every patient, ``own`` their numbers."""
    edge = float(((1 - level) / 2) ** (1 / max(1, len(np.unique(own)))))
    return (edge, 1.0) if best else (0.0, 1 - edge)


def _values(statistic: Statistic, counts: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The statistic of each row of counts (sample, patient), (sample,), in chunks that memory holds."""
    size = max(1, _CHUNK // max(1, len(own)))
    parts = [statistic(counts[n : n + size][:, own].astype(float)) for n in range(0, len(counts), size)]
    return np.concatenate(parts)


def _counts(drawn: np.ndarray, n: int) -> np.ndarray:
    """How often each patient is in each row of (sample, draw), (sample, patient)."""
    flat = (np.arange(len(drawn))[:, None] * n + drawn).ravel()
    return np.bincount(flat, minlength=len(drawn) * n).reshape(len(drawn), n)


def _left_out(statistic: Statistic, drawn: np.ndarray, own: np.ndarray, n: int) -> np.ndarray:
    """The statistic of each sample without each group of its draws in turn, (sample, group)."""
    groups = np.array_split(np.arange(n), min(n, _GROUPS))
    whole = _counts(drawn, n)
    without = np.stack([whole - _counts(drawn[:, group], n) for group in groups], axis=1)
    return _values(statistic, without.reshape(-1, n), own).reshape(len(drawn), len(groups))


def _deviation(values: np.ndarray, factor: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Root of ``factor(k)`` times the mean square about the mean of the k finite values of each row; NaN below two."""
    known = np.isfinite(values)
    k = known.sum(1)
    mean = np.divide(np.where(known, values, 0).sum(1), k, out=np.full(len(k), np.nan), where=k > 0)
    square = np.where(known, (values - mean[:, None]) ** 2, 0).sum(1)
    found: np.ndarray = np.sqrt(np.divide(factor(k) * square, k, out=np.full(len(k), np.nan), where=k > 1))
    return found


def _errors(measured: Measured, drawn: np.ndarray, own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standard error of the statistic of each row of draws (sample, draw), on its scale, (sample,)."""
    n, to_scale = drawn.shape[1], SCALES[measured.scale][0]
    if measured.jumps:
        again = np.take_along_axis(drawn[:, None], rng.integers(0, n, (len(drawn), _INNER, n)), axis=2)
        values = _values(measured.of, _counts(again.reshape(-1, n), n), own).reshape(len(drawn), _INNER)
        return _deviation(to_scale(values), lambda k: k / np.maximum(k - 1, 1))
    return _deviation(to_scale(_left_out(measured.of, drawn, own, n)), lambda k: k - 1.0)


def _effective(value: float, error: float, own: np.ndarray, level: float) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share with the number of cases that its error tells (Korn, Graubard 1998)."""
    n, tail = float(len(np.unique(own))), (1 - level) / 2
    if np.isfinite(error) and error > 0:
        n = min(n, max(1.0, value * (1 - value) / error**2))
    low = stats.beta.ppf(tail, n * value, n * (1 - value) + 1) if value > 0 else 0.0
    high = stats.beta.ppf(1 - tail, n * value + 1, n * (1 - value)) if value < 1 else 1.0
    return float(low), float(high)


def _constant(measured: Measured, value: float, own: np.ndarray, level: float) -> Bounds:
    """Where no draw differs from the value there is no spread to studentise by."""
    _, _, lowest, highest = SCALES[measured.scale]
    n = len(np.unique(own))
    if measured.at_limit is not None and value in (lowest, highest):
        low, high = measured.at_limit(own, level)
        return Bounds(low, high, AT_LIMIT)
    share = of_patients(own, level)[0]
    how = f"no spread: {n} patients alike, of whom at least {100 * share:.0f} % of all patients are like (exact)"
    return Bounds(value, value, how)


def studentised(
    measured: Measured, own: np.ndarray, value: float, *, level: float, seed: int, n_resamples: int
) -> Bounds:
    """Bounds of a statistic over patients.

    Parameters
    ----------
    measured
        The statistic and its scale.
    own
        Number of each case's patient from 0, (case,).
    value
        The statistic of all cases.
    level, seed, n_resamples
        Of the bootstrap.

    Returns
    -------
    Bounds
        A share so near its limit that draws reach it has Clopper and Pearson's interval with the number of cases that
        its error tells; a statistic with so many ties that a tenth of the draws has no error, the draws' own quantiles;
        one without any spread, its value, with what that says in words. NaN only where the value is.
    """
    if not np.isfinite(value):
        return Bounds(float("nan"), float("nan"), "none: not defined")
    n, tail = int(own.max()) + 1, (1 - level) / 2
    to_scale, back, lowest, highest = SCALES[measured.scale]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n, (n_resamples, n))
    samples = _values(measured.of, _counts(drawn, n), own)
    known = np.isfinite(samples)
    if not known.any() or np.ptp(samples[known]) <= 1e-12 * max(1.0, abs(value)):
        return _constant(measured, value, own, level)
    errors = _errors(measured, drawn, own, rng)
    # The value's own error has no need to be quick: every patient is left out, or many samples are drawn.
    reach = _own_error(measured, own, n, rng)
    usable = known & (samples > lowest) & (samples < highest) & np.isfinite(errors) & (errors > 1e-12)
    certain = lowest < value < highest and np.isfinite(reach) and reach > 0
    if measured.scale == "share" and (usable[known].mean() < 0.99 or not certain):
        plain = reach * value * (1 - value) if certain else float("nan")
        if value in (lowest, highest) and measured.at_limit is not None:
            return Bounds(*measured.at_limit(own, level), AT_LIMIT)
        return Bounds(*_effective(value, plain, own, level), "exact, with the effective number of patients")
    if not certain or usable[known].mean() < 0.9:
        low, high = np.quantile(samples[known], [tail, 1 - tail])
        return Bounds(float(low), float(high), "quantiles of the bootstrap, as values tie")
    middle = float(to_scale(np.asarray(value)))
    lower, upper = np.quantile((to_scale(samples[usable]) - middle) / errors[usable], [tail, 1 - tail])
    low, high = back(np.array([middle - upper * reach, middle - lower * reach]))
    return Bounds(float(low), float(high), _WORDS[measured.scale])


def _own_error(measured: Measured, own: np.ndarray, n: int, rng: np.random.Generator) -> float:
    to_scale = SCALES[measured.scale][0]
    if measured.jumps:
        values = _values(measured.of, _counts(rng.integers(0, n, (8 * _INNER, n)), n), own)
        return float(_deviation(to_scale(values)[None], lambda k: k / np.maximum(k - 1, 1))[0])
    values = _values(measured.of, 1 - np.eye(n, dtype=int), own)
    return float(_deviation(to_scale(values)[None], lambda k: k - 1.0)[0])
