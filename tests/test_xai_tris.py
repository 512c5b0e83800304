"""XAI-TRIS: its images by the published formulas, its measures by slow literal forms."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from regard.bench.matched import BLURS, blurred, matched
from regard.bench.xai_tris import run as tris
from regard.bench.xai_tris.measures import earth_movers_agreement, precision_of_largest
from regard.bench.xai_tris.networks import ARCHITECTURES, margin
from regard.bench.xai_tris.run import Job, jobs, run_job
from regard.bench.xai_tris.tables import tables
from regard.core.errors import InputError
from regard.phantoms.tetromino import BACKGROUNDS, SCENARIOS, Tetrominoes

T, L = ((1, 1), (2, 1), (2, 2), (3, 1)), ((4, 5), (5, 5), (6, 5), (6, 6))
"""Pixels of the shapes at their fixed places, as published: 3 by 2 cells from (1, 1) and from (4, 5)."""


def shapes(*pixels: tuple[tuple[int, int], ...]) -> np.ndarray:
    made = np.zeros((8, 8), bool)
    for at in itertools.chain(*pixels):
        made[at] = True
    return made


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_classes_are_balanced_images_bounded_and_draws_kept(scenario: str, background: str) -> None:
    data = Tetrominoes(scenario, background).draw(40, seed=2)  # type: ignore[arg-type]
    assert data.labels.tolist().count(1) == 20
    assert float(data.images.abs().max()) == pytest.approx(1)
    again = Tetrominoes(scenario, background).draw(40, seed=2)  # type: ignore[arg-type]
    assert torch.equal(data.images, again.images)
    assert not torch.equal(data.images, Tetrominoes(scenario, background).draw(40, seed=3).images)  # type: ignore[arg-type]
    if scenario != "rigid":
        assert np.array_equal(data.places[0].numpy(), shapes(T, L))
    else:
        assert set(data.places.sum((1, 2)).tolist()) == {4}
        assert len({p.numpy().tobytes() for p in data.places}) > 10


def test_the_mean_difference_of_the_classes_is_the_pattern() -> None:
    """x = alpha a + (1 - alpha) n: what differs between the classes' means is the shapes, in one height."""
    data = Tetrominoes("linear", "white").draw(20_000, seed=1)
    difference = (data.images[data.labels == 0].mean(0) - data.images[data.labels == 1].mean(0))[0].numpy()
    on, off = difference[shapes(T)], difference[shapes(L)]
    assert float(on.std()) < 0.1 * float(on.mean())
    assert float(off.mean()) == pytest.approx(-float(on.mean()), rel=0.1)
    # Divided by their norms over the set: 4 of 64 pixels hold all of the signal, all pixels the noise.
    noise = data.images[:, 0, 0, 0].numpy().std()
    alpha = 0.18
    assert float(on.mean()) / noise == pytest.approx(alpha / 2 * np.sqrt(64) / (1 - alpha), rel=0.05)
    assert np.abs(difference[~shapes(T, L)]).max() < 0.3 * float(on.mean())


def test_where_the_signal_multiplies_the_noise_only_its_size_tells() -> None:
    data = Tetrominoes("multiplicative", "white").draw(20_000, seed=1)
    first, second = (data.images[data.labels == k][:, 0].numpy() for k in (0, 1))
    assert np.abs(first.mean(0) - second.mean(0)).max() < 0.01
    ratio = first.std(0) / second.std(0)
    assert ratio[shapes(T)] == pytest.approx(1 - 0.7, rel=0.05)
    assert ratio[shapes(L)] == pytest.approx(1 / (1 - 0.7), rel=0.05)
    assert ratio[~shapes(T, L)] == pytest.approx(1, abs=0.06)


def test_of_exclusive_or_neither_shape_tells_alone() -> None:
    data = Tetrominoes("xor", "white").draw(20_000, seed=1)
    t, lower = (data.images[:, 0].numpy()[:, shapes(s)].mean(1) for s in (T, L))
    same = data.labels.numpy() == 0
    assert abs(t[same].mean() - t[~same].mean()) < 0.01
    assert np.corrcoef(t[same], lower[same])[0, 1] > 0.3
    assert np.corrcoef(t[~same], lower[~same])[0, 1] < -0.3


def test_correlated_noise_is_white_noise_smoothed_by_three_pixels() -> None:
    white = Tetrominoes("xor", "white")._noise(4, 3)
    assert white.std() == pytest.approx(0.5, rel=0.15)
    found = Tetrominoes("xor", "correlated")
    smooth = np.stack([gaussian_filter(n, 3) for n in _white(found, 4, 3)])
    assert found._noise(4, 3) == pytest.approx(smooth)


def _white(made: Tetrominoes, n: int, seed: int) -> np.ndarray:
    from regard.core import randomness

    found: np.ndarray = 0.5 * randomness.normal(torch.empty(n, 8, 8), seed, made.name, "noise").double().numpy()
    return found


def test_other_sides_and_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="8 or 64"):
        Tetrominoes("xor", "white", 16)
    with pytest.raises(InputError, match="multiple of 4"):
        Tetrominoes("xor").draw(10, seed=0)


def test_precision_of_the_largest_by_hand() -> None:
    truth = shapes(T)
    map_ = np.zeros((8, 8))
    map_[1, 1], map_[2, 1], map_[0, 0], map_[7, 7] = -4, 3, 2, 1
    assert precision_of_largest(map_, truth) == 0.5
    assert precision_of_largest(truth.astype(float), truth) == 1
    assert precision_of_largest(np.zeros((8, 8)), truth) == pytest.approx(4 / 64)
    map_[0, 0] = map_[3, 1] = 2  # tied for the last two of four, with the last pixel of the truth below
    map_[7, 7] = 2
    assert precision_of_largest(map_, truth) == pytest.approx((2 + 2 / 3) / 4)


def test_the_earth_movers_distance_is_that_of_the_line_in_one_row() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        row, truth = np.zeros((8, 8)), np.zeros((8, 8), bool)
        row[3] = random.normal(size=8)
        truth[3, random.choice(8, 3, replace=False)] = True
        at = np.arange(8)
        distance = wasserstein_distance(at, at[truth[3]], np.abs(row[3]))
        assert earth_movers_agreement(row, truth) == pytest.approx(1 - distance / (7 * np.sqrt(2)), abs=1e-9)
    assert earth_movers_agreement(truth.astype(float), truth) == pytest.approx(1)
    far = np.zeros((8, 8))
    far[0, 0] = 1
    corner = np.zeros((8, 8), bool)
    corner[7, 7] = True
    assert earth_movers_agreement(far, corner) == pytest.approx(0)
    assert np.isnan(earth_movers_agreement(np.zeros((8, 8)), corner))


def test_no_patient_has_a_say_in_its_own_blur() -> None:
    random = np.random.default_rng(1)
    values = [random.uniform(size=(3, 9)) for _ in BLURS]
    found = matched(values)
    for patient in range(9):
        others = np.arange(9) % 2 != patient % 2
        best = int(np.argmax([v[:, others].mean() for v in values]))
        assert np.array_equal(found[:, patient], values[best][:, patient])
    changed = [v.copy() for v in values]
    changed[0][:, 4] = 1e6
    assert np.array_equal(np.delete(matched(changed), [1, 3, 4, 5, 7], 1), np.delete(found, [1, 3, 4, 5, 7], 1))
    # On chance, choosing gains nothing.
    gains = [matched([random.uniform(size=(2, 10)) for _ in BLURS]).mean() - 0.5 for _ in range(400)]
    assert abs(np.mean(gains)) < 3 * np.std(gains) / 20


def test_blurs_are_of_the_size_and_the_first_is_the_map() -> None:
    map_ = torch.randn(1, 1, 24, 24)
    map_[0, 0, 0, 0] = torch.nan
    first, second, third = blurred(map_)
    assert torch.equal(first.nan_to_num(-1), map_.abs().double().nan_to_num(-1))
    assert bool(torch.isnan(third[0, 0, 0, 0]))
    assert float(second.nan_to_num().std()) > float(third.nan_to_num().std())


@pytest.mark.parametrize("side", [8, 64])
def test_networks_give_the_log_odds(side: int) -> None:
    for build in ARCHITECTURES.values():
        output = build(side)(torch.rand(3, 1, side, side))
        assert output.shape == (3, 2)
        assert torch.allclose(margin(output), output.softmax(1).logit()[:, 1], atol=1e-4)


def test_a_network_is_measured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tris, "METHODS_TRIED", ("gradient", "occlusion:window=1,stride=1"))
    cells = [
        run_job(Job("linear", "white", "logistic", 8, n), seed=0, n_images=1200, n_shown=12) for n in range(2)
    ]  # fmt: skip
    for cell in cells:
        assert cell["accuracy"] > 0.7
        cell["accuracy"] = 0.9
        told = [one for one in cell["values"]["gradient"] if one is not None]
        assert 4 < len(told) <= 12
        mean = {k: np.mean([v["precision"][0] for v in cell["values"][k] if v]) for k in ("gradient", "chance")}
        assert mean["gradient"] > 0.6 > 0.4 > mean["chance"]
    text = tables(cells)
    assert "| gradient |" in text
    assert "images told right" in text
    assert text.index("| gradient |") < text.index("| chance |")


def test_every_scenario_has_its_networks() -> None:
    found = list(jobs(8, 5))
    assert len(found) == len({j.name for j in found}) == 5 * (8 * 2 + 4 + 2)
