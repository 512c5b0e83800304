from itertools import product

import numpy as np
import pytest
from scipy import stats

from regard.evidence.coverage import bca, cohort, coverage, student
from regard.evidence.statistics import clustered_interval, effect_size, holm, patient_means, rank_p, sign_flip_p


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    found = holm([0.02, float("nan"), 0.9, 0.8])
    assert found[0] == pytest.approx(0.06)
    assert np.isnan(found[1])
    assert found[2:] == [1.0, 1.0]


def test_rank_p_counts_the_map_itself():
    assert rank_p(5, range(99)) == pytest.approx(95 / 100)
    assert rank_p(1000, range(99)) == pytest.approx(0.01)
    assert rank_p(1000, range(99), "less") == 1.0
    assert np.isnan(rank_p(1, []))


def test_rank_p_is_uniform_under_the_null():
    drawn = np.random.default_rng(0).normal(size=(2000, 100))
    p = np.array([rank_p(row[0], row[1:]) for row in drawn])
    assert 0.03 < (p <= 0.05).mean() < 0.07


@pytest.mark.parametrize("side", ["greater", "less"])
def test_sign_flips_by_brute_force(side):
    d = np.array([0.4, -0.1, 0.9, 0.3, -0.6, 0.2])
    means = np.array([np.mean(d * s) for s in product((1, -1), repeat=6)])
    as_far = means >= d.mean() - 1e-12 if side == "greater" else means <= d.mean() + 1e-12
    assert sign_flip_p(list(d), side=side) == pytest.approx(as_far.mean())
    assert sign_flip_p([0.3]) == 0.5
    assert np.isnan(sign_flip_p([]))


def test_the_patient_is_the_unit():
    values, patients = [1.0, 3.0, 10.0, float("nan")], ["a", "a", "b", "c"]
    assert patient_means(values, patients) == {"a": 2.0, "b": 10.0}
    found = clustered_interval(values, patients)
    assert (found.value, found.n) == (6.0, 2)
    assert np.isnan(found.low)
    repeated = clustered_interval(list(range(12)) * 5, [str(n) for n in range(12)] * 5)
    once = clustered_interval(list(range(12)), [str(n) for n in range(12)])
    assert (repeated.low, repeated.high, repeated.n) == (once.low, once.high, 12)


def test_effect_size_is_mean_over_deviation():
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert np.isnan(effect_size([1.0]))


@pytest.mark.parametrize(("n", "skew"), [(10, 0.5), (20, 0.5), (20, 0.8), (40, 0.8)])
def test_intervals_cover_on_skewed_clustered_data(n, skew):
    """Lognormal patients with one to four lognormal cases each: 400 cohorts, nominal 95 %."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(400):
        values, patients = cohort(rng, n, skew)
        found = clustered_interval(values, patients, seed=int(rng.integers(2**31)))
        hits += found.low <= np.exp(skew**2 / 2) <= found.high
    assert 0.90 <= hits / 400 <= 0.98


def test_ties_do_not_break_the_interval():
    found = clustered_interval([0.0] * 9 + [1.0], [str(n) for n in range(10)])
    assert 0 <= found.low <= 0.1 <= found.high <= 1


def test_bca_is_that_of_scipy():
    values = np.random.default_rng(3).lognormal(0, 0.8, 25)
    draws = np.random.default_rng(0)
    found = stats.bootstrap((values,), np.mean, n_resamples=99_999, method="BCa", rng=draws).confidence_interval
    width = found.high - found.low
    assert bca(values) == pytest.approx((found.low, found.high), abs=0.08 * width)


def test_students_interval_by_hand():
    low, high = student(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446 * np.sqrt(5 / 3) / 2
    assert (low, high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)


def test_bca_falls_short_where_the_studentised_interval_does_not():
    """The small version of ``python -m regard.evidence.coverage``."""
    hits = coverage(10, 1.0, n_cohorts=300, seed=3)
    assert 0.87 <= hits["studentised"] / 300 <= 0.97
    assert hits["BCa"] < hits["studentised"]


@pytest.mark.parametrize("side", ["greater", "less"])
def test_many_sign_flips_are_near_the_exact_ones(side):
    d = list(np.random.default_rng(4).normal(0.3, 1, 16))
    flips = np.array(list(product((1.0, -1.0), repeat=16))) @ np.array(d)
    exact = (flips >= sum(d) - 1e-12).mean() if side == "greater" else (flips <= sum(d) + 1e-12).mean()
    assert sign_flip_p(d, side=side) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p([1.0] * 16) == pytest.approx(1 / 10000)
