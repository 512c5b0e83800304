"""Stability against methods whose answer to a changed image is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import Square, drawn, exhibit, gradient

from regard.core import randomness
from regard.core.errors import InputError, ShapeError
from regard.core.spatial import blur, interpolate
from regard.evidence.again import explain_again
from regard.evidence.sanity.similarity import correlation
from regard.evidence.stability.max_sensitivity import MaxSensitivity
from regard.evidence.stability.noise import NoiseStability, noise_level
from regard.evidence.stability.shift import ResamplingStability, ShiftStability, half_shift

EVERY = [NoiseStability, ShiftStability, ResamplingStability, MaxSensitivity]


def pinned(_, x):
    """The same map whatever the image."""
    return drawn(x.shape[2:], 77)


def squares(x=None):
    """A network of which the map is the image."""
    x = drawn((16, 16)) if x is None else x
    return exhibit(Square(), x, x, explain=gradient)


@pytest.mark.parametrize("size", [(4000,), (64, 64), (16, 16, 16), (64, 1, 64)])
def test_the_level_of_noise_is_found_under_a_ramp(size) -> None:
    ramp = torch.linspace(0, 50, size[0]).double().reshape(-1, *[1] * (len(size) - 1))
    assert float(noise_level(3 * drawn(size) + ramp)) == pytest.approx(3, rel=0.06)


def test_noise_is_found_per_channel_and_beside_cut_out_air() -> None:
    x = drawn((64, 64), channels=2)
    x[:, 1] *= 5
    x[..., :40, :] = 0
    levels = noise_level(x)
    assert levels.tolist() == pytest.approx([1, 5], rel=0.15)
    assert float(noise_level(torch.full((1, 1, 9, 9), 0.25))) == 0


def test_edges_move_the_level_of_noise_little() -> None:
    x = drawn((64, 64))
    x[..., 20:44, 20:44] += 100
    assert float(noise_level(x)) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("kind", [NoiseStability, ResamplingStability, MaxSensitivity])
def test_a_map_that_does_not_move_is_stable(kind) -> None:
    x = drawn((16, 16))
    found = kind().measure(exhibit(Square(), x, pinned(None, x), explain=pinned))
    assert found.value == pytest.approx(0, abs=1e-12)


def test_noise_moves_the_map_of_a_square_as_it_moves_the_image() -> None:
    x = blur(drawn((32, 32)), 2) + 0.05 * drawn((32, 32), 1)
    found = NoiseStability(n_draws=3).measure(squares(x))
    sigma = float(noise_level(x))
    moved = []
    for k in range(3):
        noise = sigma * randomness.normal(x, 0, "case", f"noise-stability/{k}")
        moved.append(1 - np.corrcoef(x.flatten(), (x + noise).flatten())[0, 1])
    assert found.value == pytest.approx(np.mean(moved), abs=1e-10)
    assert found.notes["sigma"] == [pytest.approx(sigma)]
    assert found.notes["relative norm"] == pytest.approx(sigma * 32 / float(x.norm()), rel=0.05)
    assert NoiseStability(n_draws=3, level=3).measure(squares(x)).value > 2 * found.value


def test_half_shifts_are_means_of_neighbours() -> None:
    x = torch.tensor([[[0.0, 2.0, 6.0, 8.0]]])
    assert half_shift(x, 2).tolist() == [[[1, 4, 7, 8]]]
    assert half_shift(x, 2, back=True).tolist() == [[[0, 1, 4, 7]]]


def test_a_map_that_goes_along_with_the_image_is_stable_under_shifts() -> None:
    x = drawn((16, 16))
    along = exhibit(Square(), x, 3 * x, explain=lambda _, image: 3 * image)
    assert ShiftStability().measure(along).value == pytest.approx(0, abs=1e-12)
    fixed = exhibit(Square(), x, pinned(None, x), explain=pinned)
    found = ShiftStability().measure(fixed).value
    relevance, expected = pinned(None, x), []
    for axis in (2, 3):
        fair = half_shift(half_shift(relevance, axis), axis, back=True).movedim(axis, 2)[:, :, 1:-1]
        again = half_shift(relevance, axis, back=True).movedim(axis, 2)[:, :, 1:-1]
        expected.append(1 - np.corrcoef(fair.flatten(), again.flatten())[0, 1])
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    assert found > 0.05


def test_a_shift_in_the_wrong_direction_would_show() -> None:
    """A method that moves its map against the image is not stable."""
    x = drawn((16, 16))

    def against(_, image):
        return image.flip(-1)

    assert ShiftStability().measure(exhibit(Square(), x, against(None, x), explain=against)).value > 0.05


def test_resampling_loses_what_the_image_loses() -> None:
    case = squares()
    expected = 1 - correlation(case.x, interpolate(interpolate(case.x, (12, 12)), (16, 16)))
    assert ResamplingStability(0.75).measure(case).value == pytest.approx(expected, abs=1e-12)
    assert expected > 0.05


def test_max_sensitivity_is_the_largest_of_the_draws() -> None:
    case = squares()
    found = MaxSensitivity(n_draws=5, radius=0.1).measure(case)
    radius = 0.1 * float(case.x.std(correction=0))
    norms = []
    for k in range(5):
        moved = radius * (2 * randomness.uniform((1, 1, 16, 16), 0, "case", f"max-sensitivity/{k}").double() - 1)
        assert float(moved.abs().max()) <= radius
        norms.append(float(moved.norm() / case.x.norm()))
    assert found.value == pytest.approx(max(norms), rel=1e-10)
    # Uniform on [-r, r] has deviation r / sqrt 3.
    assert np.mean(norms) == pytest.approx(0.1 / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("kind", EVERY)
def test_maps_that_turn_constant_are_undefined_or_far(kind) -> None:
    case = replace(squares(), explain=lambda _, x: torch.zeros_like(x))
    value = kind().measure(case).value
    assert value == 1 if kind is MaxSensitivity else math.isnan(value)


def test_an_image_without_noise_has_no_noise_stability() -> None:
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[..., 3, 3] = 0
    case = exhibit(Square(), x, drawn((8, 8)), explain=pinned)
    assert "no noise" in NoiseStability().measure(case).notes["undefined"]
    assert "constant" in MaxSensitivity().measure(case).notes["undefined"]
    short = exhibit(Square(), drawn((4, 3)), drawn((4, 3), 1), explain=pinned)
    assert "too small" in ShiftStability().measure(short).notes["undefined"]


def test_explaining_again_refuses_another_grid_and_nothing_to_explain_with() -> None:
    case = squares()
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 4\)"):
        explain_again(replace(case, explain=lambda *_: torch.zeros(1, 1, 4, 4)))
    with pytest.raises(InputError, match="cannot explain again"):
        explain_again(replace(case, explain=None))
