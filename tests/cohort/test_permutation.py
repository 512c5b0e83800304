"""Tests by exchange, against closed forms, brute force and their own error rates."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from regard.cohort.means import group_means_test, mean_test
from regard.cohort.null import masked_surrogate
from regard.cohort.permutation import exchanged, freedman_lane, ordinary_t, sign_flipping
from regard.cohort.region_table import patient_means
from regard.cohort.regions import RegionFigures, region_figures
from regard.core.errors import InputError


def drawn(n: int, regions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, regions))


def test_sign_flipping_is_brute_force_over_all_signs() -> None:
    values = drawn(7, 4) + np.array([0.8, 0, -0.4, 0])
    found = sign_flipping(values)
    np.testing.assert_allclose(found.t, stats.ttest_1samp(values, 0).statistic)
    largest = [
        np.abs(stats.ttest_1samp(values * np.array(signs)[:, None], 0).statistic).max()
        for signs in product((1, -1), repeat=7)
    ]
    expected = [np.mean(np.array(largest) >= abs(t) - 1e-9) for t in found.t]
    np.testing.assert_allclose(found.p, expected)
    assert found.p.min() >= 2 / 2**7  # all signs and none give the same |t|


def test_random_signs_come_near_the_exact_p() -> None:
    values = drawn(12, 5, 3) + 0.3
    exact = sign_flipping(values)
    many = sign_flipping(np.concatenate([values, values[:1] * 0 + values.mean(0)]), n_draws=200)
    assert len(exact.largest) == 2**12
    assert len(many.largest) == 201
    p = exact.p
    rng = np.random.default_rng(1)
    signs = rng.choice((-1.0, 1.0), (4000, 12))
    largest = np.abs(stats.ttest_1samp(signs[:, :, None] * values, 0, axis=1).statistic).max(1)
    np.testing.assert_allclose(p, [(largest >= abs(t) - 1e-9).mean() for t in exact.t], atol=0.03)


def test_regions_without_values_or_spread_are_left_out() -> None:
    values = drawn(10, 3)
    values[:, 1], values[2, 2] = 0.25, np.nan
    found = sign_flipping(values)
    assert np.isfinite(found.t).tolist() == [True, False, False]
    assert np.isnan(sign_flipping(drawn(1, 3)).p).all()


def test_t_of_a_covariate_is_ordinary_least_squares() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    effect, nuisance = rng.normal(size=30), rng.normal(size=(30, 2))
    values = rng.normal(size=(30, 3)) + effect[:, None] * [3, 0, -3] + nuisance[:, :1]
    design = np.column_stack([effect, np.ones(30), nuisance])
    expected = [sm.OLS(v, design).fit().tvalues[0] for v in values.T]
    np.testing.assert_allclose(ordinary_t(values, design, 0), expected)
    found = freedman_lane(values, effect, nuisance, n_draws=199)
    np.testing.assert_allclose(found.t, expected)
    assert found.p[0] == found.p[2] == 1 / 200
    assert found.p[1] > 0.05


def test_without_nuisance_it_is_the_permutation_test_itself() -> None:
    """Six cases in two groups: all 720 orders by hand, and p of the random ones near it."""
    values = drawn(6, 2, 5) + np.array([0, 0, 0, 1.5, 1.5, 1.5])[:, None]
    group = np.array([0, 0, 0, 1, 1, 1.0])
    own = np.abs(stats.ttest_ind(values[3:], values[:3]).statistic)
    largest = [
        np.abs(stats.ttest_ind(v[3:], v[:3]).statistic).max() for v in (values[list(o)] for o in permutations(range(6)))
    ]
    exact = [(np.array(largest) >= t - 1e-9).mean() for t in own]
    found = freedman_lane(values, group, np.zeros((6, 0)), n_draws=3000)
    np.testing.assert_allclose(np.abs(found.t), own)
    np.testing.assert_allclose(found.p, exact, atol=0.03)


def test_p_of_one_region_agrees_with_nilearn() -> None:
    from nilearn.mass_univariate import permuted_ols

    rng = np.random.default_rng(2)
    effect, nuisance = rng.normal(size=(25, 1)), rng.normal(size=(25, 1))
    values = rng.normal(size=(25, 6)) + 0.4 * effect
    ours = freedman_lane(values, effect[:, 0], nuisance, n_draws=2000)
    theirs = permuted_ols(effect, values, nuisance, n_perm=2000, random_state=0, output_type="dict")
    np.testing.assert_allclose(ours.t, theirs["t"][0], rtol=1e-6)
    np.testing.assert_allclose(ours.p, 10.0 ** -theirs["logp_max_t"][0], atol=0.05)


def test_an_effect_that_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(InputError, match="constant or follows"):
        freedman_lane(drawn(10, 2), np.ones(10), np.zeros((10, 0)))
    with pytest.raises(InputError, match="constant or follows"):
        freedman_lane(drawn(10, 2), np.arange(10.0), 2 * np.arange(10.0)[:, None])
    with pytest.raises(InputError, match="cases for"):
        freedman_lane(drawn(3, 2), np.arange(3.0), np.zeros((3, 0)))


def test_blocks_keep_repeated_scans_together() -> None:
    blocks = ["a", "a", "b", "c", "c", "d"]
    between = np.array([0, 0, 1, 1, 1, 0.0])
    rng = np.random.default_rng(0)
    seen = {tuple(exchanged(blocks, between, rng)) for _ in range(200)}
    # a and c (two scans each) change places as wholes; so do b and d.
    assert seen == {(0, 1, 2, 3, 4, 5), (3, 4, 2, 0, 1, 5), (0, 1, 5, 3, 4, 2), (3, 4, 5, 0, 1, 2)}
    within = np.array([0, 1, 0.5, 0, 1, 0.5])
    seen = {tuple(exchanged(blocks, within, rng)) for _ in range(200)}
    assert seen == {(0, 1, 2, 3, 4, 5), (1, 0, 2, 3, 4, 5), (0, 1, 2, 4, 3, 5), (1, 0, 2, 4, 3, 5)}


def test_repeated_scans_taken_for_patients_find_what_is_not_there() -> None:
    """Two scans of each patient and no effect: with blocks p is fair, without them it is not."""
    with_blocks, without = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(12), 4)
        values = rng.normal(size=(12, 1))[who] + 0.1 * rng.normal(size=(48, 1))
        group = (who % 2).astype(float)
        arguments = (values, group, np.zeros((48, 0)))
        with_blocks.append(freedman_lane(*arguments, blocks=[str(w) for w in who], seed=seed, n_draws=99).p[0])
        without.append(freedman_lane(*arguments, seed=seed, n_draws=99).p[0])
    assert np.mean(np.array(with_blocks) <= 0.05) <= 0.12
    assert np.mean(np.array(without) <= 0.05) >= 0.25


def test_figures_of_regions_are_brute_force() -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(6, 5, 4)), rng.integers(0, 4, (6, 5, 4))
    values[0, 0] = np.nan
    found = RegionFigures.stacked([region_figures(values, labels, 3).plain()])
    seen = np.isfinite(values)
    for region in (1, 2, 3):
        own = values[(labels == region) & seen]
        assert found.n[0, region - 1] == len(own)
        np.testing.assert_allclose(found.sum[0, region - 1], own.sum())
        np.testing.assert_allclose(found.mean[0, region - 1], own.mean())
        np.testing.assert_allclose(found.positive[0, region - 1], own[own > 0].sum())
        np.testing.assert_allclose(found.negative[0, region - 1], own[own < 0].sum())
        share = np.abs(own).sum() / np.abs(values[seen]).sum()
        np.testing.assert_allclose(found.share[0, region - 1], share)
        np.testing.assert_allclose(found.density[0, region - 1], share / (len(own) / seen.sum()))
    np.testing.assert_allclose(found.share.sum(), 1)
    even = RegionFigures.stacked([region_figures(np.full((6, 5, 4), -2.0), labels, 3).plain()])
    np.testing.assert_allclose(even.density, 1)
    blank = RegionFigures.stacked([region_figures(np.zeros((6, 5, 4)), labels, 3).plain()])
    assert np.isnan(blank.share).all()


def smooth_cohort(n: int, seed: int, shape: tuple[int, ...] = (12, 12, 6)) -> list[np.ndarray]:
    """Unsigned smooth maps with hot spots anywhere: nothing is planted."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return [np.exp(3 * gaussian_filter(rng.normal(size=shape), 1.5, mode="wrap") / 0.1 * 0.3) for _ in range(n)]


def densities(maps: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    n = int(labels.max())
    return RegionFigures.stacked([region_figures(m, labels, n).plain() for m in maps]).density[:, :n]


def grid_of_regions(shape: tuple[int, ...] = (12, 12, 6)) -> np.ndarray:
    i, j, k = np.indices(shape)
    return 1 + i // 4 + 3 * (j // 4) + 9 * (k // 3)


def test_an_unsigned_map_is_above_zero_everywhere_and_not_above_its_null() -> None:
    maps, labels = smooth_cohort(20, 0), grid_of_regions()
    own = densities(maps, labels)
    null = densities([masked_surrogate(m, seed=0, case=str(n)) for n, m in enumerate(maps)], labels)
    against_zero = sign_flipping(own, n_draws=999)
    assert (against_zero.p == 1 / 1000).all()
    assert (sign_flipping(own - null, n_draws=999).p > 0.05).all()


def test_what_is_planted_stands_out_against_the_null() -> None:
    labels = grid_of_regions()
    maps = [m * np.where(labels == 5, 1.6, 1.0) for m in smooth_cohort(20, 1)]
    null = densities([masked_surrogate(m, seed=0, case=str(n)) for n, m in enumerate(maps)], labels)
    found = sign_flipping(densities(maps, labels) - null, n_draws=999)
    assert np.flatnonzero(found.p < 0.05).tolist() == [4]


@pytest.mark.slow
def test_at_most_one_cohort_in_twenty_finds_what_is_not_there() -> None:
    """100 cohorts of 16 maps, 18 regions, nothing planted: the share with any p <= 0.05, and its interval."""
    labels = grid_of_regions()
    hits = 0
    for cohort in range(100):
        maps = smooth_cohort(16, 1000 + cohort)
        null = densities([masked_surrogate(m, seed=cohort, case=str(n)) for n, m in enumerate(maps)], labels)
        hits += bool((sign_flipping(densities(maps, labels) - null, n_draws=499, seed=cohort).p <= 0.05).any())
    low, high = stats.binomtest(hits, 100).proportion_ci()
    assert low <= 0.05, f"{hits} of 100 ({low:.3f} to {high:.3f})"
    assert hits <= 5, f"{hits} of 100 ({low:.3f} to {high:.3f})"


def test_a_surrogate_keeps_values_and_what_was_never_seen() -> None:
    values = smooth_cohort(1, 4, (24, 24, 12))[0].astype(np.float32)
    values[:3] = np.nan
    found = masked_surrogate(values, seed=0, case="a")
    assert np.array_equal(np.isfinite(found), np.isfinite(values))
    np.testing.assert_allclose(np.sort(found[np.isfinite(found)]), np.sort(values[np.isfinite(values)]), rtol=1e-5)
    shuffled = values.copy()
    shuffled[3:] = np.random.default_rng(0).permutation(values[3:].ravel()).reshape(values[3:].shape)
    step = [np.abs(np.diff(v[3:], axis=0)).mean() / v[3:].std() for v in (values, found, shuffled)]
    assert 0.8 < step[1] / step[0] < 1.3  # nearly as smooth
    assert step[2] / step[0] > 2
    assert abs(np.corrcoef(found[3:].ravel(), values[3:].ravel())[0, 1]) < 0.4  # elsewhere
    np.testing.assert_array_equal(found, masked_surrogate(values, seed=0, case="a"))


def test_patients_count_once() -> None:
    means, names = patient_means(np.array([[1.0], [3.0], [10.0], [np.nan]]), ["a", "a", "b", "b"])
    assert names == ["a", "b"]
    assert means[:, 0].tolist() == [2.0, 10.0]


def false_alarms(test, n_cohorts: int = 120) -> float:
    """Share of cohorts without any effect in which some region is named at 5 %."""
    return float(np.mean([bool((test(k) <= 0.05).any()) for k in range(n_cohorts)]))


def test_skewed_differences_of_mean_zero_are_no_effect() -> None:
    def skewed(k: int) -> np.ndarray:
        return np.random.default_rng(k).exponential(size=(20, 16)) - 1

    assert false_alarms(lambda k: mean_test(skewed(k), seed=k, n_draws=199).p) <= 0.1
    assert false_alarms(lambda k: sign_flipping(skewed(k), seed=k, n_draws=199).p) >= 0.2


@pytest.mark.parametrize(("spread", "skewed"), [(3.0, False), (1 / 3, False), (3.0, True)])
def test_a_small_group_that_spreads_unlike_is_not_called_different(spread: float, skewed: bool) -> None:
    group = np.r_[np.zeros(40), np.ones(8)]

    def p(k: int) -> np.ndarray:
        rng = np.random.default_rng(k)
        values = rng.exponential(size=(48, 16)) - 1 if skewed else rng.normal(size=(48, 16))
        values[40:] *= spread
        return group_means_test(values, group, rng.normal(size=(48, 1)), seed=k, n_draws=199).p

    assert false_alarms(p) <= 0.1


def test_means_that_differ_are_found() -> None:
    rng, group = np.random.default_rng(0), np.r_[np.zeros(30), np.ones(12)]
    values = rng.normal(size=(42, 6))
    values[group == 1, 2] = 2 + 0.5 * values[group == 1, 2]
    found = group_means_test(values, group, np.zeros((42, 0)), n_draws=499)
    np.testing.assert_allclose(found.t, stats.ttest_ind(values[30:], values[:30], equal_var=False).statistic)
    assert found.p[2] == 1 / 500
    assert found.p[[0, 1, 3, 4, 5]].min() > 0.05
    one = mean_test(rng.exponential(size=(25, 4)) - np.array([1, 1, 0.2, 1]), n_draws=499)
    assert one.p[2] <= 0.01
    assert one.p[[0, 1, 3]].min() > 0.05


def test_few_patients_are_tested_by_signs_and_small_groups_by_exchange() -> None:
    assert "symmetry" in mean_test(drawn(9, 3)).test
    assert "mean" in mean_test(drawn(10, 3)).test
    group = np.r_[np.zeros(20), np.ones(5)]
    assert "exchange" in group_means_test(drawn(25, 3), group, np.zeros((25, 0)), n_draws=19).test
    twice = [str(k // 2) for k in range(24)]
    group = np.repeat([0.0, 1.0], 12)
    assert "exchange" in group_means_test(drawn(24, 3), group, np.zeros((24, 0)), blocks=twice, n_draws=19).test
