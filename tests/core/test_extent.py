"""Large tensors part by part: the same as at once."""

import pytest
import torch

from regard.core import extent
from regard.core.extent import finite_extent, slabs
from regard.core.spatial import blur, blur_in_double
from regard.explainers.gradient.path import between, times_difference

SHAPES = [(1, 1, 50), (1, 2, 9, 7), (2, 1, 5, 6, 7), (1, 6)]


@pytest.fixture(params=[7, 2**20])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(extent, "_PART", request.param)
    monkeypatch.setattr("regard.core.spatial._PART", request.param)
    return int(request.param)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("parts")
def test_every_place_is_in_one_slab(shape: tuple[int, ...]) -> None:
    count = torch.zeros(shape)
    for part in slabs(count):
        count[part] += 1
    assert bool((count == 1).all())


@pytest.mark.usefixtures("parts")
def test_the_range_leaves_out_what_is_not_finite() -> None:
    values = torch.randn(3, 5, 6)
    values[0], values[1, 2] = torch.nan, torch.inf
    seen = values[torch.isfinite(values)]
    assert finite_extent(values) == (float(seen.min()), float(seen.max()))
    assert finite_extent(torch.full((4,), torch.nan)) is None
    assert finite_extent(torch.zeros(0)) is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("parts")
def test_between_and_differences_are_those_of_whole_tensors(shape: tuple[int, ...]) -> None:
    first, last = torch.randn(shape), torch.randn(shape)
    at = (first.double() + 0.3 * (last.double() - first.double())).float()
    assert torch.equal(between(first, last, 0.3), at)
    total = torch.randn(shape, dtype=torch.float64)
    expected = total * (last.double() - first.double())
    times_difference(total, first, last)
    assert torch.equal(total, expected)


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.usefixtures("parts")
def test_a_blur_in_parts_is_the_blur(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    before = x.clone()
    widths = [1.5, 0.0, 0.7][: len(shape) - 2]
    torch.testing.assert_close(blur_in_double(x, widths), blur(x.double(), widths).float(), rtol=1e-6, atol=1e-7)
    assert torch.equal(x, before)
