"""Occlusion that looks where it matters: within a mask, and from coarse to fine."""

import logging

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import CapabilityError, InputError, ShapeError
from regard.core.spatial import windows
from regard.testing import check
from regard.testing.networks import TinyNetwork, example


class Spot(nn.Module):
    """The sum over one box, and how many images it was asked about."""

    def __init__(self, box: tuple[slice, ...]) -> None:
        super().__init__()
        self.box, self.seen = (slice(None), 0, *box), 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.shape[0]
        return x[self.box].flatten(1).sum(1)


@pytest.mark.parametrize("incremental", ["never", "auto"])
@pytest.mark.parametrize("size", [(17,), (12, 13), (9, 10, 8)])
def test_inside_a_mask_the_map_is_what_it_is_without_one(size: tuple[int, ...], incremental: str) -> None:
    network, x = TinyNetwork(size), example(size, 2)
    inside = torch.zeros(1, 1, *size)
    inside[(..., *[slice(2, 5)] * len(size))] = 1
    knobs = {"window": 4, "stride": 2, "incremental": incremental}
    whole = regard.Occlusion(network, **knobs).compute(x)
    cut = regard.Occlusion(network, **knobs).compute(x, mask=inside)
    places = (inside > 0).expand_as(whole.relevance[0])
    torch.testing.assert_close(cut.relevance[0][places], whole.relevance[0][places])
    assert bool(torch.isnan(cut.relevance[0][~places]).all())
    assert cut.notes["n_windows"] < whole.notes["n_windows"]
    assert cut.notes["mask"] == "windows that do not touch it were not evaluated"
    assert "not_finite" not in cut.notes


def test_windows_that_do_not_touch_the_mask_are_not_evaluated() -> None:
    network, x = Spot((slice(0, 2), slice(0, 2))), torch.rand(1, 1, 16, 16) + 1
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[5, 5] = True
    regard.Occlusion(network, window=4, stride=4, filler=0.0, incremental="never").attribute(x, mask=inside)
    assert network.seen == 2  # the image itself, and one window


def test_each_case_and_each_input_has_a_mask_of_its_own() -> None:
    x = example((8, 9), 2)
    masks = torch.zeros(2, 1, 8, 9)
    masks[0, 0, :3] = masks[1, 0, 5:] = 1
    found = regard.Occlusion(TinyNetwork((8, 9)), window=2).attribute(x, mask=masks)
    assert torch.equal(torch.isfinite(found), masks > 0)
    inputs = {"first": example((8, 9)), "second": example((8, 9), seed=2)}
    from regard.testing.networks import TwoInputs

    both = regard.Occlusion(TwoInputs((8, 9)), window=2).attribute(
        inputs, mask={"first": masks[:1], "second": masks[1:]}
    )
    assert torch.equal(torch.isfinite(both["second"]), masks[1:] > 0)


def test_a_mask_that_cannot_be_used_is_one_sentence(caplog) -> None:
    network, x = TinyNetwork((8, 9)), example((8, 9))
    with pytest.raises(CapabilityError, match="a mask for Gradient"):
        regard.Gradient(network).attribute(x, mask=torch.ones(8, 9))
    with pytest.raises(ShapeError, match="no place in it"):
        regard.Occlusion(network).attribute(x, mask=torch.zeros(8, 9))
    with pytest.raises(ShapeError, match="mask of shape"):
        regard.Occlusion(network).attribute(x, mask=torch.ones(8, 8))
    with pytest.raises(ShapeError, match="2 masks"):
        regard.Occlusion(network).attribute(x, mask=[torch.ones(8, 9)] * 2)
    with caplog.at_level(logging.WARNING):
        regard.Occlusion(network).attribute(x, mask=torch.eye(8, 9))
    assert not caplog.text


# --- coarse to fine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(17,), (12, 13), (9, 10, 8)])
def test_with_everything_refined_it_is_the_plain_map(size: tuple[int, ...], stride: int) -> None:
    network, x = TinyNetwork(size), example(size)
    plain = regard.Occlusion(network, window=3, stride=stride).compute(x)
    found = regard.Occlusion(network, window=3, stride=stride, coarse=2, refine=0).compute(x)
    assert torch.equal(found.relevance[0], plain.relevance[0])
    assert bool(found.refined[0].all())
    assert found.notes["refined"] == 1
    assert plain.refined is None


def test_a_spot_is_found_with_few_windows_and_the_rest_is_zero() -> None:
    spot = (slice(20, 24), slice(8, 12))
    network, x = Spot(spot), torch.rand(1, 1, 32, 32) + 1
    plain = regard.Occlusion(network, window=4, stride=2, filler=0.0, incremental="never").compute(x)
    network.seen = 0
    found = regard.Occlusion(network, window=4, stride=2, filler=0.0, incremental="never", coarse=4).compute(x)
    assert torch.equal(found.relevance[0], plain.relevance[0])
    assert found.notes["n_windows"] < 0.5 * plain.notes["n_windows"]
    assert bool(found.refined[0][0, 0, 20:24, 8:12].all())
    assert not bool(found.refined[0][0, 0, :12].any())
    assert found.notes["refined"] == pytest.approx(float(found.refined[0].double().mean()), abs=1e-4)


def test_what_is_not_refined_holds_its_share_of_the_wide_windows_effect() -> None:
    """A sum over the image: every wide window of 8 x 8 has the effect 64, of which a window of 4 x 4 is a quarter."""
    x = torch.ones(1, 1, 16, 16)
    x[..., 8:, 8:] = 100
    network = Spot((slice(None), slice(None)))
    found = regard.Occlusion(network, window=4, stride=4, filler=0.0, coarse=2, incremental="never").compute(x)
    assert torch.equal(found.refined[0][0, 0], x[0, 0] == 100)
    assert found.relevance[0][0, 0, 0, 0] == 16
    assert found.relevance[0][0, 0, 15, 15] == 1600


def test_coarse_and_masked_together() -> None:
    network, x = TinyNetwork((12, 13)), example((12, 13))
    inside = torch.zeros(12, 13)
    inside[3:8, 3:8] = 1
    found = regard.Occlusion(network, window=2, coarse=3, refine=0).compute(x, mask=inside)
    plain = regard.Occlusion(network, window=2).compute(x, mask=inside)
    torch.testing.assert_close(found.relevance[0], plain.relevance[0], equal_nan=True)
    assert torch.equal(found.refined[0][0, 0], inside > 0)


@pytest.mark.parametrize(
    "law", ["restores", "batch", "dimension", "deterministic", "constant", "scale", "several inputs"]
)
def test_the_laws_hold(law: str) -> None:
    check(law, regard.Occlusion, {"window": 2, "coarse": 2, "refine": 0.3})


def test_knobs_out_of_their_range_are_one_sentence() -> None:
    with pytest.raises(InputError, match="coarse=0"):
        regard.Occlusion(TinyNetwork((8, 9)), coarse=0)
    with pytest.raises(InputError, match=r"refine=1\.5"):
        regard.Occlusion(TinyNetwork((8, 9)), refine=1.5)


def test_by_brute_force() -> None:
    """Wide windows, the share, the windows that meet a large one, and the mean over those that cover a voxel."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 11, 9, dtype=torch.float64)
    weights = torch.randn(11, 9, dtype=torch.float64) * (torch.arange(11.0)[:, None] > 5)

    def network(t: Tensor) -> Tensor:
        return torch.tanh((t[:, 0] * weights).flatten(1).sum(1))

    def effect(box: tuple[slice, ...]) -> float:
        hidden = x.clone()
        hidden[(0, 0, *box)] = 0
        return float(network(x) - network(hidden))

    wide = [(box, effect(box)) for box in windows((11, 9), (6, 6), (6, 6))]
    largest = max(abs(e) for _, e in wide)
    fine = list(windows((11, 9), (3, 3), (2, 2)))
    expected = torch.zeros(11, 9, dtype=torch.float64)
    for i in range(11):
        for j in range(9):

            def holds(box: tuple[slice, ...], i: int = i, j: int = j) -> bool:
                return box[0].start <= i < box[0].stop and box[1].start <= j < box[1].stop

            def looked_at(box: tuple[slice, ...]) -> bool:
                return any(
                    max(a.start, b.start) < min(a.stop, b.stop) and max(c.start, d.start) < min(c.stop, d.stop)
                    for (b, d), e in wide
                    if abs(e) >= 0.4 * largest
                    for a, c in [box]
                )

            mine = [box for box in fine if holds(box)]
            if all(looked_at(box) for box in mine):
                expected[i, j] = sum(effect(box) for box in mine) / len(mine)
            else:
                over = [e / 4 for box, e in wide if holds(box)]
                expected[i, j] = sum(over) / len(over)
    found = regard.Occlusion(network, window=3, stride=2, filler=0.0, coarse=2, refine=0.4).compute(x)
    assert 0.1 < found.notes["refined"] < 0.95
    torch.testing.assert_close(found.relevance[0][0, 0].double(), expected, rtol=1e-6, atol=1e-7)
