"""How often the tests of a cohort find what is not there; ``python docs/cohort_tests.py`` writes the how-to's table.

Densities with equal means and no effect, in 16 regions; each row is another way in which cohorts are. The old tests
(sign flips; exchange with one variance for all) stand beside the ones in use.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from regard.cohort.means import group_means_test, mean_test
from regard.cohort.permutation import freedman_lane, ordinary_t, p_of_largest, sign_flipping

REGIONS = 16
DRAWS = 399

SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "lognormal": lambda rng, size: rng.lognormal(size=size) - np.exp(0.5),
    "t, 3 degrees": lambda rng, size: rng.standard_t(3, size=size),
}


def one_variance(values: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Exchange of patients with one variance for both groups, as Regard 0.1 had it; p of each region."""
    rng, design = np.random.default_rng(seed), np.column_stack([group, np.ones(len(group))])
    t = ordinary_t(values, design, 0)
    drawn = [np.abs(t).max()]
    drawn += [np.abs(ordinary_t(values[rng.permutation(len(values))], design, 0)).max() for _ in range(DRAWS)]
    return p_of_largest(t, np.asarray(drawn))


def share(hits: Sequence[bool]) -> str:
    """A share with its exact 95 % interval, in percent."""
    bounds = binomtest(sum(hits), len(hits)).proportion_ci(method="exact")
    return f"{100 * np.mean(hits):.1f} ({100 * bounds.low:.1f}-{100 * bounds.high:.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500)
    n_cohorts = parser.parse_args(arguments).cohorts
    sys.stdout.write(f"| cohort, no effect (n = {n_cohorts} each) | test in use | test of 0.1 |\n| --- | --- | --- |\n")
    for name, shape in SHAPES.items():
        for n in (10, 20, 40, 100):
            now, before = [], []
            for k in range(n_cohorts):
                values = shape(np.random.default_rng(k), (n, REGIONS))
                now.append(bool((mean_test(values, seed=k, n_draws=DRAWS).p <= 0.05).any()))
                before.append(bool((sign_flipping(values, seed=k, n_draws=DRAWS).p <= 0.05).any()))
            _row(f"one group, {name}, {n} patients", now, before)
    for name, shape in list(SHAPES.items())[:2]:
        for first, second, ratio in ((20, 20, 1.0), (20, 20, 3.0), (40, 8, 1.0), (40, 8, 3.0), (40, 8, 1 / 3)):
            now, before = [], []
            group = np.r_[np.zeros(first), np.ones(second)]
            for k in range(n_cohorts):
                values = shape(np.random.default_rng(k), (first + second, REGIONS))
                values[first:] *= ratio
                found = group_means_test(values, group, np.zeros((len(group), 0)), seed=k, n_draws=DRAWS)
                now.append(bool((found.p <= 0.05).any()))
                before.append(bool((one_variance(values, group, k) <= 0.05).any()))
            _row(f"{first} against {second} patients, {name}, spread 1 : {ratio:.2g}", now, before)
    now = []
    for k in range(n_cohorts):
        rng = np.random.default_rng(k)
        age, values = rng.normal(size=30), rng.normal(size=(30, REGIONS))
        now.append(bool((freedman_lane(values, age, np.zeros((30, 0)), seed=k, n_draws=DRAWS).p <= 0.05).any()))
    _row("a covariate, normal, 30 patients", now, now)


def _row(name: str, now: Sequence[bool], before: Sequence[bool]) -> Any:
    sys.stdout.write(f"| {name} | {share(now)} | {share(before)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
