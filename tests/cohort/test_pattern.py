"""The pattern of a prediction over a cohort: by states that are joined, and by the covariance of all cases at once."""

import numpy as np
import pytest

from regard.cohort import moments
from regard.cohort.pattern import pattern_maps, pattern_of, patterns, slope_and_t


def joined(images: np.ndarray, readings: np.ndarray) -> moments.State:
    states = [moments.leaf(pattern_maps(i, float(f))) for i, f in zip(images, readings, strict=True)]
    whole = states[0]
    for state in states[1:]:
        whole = moments.combine(whole, state)
    return whole


def test_a_pattern_is_a_covariance() -> None:
    rng = np.random.default_rng(0)
    images, ages = rng.normal(size=(9, 5)), rng.normal(60, 8, 9)
    found = patterns(images, ages, np.ones((1, 9)))[0]
    for v in range(5):
        moved = sum((ages[n] - ages.mean()) * (images[n, v] - images[:, v].mean()) for n in range(9))
        assert found[v] == pytest.approx(moved / sum((a - ages.mean()) ** 2 for a in ages))


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    images, ages = rng.normal(size=(6, 4)), rng.normal(60, 8, 6)
    times = np.array([2, 0, 1, 3, 1, 1])
    again = np.repeat(np.arange(6), times)
    found = patterns(images, ages, times[None].astype(float))[0]
    assert found == pytest.approx(patterns(images[again], ages[again], np.ones((1, len(again))))[0])


def test_what_cancels_noise_is_in_the_weights_and_not_in_the_pattern() -> None:
    # Haufe et al. 2014, section 2: x1 = age + noise, x2 = noise; the best reader is x1 - x2.
    rng = np.random.default_rng(2)
    age, noise = rng.normal(size=(2, 20_000))
    images = np.stack([age + noise, noise], 1)
    weights = np.linalg.lstsq(images, age, rcond=None)[0]
    assert weights == pytest.approx([1, -1])
    found = patterns(images, images @ weights, np.ones((1, len(age))))[0]
    assert found == pytest.approx([1, 0], abs=0.03)


def test_joined_states_give_the_pattern_of_all_cases() -> None:
    rng = np.random.default_rng(3)
    readings = rng.normal(62, 10, 40)
    images = 1 + 0.01 * readings[:, None, None, None] + rng.normal(0, 0.1, (40, 3, 4, 2))
    images[:7, 0, 0, 0] = np.nan  # cases that did not see the voxel
    found = pattern_of(joined(images, readings))
    assert found.n[0, 0, 0] == 33 and found.n[1, 1, 1] == 40
    for place in ((0, 0, 0), (1, 1, 1), (2, 3, 1)):
        values = images[(slice(None), *place)]
        seen = np.isfinite(values)
        slope = np.polyfit(readings[seen], values[seen], 1)[0]
        r = np.corrcoef(readings[seen], values[seen])[0, 1]
        assert found.slope[place] == pytest.approx(slope, rel=2e-3)
        assert found.t[place] == pytest.approx(r * np.sqrt((seen.sum() - 2) / (1 - r**2)), rel=5e-3)


def test_nothing_is_said_of_what_does_not_vary() -> None:
    slope, t = slope_and_t(np.array([0.0, 0.1, 0.1]), np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0]), 10)
    assert np.isnan(slope).tolist() == np.isnan(t).tolist() == [True, True, False]
    assert np.isnan(slope_and_t(np.array([0.1]), np.array([1.0]), 1.0, 2)[1]).all()
