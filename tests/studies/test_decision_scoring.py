"""Scores of classifiers, paired tests, boxes and separation against closed forms, other packages and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.neighbors import KNeighborsClassifier
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from regard.core.errors import InputError, ShapeError
from regard.studies.scoring.boxes import Box, boxes_of_map, boxes_of_mask, iou, matched, precision_statistic
from regard.studies.scoring.classification import Confusion, decision_scores, share_score
from regard.studies.scoring.paired import area_permutation_p, delong, mcnemar
from regard.studies.scoring.ranking import area, area_statistic
from regard.studies.scoring.separation import neighbours_right, silhouettes, standardised_features


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.45
    return labels, np.round(rng.normal(labels, 1.0), 1), np.round(rng.normal(0.5 * labels, 1.0), 1)


def own(n: int) -> list[str]:
    return [f"p{k}" for k in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_decisions_against_scikit_learn_and_statsmodels(seed: int) -> None:
    labels, scores, _ = drawn(70, seed)
    told = scores > 0.4
    found = decision_scores(labels, told, own(70))
    wanted = {
        "accuracy": metrics.accuracy_score(labels, told),
        "sensitivity": metrics.recall_score(labels, told),
        "specificity": metrics.recall_score(~labels, ~told),
        "precision": metrics.precision_score(labels, told),
        "f1": metrics.f1_score(labels, told),
        "mcc": metrics.matthews_corrcoef(labels, told),
        "kappa": metrics.cohen_kappa_score(labels, told),
    }
    assert {k: pytest.approx(v, abs=1e-12) for k, v in wanted.items()} == {k: s.value for k, s in found.items()}
    low, high = proportion_confint(int((told & labels).sum()), int(labels.sum()), method="beta")
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx((low, high), abs=1e-12)
    assert found["sensitivity"].n == labels.sum() and found["precision"].n == told.sum()
    assert all(s.low < s.value < s.high for s in found.values())


def test_an_exact_interval_only_for_one_case_a_patient() -> None:
    right = [True] * 15 + [False] * 5
    alone = share_score(right, own(20))
    assert (alone.low, alone.high) == pytest.approx(proportion_confint(15, 20, method="beta"))
    twice = share_score(right * 2, own(20) * 2)
    assert twice.value == 0.75 and (twice.n, twice.n_patients) == (40, 20)
    exact = proportion_confint(30, 40, method="beta")
    assert twice.high - twice.low > exact[1] - exact[0]  # a patient seen twice is not two patients
    assert np.isnan(share_score([], []).value)


def test_shares_of_nothing_are_undefined() -> None:
    nobody = Confusion(0.0, 0.0, 3.0, 4.0)
    assert np.isnan(nobody.mcc) and np.isnan(nobody.precision) and nobody.kappa == 0
    assert np.isnan(Confusion(5.0, 0.0, 0.0, 0.0).kappa)


@pytest.mark.parametrize("seed", range(3))
def test_area_against_scikit_learn_and_within_folds(seed: int) -> None:
    labels, scores, _ = drawn(80, seed)
    assert area(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    weights = np.random.default_rng(seed).integers(0, 3, (5, 80)).astype(float)
    many = area_statistic(labels, scores)(weights)
    for row, value in zip(weights, many):
        assert value == pytest.approx(metrics.roc_auc_score(labels, scores, sample_weight=row), abs=1e-12)
    folds = np.arange(80) % 2
    # Another scale in one fold changes nothing within folds.
    shifted = np.where(folds == 1, 3 * scores - 50, scores)
    assert area(labels, shifted, folds) == pytest.approx(area(labels, scores, folds), abs=1e-12)
    pairs = [(labels[folds == f].sum() * (~labels[folds == f]).sum(), area(labels[folds == f], scores[folds == f]))
             for f in (0, 1)]  # fmt: skip
    assert area(labels, scores, folds) == pytest.approx(sum(n * a for n, a in pairs) / sum(n for n, _ in pairs))
    assert np.isnan(area([True, False], [1.0, 0.0], [0, 1]))
    with pytest.raises(ShapeError):
        area([True], [1.0, 2.0])


def test_mcnemar_against_statsmodels_and_by_hand() -> None:
    labels, a, b = drawn(60, 5)
    right = [(s > 0.4) == labels for s in (a, b)]
    found = mcnemar(*right)
    table = [[int((x & y).sum()) for y in (right[1], ~right[1])] for x in (right[0], ~right[0])]
    assert found.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert (found.first, found.second) == (table[0][1], table[1][0])
    # Five to none: twice (1/2)^5.
    assert mcnemar([True] * 5, [False] * 5).p == pytest.approx(2 / 32)
    assert mcnemar([True, False], [True, False]).p == 1


def _placements(labels: np.ndarray, scores: np.ndarray) -> tuple[list[float], list[float]]:
    """DeLong's structural components, pair by pair."""
    ill, well = scores[labels], scores[~labels]

    def kernel(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    return [float(np.mean([kernel(x, y) for y in well])) for x in ill], [
        float(np.mean([kernel(x, y) for x in ill])) for y in well
    ]


@pytest.mark.parametrize("seed", range(3))
def test_delong_against_its_literal_form(seed: int) -> None:
    labels, a, b = drawn(50, seed)
    found = delong(labels, a, b, own(50))
    (a10, a01), (b10, b01) = _placements(labels, a), _placements(labels, b)
    s10, s01 = np.cov(a10, b10), np.cov(a01, b01)
    s = s10 / labels.sum() + s01 / (~labels).sum()
    error = np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    difference = metrics.roc_auc_score(labels, b) - metrics.roc_auc_score(labels, a)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert (found.high - found.low) / (2 * stats.norm.ppf(0.975)) == pytest.approx(error, rel=1e-9)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(difference) / error), rel=1e-9)
    swapped = delong(labels, b, a, own(50))
    assert (swapped.difference, swapped.p) == pytest.approx((-found.difference, found.p))


def test_delong_holds_its_level_and_refuses_several_images_of_a_patient() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2 == 0
    ps = []
    for _ in range(400):
        shared = rng.normal(labels, 1.0)
        ps.append(delong(labels, shared + rng.normal(0, 0.7, 80), shared + rng.normal(0, 0.7, 80), own(80)).p)
    low, high = proportion_confint(int(np.sum(np.array(ps) < 0.05)), 400, method="beta", alpha=0.001)
    assert low < 0.05 < high
    with pytest.raises(InputError, match="one case a patient"):
        delong([True, True, False, False], [1, 2, 3, 4], [1, 2, 3, 4], ["a", "a", "b", "c"])
    same = delong(labels, labels * 1.0, labels * 1.0, own(80))
    assert same.difference == 0 and same.p == 1
    # Forty pairs that share no patient never disagree: 0.025 ** (1 / 40) of all pairs at least do not.
    assert same.high == pytest.approx(1 - 0.025 ** (1 / 40)) and same.low == pytest.approx(-same.high)


def test_permutation_against_every_swap() -> None:
    labels, a, b = drawn(9, 3)
    folds, patients = np.array([0] * 5 + [1] * 4), own(9)

    def gained(x: np.ndarray, y: np.ndarray) -> float:
        return area(labels, y, folds) - area(labels, x, folds)

    ranks = []
    for s in (a, b):
        r = np.empty(9)
        for f in (0, 1):
            r[folds == f] = stats.rankdata(s[folds == f])
        ranks.append(r)
    observed, reached = abs(gained(*ranks)), 0
    for swap in itertools.product((False, True), repeat=9):
        x, y = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        reached += abs(gained(x, y)) >= observed - 1e-12
    assert area_permutation_p(labels, a, b, folds, patients) == pytest.approx(reached / 2**9)


def test_permutation_sees_a_difference_and_only_one() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2 == 0
    good, bad = rng.normal(2.0 * labels, 1.0), rng.normal(0, 1, 60)
    folds = np.arange(60) // 30
    assert area_permutation_p(labels, bad, good, folds, own(60)) < 0.005
    assert area_permutation_p(labels, good, good * 3 + 1, folds, own(60)) == 1  # a scale is no difference
    twice = [f"p{k // 2}" for k in range(60)]
    assert 0 < area_permutation_p(labels, bad, good, folds, twice) < 0.05


def test_overlap_by_hand() -> None:
    a, b = Box((0, 0), (4, 4)), Box((2, 2), (6, 6))
    assert iou(a, b) == pytest.approx(4 / 28) and iou(a, a) == 1 and iou(a, Box((4, 4), (8, 8))) == 0
    assert iou(Box((0, 0, 0), (2, 2, 2)), Box((0, 0, 1), (2, 2, 3))) == pytest.approx(4 / 12)
    with pytest.raises(ShapeError):
        iou(a, Box((0,), (1,)))


def test_boxes_of_masks_and_maps_by_hand() -> None:
    mask = np.zeros((8, 10), bool)
    mask[1:3, 1:4] = mask[3, 4] = mask[6, 8] = True
    assert [(b.start, b.stop) for b in boxes_of_mask(mask)] == [((1, 1), (4, 5)), ((6, 8), (7, 9))]
    assert [(b.start, b.stop) for b in boxes_of_mask(mask, grow=2)] == [((1, 1), (7, 9))]
    assert boxes_of_mask(np.zeros((3, 3))) == []
    relevance = np.zeros((8, 10))
    relevance[1:3, 1:4], relevance[6, 8], relevance[7, 0], relevance[0, 9] = 2.0, 1.0, 0.3, -9.0
    relevance[4, 4] = np.nan
    found = boxes_of_map(relevance, threshold=0.2, score=0.8)
    assert [(b.start, b.stop, b.score) for b in found] == [((1, 1), (3, 4), 0.8), ((6, 8), (7, 9), 0.4)]
    assert len(boxes_of_map(relevance, threshold=0.1)) == 3
    assert [b.start for b in boxes_of_map(relevance, threshold=0.1, least=2)] == [(1, 1)]
    assert boxes_of_map(-np.abs(relevance)) == []
    with pytest.raises(InputError):
        boxes_of_map(relevance, threshold=0)


def test_matching_takes_the_surest_first_and_each_truth_once() -> None:
    truth = [Box((0, 0), (10, 10)), Box((20, 20), (30, 30))]
    found = [Box((0, 0), (10, 9), 0.6), Box((0, 0), (10, 10), 0.9), Box((21, 20), (30, 30), 0.5)]
    assert matched(found, truth, 0.5) == [False, True, True]
    assert matched(found, truth, 0.95) == [False, True, False]
    assert matched(found, [], 0.5) == [False] * 3 and matched([], truth, 0.5) == []


def test_mean_average_precision_on_hand_made_cases() -> None:
    truth = [[Box((0, 0), (10, 10))], [Box((0, 0), (10, 10))], []]
    right, half = Box((0, 0), (10, 10), 0.9), Box((0, 0), (10, 5), 0.7)
    wrong = Box((50, 50), (60, 60), 0.8)
    every = np.ones((1, 3))
    assert precision_statistic([[right], [right], []], truth, [0.5])(every) == 1
    # Right at .9; wrong at .8; right at .7 (IoU 1/2): precisions 1, then 2/3, at recalls 1/2 and 1.
    value = precision_statistic([[right], [half], [wrong]], truth, [0.5])(every)
    assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # At 0.75 the half one is wrong: recall stays at 1/2.
    value = precision_statistic([[right], [half], [wrong]], truth, [0.5, 0.75])(every)
    assert value == pytest.approx(((0.5 + 1 / 3) + 0.5) / 2)
    # One wrong box above everything costs half of the precision.
    value = precision_statistic([[right], [right], [Box((50, 50), (60, 60), 1.0)]], truth, [0.5])(every)
    assert value == pytest.approx(2 / 3)  # the two right ones tie and enter together
    assert precision_statistic([[], [], []], truth, [0.5])(every) == 0
    assert np.isnan(precision_statistic([[wrong]], [[]], [0.5])(np.ones((1, 1))))
    # A case counted twice is the case written twice.
    weights = np.array([[2.0, 1.0, 1.0]])
    doubled = precision_statistic([[right], [right], [half], [wrong]], [truth[0], *truth], [0.5])(np.ones((1, 4)))
    assert precision_statistic([[right], [half], [wrong]], truth, [0.5])(weights) == pytest.approx(doubled)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_against_scikit_learn_where_precision_falls(seed: int) -> None:
    # With one true box for each right one, the area under the envelope is that of the staircase where it is monotone.
    rng = np.random.default_rng(seed)
    n = 30
    score, good = rng.permutation(n) / n, np.arange(n) < 12
    score = np.where(good, score + 1, score)
    truth = [[Box((0,), (4,))] if g else [] for g in good]
    found = [[Box((0,), (4,), float(s))] for s in score]
    value = precision_statistic(found, truth, [0.5])(np.ones((1, n)))[0]
    assert value == pytest.approx(metrics.average_precision_score(good, score)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_separation_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(40) < 0.5
    features = rng.normal(size=(40, 12)) + labels[:, None]
    assert silhouettes(features, labels) == pytest.approx(metrics.silhouette_samples(features, labels), abs=1e-9)
    wanted = []
    for n in range(40):
        rest = np.arange(40) != n
        known = KNeighborsClassifier(5).fit(features[rest], labels[rest])
        near = known.kneighbors(features[n : n + 1], return_distance=False)[0]
        wanted.append((labels[rest][near] == labels[n]).mean())
    assert neighbours_right(features, labels) == pytest.approx(np.array(wanted))
    flat = np.concatenate([features, np.ones((40, 1))], 1)
    assert (standardised_features(flat)[:, -1] == 0).all()
    assert standardised_features(flat)[:, :-1].std(0) == pytest.approx(np.ones(12))
    assert np.isnan(silhouettes(features, np.ones(40, bool))).all()
