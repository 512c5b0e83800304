"""Complexity in closed form."""

import math

import pytest
import torch
from oracles import drawn

from regard.evidence.complexity import entropy, gini


def test_one_voxel_and_an_even_map_are_the_ends() -> None:
    one, even = torch.zeros(1, 1, 5, 4), torch.full((1, 1, 5, 4), -0.3)
    one[0, 0, 2, 2] = -7
    assert gini(one) == pytest.approx(1 - 1 / 20)
    assert gini(even) == pytest.approx(0, abs=1e-12)
    assert entropy(one) == 0
    assert entropy(even) == pytest.approx(math.log(20))


def test_gini_is_half_the_relative_mean_difference() -> None:
    size = drawn((7, 6)).abs().flatten()
    pairs = (size[:, None] - size[None]).abs().mean()
    assert gini(drawn((7, 6))) == pytest.approx(float(pairs / (2 * size.mean())))


def test_entropy_of_halves_adds_a_bit() -> None:
    relevance = drawn((1, 30))
    assert entropy(torch.cat([relevance, -relevance], -1)) == pytest.approx(entropy(relevance) + math.log(2))


@pytest.mark.parametrize("figure", [gini, entropy])
def test_a_map_of_zeros_has_none(figure) -> None:
    assert math.isnan(figure(torch.zeros(1, 1, 4, 4)))
