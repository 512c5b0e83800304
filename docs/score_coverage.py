"""How often the intervals of studies' scores hold the truth; ``python docs/score_coverage.py`` writes the page's table.

Cohorts are drawn whose true score is known, one case a patient unless two are said, and each has its interval at 95 %
as a study makes it. The last column is of the same cohorts by BCa (Efron 1987), which studies had before.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

from regard.evidence.statistics import exact_interval
from regard.studies.brain_age.regions import over_regions, rank_correlation
from regard.studies.scoring.bootstrap import Score, mean_score, scored
from regard.studies.scoring.classification import decision_scores
from regard.studies.scoring.ranking import area_statistic
from regard.studies.scoring.regression import regression_statistics
from regard.studies.scoring.studentised import Measured, Statistic

RESAMPLES = 499

Drawn = tuple[Statistic, list[str]]


def _names(n: int, cases: int = 1) -> list[str]:
    return [str(k // cases) for k in range(n * cases)]


def regression(name: str, r: float) -> Callable[[np.random.Generator, int], Drawn]:
    """A statistic of normal labels and predictions that correlate with r."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        y = rng.normal(size=n)
        f = r * y + np.sqrt(1 - r**2) * rng.normal(size=n)
        return regression_statistics(list(y), list(f))[name][0], _names(n)

    return draw


def area(true: float) -> Callable[[np.random.Generator, int], Drawn]:
    """The area under the ROC curve of normal scores, half of the patients ill."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        ill = np.arange(n) % 2 == 0
        values = rng.normal(size=n) + ill * stats.norm.ppf(true) * np.sqrt(2)
        return area_statistic(list(ill), list(values)), _names(n)

    return draw


def mean(rng: np.random.Generator, n: int) -> Drawn:
    """The mean of lognormal values, two cases a patient."""
    values = np.repeat(rng.lognormal(0, 0.7, n), 2) * rng.lognormal(-0.045, 0.3, 2 * n)
    return lambda w: w @ values / w.sum(1), _names(n, 2)


def median(rng: np.random.Generator, n: int) -> Drawn:
    """The median of exponential values."""
    values = np.sort(rng.exponential(size=n))

    def statistic(w: np.ndarray) -> np.ndarray:
        reached = w.cumsum(1) / w.sum(1, keepdims=True)
        found: np.ndarray = (values[(reached >= 0.5).argmax(1)] + values[(reached > 0.5).argmax(1)]) / 2
        return found

    return Measured(statistic, "positive", jumps=True), _names(n)


def overlap(rng: np.random.Generator, n: int) -> Drawn:
    """The mean of Dice-like shares near 1."""
    values = rng.beta(18, 2, n)
    return lambda w: w @ values / w.sum(1), _names(n)


_TRUTH = np.arange(25.0)
_TRUE_MAP = _TRUTH + np.random.default_rng(1).normal(0, 6, 25)


def regions(rng: np.random.Generator, n: int) -> Drawn:
    """Spearman over 25 fixed regions of a mean map with what was planted."""
    maps = _TRUE_MAP + rng.normal(0, 8, (n, 25)) + rng.normal(0, 3, (n, 1))
    return over_regions(lambda w: rank_correlation(w @ maps / w.sum(1, keepdims=True), _TRUTH)), _names(n)


def bca(statistic: Statistic, own: np.ndarray, value: float, seed: int) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval over patients, at 95 % (Efron 1987)."""
    n = int(own.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    samples = statistic(drawn[:, own].astype(float))
    samples, gaps = samples[np.isfinite(samples)], statistic((1.0 - np.eye(n))[:, own])
    gaps = np.nanmean(gaps) - gaps[np.isfinite(gaps)]
    below = np.clip(((samples < value).mean() + (samples <= value).mean()) / 2, 1 / len(samples), 1 - 1 / len(samples))
    bias, size = stats.norm.ppf(below), (gaps**2).sum() ** 1.5
    pull = (gaps**3).sum() / (6 * size) if size > 0 else 0.0
    z = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(samples, stats.norm.cdf(bias + z / (1 - pull * z)))
    return float(low), float(high)


def statistics() -> Iterator[tuple[str, Callable[[np.random.Generator, int], Drawn], float]]:
    """Name, what draws a cohort, and the true value."""
    error = float(np.sqrt((1 - 0.9) ** 2 + 1 - 0.9**2))
    yield "mean, skewed, two cases a patient", mean, float(np.exp(0.7**2 / 2))
    yield "mean Dice near 0.9", overlap, 0.9
    yield "median, exponential", median, float(np.log(2))
    yield "MAE", regression("mae", 0.9), error * float(np.sqrt(2 / np.pi))
    yield "RMSE", regression("rmse", 0.9), error
    yield "slope", regression("slope", 0.9), 0.9
    yield "Pearson's r, 0.3", regression("pearson_r", 0.3), 0.3
    yield "Pearson's r, 0.9", regression("pearson_r", 0.9), 0.9
    yield "AUC 0.7", area(0.7), 0.7
    yield "AUC 0.9", area(0.9), 0.9
    yield "AUC 0.97", area(0.97), 0.97
    yield "Spearman, 25 fixed regions", regions, float(rank_correlation(_TRUE_MAP[None], _TRUTH)[0])


def interval(drawn: Drawn, seed: int) -> Score:
    """The score of a cohort as a study makes it."""
    return scored(drawn[0], drawn[1], seed=seed, n_resamples=RESAMPLES)


def held(k: int, n: int) -> str:
    """A share in percent with its exact 95 % interval."""
    low, high = exact_interval(k, n)
    return f"{100 * k / n:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def saturated() -> Iterator[str]:
    """What is said of scores at the end of their range, 12 patients."""
    names, so = _names(12), [k % 2 == 0 for k in range(12)]
    yield f"| AUC, all pairs right | {scored(area_statistic(so, [float(s) for s in so]), names)} |\n"
    right = decision_scores(so, so, names)
    yield from (
        f"| {name}, all right | {right[name]} |\n" for name in ("accuracy", "sensitivity", "f1", "mcc", "kappa")
    )
    yield f"| mean Dice, all 1 | {mean_score([1.0] * 12, names, within=(0, 1))} |\n"
    yield f"| mean of values without a range, all 3 | {(s := mean_score([3.0] * 12, names))}; {s.interval} |\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=400)
    n_cohorts = parser.parse_args(arguments).cohorts
    sys.stdout.write("| score | patients | in use, % | BCa, % |\n| --- | --- | --- | --- |\n")
    for name, draw, true in statistics():
        for n in (10, 20, 40):
            now = before = 0
            for k in range(n_cohorts):
                drawn = draw(np.random.default_rng([50_000, k, n]), n)
                found = interval(drawn, k)
                now += found.low <= true <= found.high
                own = np.unique(drawn[1], return_inverse=True)[1]
                with np.errstate(all="ignore"):
                    low, high = bca(drawn[0], own, found.value, k)
                before += low <= true <= high
            sys.stdout.write(f"| {name} | {n} | {held(now, n_cohorts)} | {held(before, n_cohorts)} |\n")
            sys.stdout.flush()
    sys.stdout.write("\n| score at the end of its range, 12 patients | value and interval |\n| --- | --- |\n")
    sys.stdout.writelines(saturated())


if __name__ == "__main__":
    main()
