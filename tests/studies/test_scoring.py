"""Scores by their definitions, and intervals that cover."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from regard.core.errors import ShapeError
from regard.studies.scoring.bootstrap import scored
from regard.studies.scoring.classification import Confusion, classification_scores
from regard.studies.scoring.prediction_intervals import conformal_margin, ensemble_margin
from regard.studies.scoring.regression import regression_scores, regression_statistics
from regard.studies.scoring.segmentation import dice, hausdorff_95


def test_published_figures_from_the_published_confusion_matrix() -> None:
    """Kang 2023, Case 1, test: TP 208, FP 39, FN 24, TN 186; and its five figures."""
    found = Confusion(208, 39, 24, 186)
    said = {n: round(float(getattr(found, n)), 4) for n in ("accuracy", "precision", "specificity", "recall", "f1")}
    # 208 / 247 is 0.84211, 186 / 225 is 0.82667, 416 / 479 is 0.86848.
    assert said == {"accuracy": 0.8621, "precision": 0.8421, "specificity": 0.8267, "recall": 0.8966, "f1": 0.8685}
    assert 208 + 39 + 24 + 186 == 457


def test_regression_statistics_against_plain_formulas() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0.9, 0.15, 50)
    f = 0.7 * y + 0.27 + rng.normal(0, 0.05, 50)
    found = {k: float(s(np.ones((1, 50)))[0]) for k, (s, _) in regression_statistics(list(y), list(f)).items()}
    d = f - y
    line = stats.linregress(y, f)
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(y, f)[0])
    assert found["mae"] == pytest.approx(np.abs(d).mean())
    assert found["rmse"] == pytest.approx(np.sqrt((d**2).mean()))
    assert found["mape"] == pytest.approx(100 * np.mean([abs(a / b) for a, b in zip(d, y, strict=True)]))
    assert found["bias"] == pytest.approx(d.mean())
    assert found["loa_low"] == pytest.approx(d.mean() - 1.96 * d.std(ddof=1))
    assert found["loa_high"] == pytest.approx(d.mean() + 1.96 * d.std(ddof=1))
    assert found["slope"] == pytest.approx(line.slope)


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    y, f = rng.normal(1, 0.2, 12), rng.normal(1, 0.2, 12)
    w = rng.integers(0, 4, 12)
    for name, (statistic, _) in regression_statistics(list(y), list(f)).items():
        again = regression_statistics(list(np.repeat(y, w)), list(np.repeat(f, w)))[name][0]
        assert statistic(w[None].astype(float))[0] == pytest.approx(again(np.ones((1, w.sum())))[0]), name


def test_a_constant_prediction_has_no_correlation() -> None:
    found = regression_scores(list(np.linspace(0.5, 1.2, 20)), [0.9] * 20, [str(n) for n in range(20)], unit="g/cm2")
    assert math.isnan(found["pearson_r"].value)
    assert found["slope"].value == pytest.approx(0, abs=1e-12)
    assert found["mae"].unit == "g/cm2" and found["mape"].unit == "%"


def test_intervals_over_patients_cover_and_do_not_over_cover() -> None:
    """Three slices of each patient share their error: 300 cohorts; counting slices as patients would fail this."""
    inside, narrow = 0, 0
    for cohort in range(300):
        rng = np.random.default_rng(cohort)
        own = np.repeat(rng.normal(0.3, 1.0, 30), 3) + rng.normal(0, 0.1, 90)
        patients = [str(n // 3) for n in range(90)]

        def mean(w: np.ndarray, own: np.ndarray = own) -> np.ndarray:
            return w @ own / w.sum(1)

        found = scored(mean, patients, seed=cohort, n_resamples=499)
        inside += found.low <= 0.3 <= found.high
        wrong = scored(mean, [str(n) for n in range(90)], seed=cohort, n_resamples=499)
        narrow += wrong.low <= 0.3 <= wrong.high
    assert 0.90 <= inside / 300 <= 0.98
    assert narrow / 300 < 0.85


def test_few_patients_have_no_interval() -> None:
    found = regression_scores([0.8, 0.9, 1.0], [0.8, 0.95, 1.0], ["a", "b", "c"], unit="g/cm2")
    assert math.isnan(found["mae"].low) and found["mae"].n_patients == 3


def test_classification_scores_count() -> None:
    truth = [True] * 6 + [False] * 6
    told = [True] * 5 + [False] * 5 + [True] * 2
    found = classification_scores(truth, told, [str(n) for n in range(12)])
    assert found["recall"].value == pytest.approx(5 / 6)
    assert found["specificity"].value == pytest.approx(4 / 6)
    assert found["recall"].low < 5 / 6 < found["recall"].high
    with pytest.raises(ShapeError):
        classification_scores(truth, told[:3], ["a"] * 12)
    assert math.isnan(float(Confusion(0, 0, 3, 4).precision))


def test_conformal_margin_covers_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        errors = rng.standard_t(3, 41)
        margin = conformal_margin(list(errors[:40]), level=0.9)
        covered.append(abs(errors[40]) <= margin)
    assert 0.86 <= np.mean(covered) <= 0.945
    assert conformal_margin([0.1] * 5, level=0.9) == math.inf
    assert conformal_margin([1, -2, 3, -4, 5, 6, 7, 8, 9], level=0.9) == 9
    # A patient counts once, with the largest of the errors.
    assert conformal_margin([1, 2, 3, 4], ["a", "a", "b", "b"], level=0.5) == 4


def test_ensemble_margin_is_a_prediction_interval_of_the_next_member() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 1, (5, 4000))
    inside = np.abs(drawn[4] - drawn[:4].mean(0)) <= ensemble_margin(drawn[:4], level=0.9)
    assert inside.mean() == pytest.approx(0.9, abs=0.015)
    with pytest.raises(ShapeError):
        ensemble_margin(np.zeros((1, 3)))


def test_dice_and_hausdorff_of_shifted_squares() -> None:
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[4:12, 4:12] = True
    b[4:12, 6:14] = True
    assert dice(a, b) == pytest.approx(2 * 48 / 128)
    assert hausdorff_95(a, b, (1.0, 0.5)) == pytest.approx(1.0)
    assert hausdorff_95(a, a, (1, 1)) == 0
    empty = np.zeros_like(a)
    assert math.isnan(dice(empty, empty)) and hausdorff_95(a, empty, (1, 1)) == math.inf


def test_hausdorff_agrees_with_monai() -> None:
    from monai.metrics import compute_hausdorff_distance

    rng = np.random.default_rng(3)
    from scipy.ndimage import gaussian_filter

    for _ in range(5):
        a, b = (gaussian_filter(rng.normal(size=(32, 32)), 3) > 0.02 for _ in range(2))
        theirs = compute_hausdorff_distance(
            torch.tensor(a)[None, None], torch.tensor(b)[None, None], include_background=True, percentile=95
        )
        assert hausdorff_95(a, b, (1, 1)) == pytest.approx(float(theirs), abs=0.51)  # their borders are half open


def test_a_label_of_zero_has_no_relative_error() -> None:
    labels, predicted = np.array([0.0, 2.0, 4.0]), np.array([1.0, 3.0, 3.0])
    statistic, _ = regression_statistics(labels, predicted)["mape"]
    assert statistic(np.ones((1, 3)))[0] == pytest.approx((50 + 25) / 2)
    assert np.isnan(statistic(np.array([[3.0, 0.0, 0.0]]))[0])
