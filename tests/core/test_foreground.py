"""The background of an image: a stray voxel, ringing and a saturated top do not move it."""

import pytest
import torch

from regard.core.foreground import background_level
from regard.core.volume import Volume
from regard.models import InputSpec, Preparation


def brain(shape: tuple[int, ...] = (20, 20, 20)) -> torch.Tensor:
    """Half zeros, half tissue between 1 and 2."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 1
    values[:10] = 0.0
    return values


def test_a_stray_voxel_does_not_move_the_background() -> None:
    plain, stray = brain(), brain()
    stray[3, 4, 5] = -0.5
    assert float(background_level(plain)) == float(background_level(stray)) == 0.0


def test_a_stray_voxel_does_not_move_the_scores_of_a_brain_on_zeros() -> None:
    spec = InputSpec(orientation="RAS", normalise="zscore-foreground")
    inputs = []
    for value in (0.0, -0.5):
        values = brain()
        values[3, 4, 5] = value
        inputs.append(Preparation(spec).prepare(Volume(values[None], torch.eye(4).numpy())))
    assert float(inputs[0].scale) == float(inputs[1].scale)
    tissue = brain()[10:]
    assert float(inputs[1].scale) == pytest.approx(1 / float(tissue.double().std(correction=0)), rel=1e-6)
    assert float(inputs[1].shift) == pytest.approx(-float(tissue.mean()) * float(inputs[1].scale), rel=1e-6)


def test_ringing_around_a_background_of_zeros_is_no_foreground() -> None:
    values = brain()
    values[8:10] = 0.01 * torch.randn((2, 20, 20), generator=torch.Generator().manual_seed(2))
    assert float(background_level(values)) == 0.0


def test_without_a_constant_background_all_above_the_lowest_value_counts() -> None:
    values = torch.rand((20, 20, 20), generator=torch.Generator().manual_seed(3))
    assert background_level(values) == values.min()
    saturated = values.clamp(max=0.9)
    assert background_level(saturated) == values.min()
    whole = (values * 50).round() + 3
    assert float(background_level(whole)) == 3.0


def test_where_zeros_are_the_lowest_value_the_rule_is_what_it_always_was() -> None:
    for share in (0.002, 0.1, 0.9):
        values = torch.rand(10000, generator=torch.Generator().manual_seed(4)) + 0.1
        values[: int(10000 * share)] = 0.0
        assert background_level(values) == values.min()
    constant = torch.full((30,), 5.0)
    assert float(background_level(constant)) == 5.0
