"""Maps of nothing are told, and maps of something are not."""

import logging

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.emptiness import emptiness, shortfall
from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.quantity import Quantity, Sign
from regard.explainers import METHODS
from regard.testing.networks import TwoInputs, example, tiny_network_for

QUICK = {
    "integrated-gradients": {"n_steps": 8},
    "smoothgrad": {"n_samples": 16},
    "lam": {"n_steps": 6},
    "occlusion": {"window": 3},
    "rise": {"n_masks": 64},
    "lime": {"n_segments": 6, "n_samples": 120},
    "noise-map": {"n_steps": 8},
    "shapley": {"n_samples": 4, "n_segments": 6},
}


class Dead(nn.Module):
    """A network whose last ReLU never wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 1)
        self.body.bias.data.fill_(-1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.body(x)).mean((2, 3)))


class Normed(nn.Module):
    """Pooled features behind a layer norm: by Euler's theorem their gradient times themselves is next to 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x).relu().mean((2, 3))))


READ_NO_ATTENTION = [name for name in METHODS if not getattr(METHODS.load(name), "reads_attention", False)]


@pytest.mark.parametrize("name", READ_NO_ATTENTION)
def test_a_dead_network_gives_no_map_in_silence(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "regard"):
        found = METHODS.load(name)(Dead(), **QUICK.get(name, {})).compute(torch.rand(1, 1, 8, 9))
    assert float(found.relevance[0].abs().max()) == 0
    assert any("0 everywhere" in w for w in found.warnings), found.warnings
    assert "0 everywhere" in caplog.text
    assert "empty" in found.notes


@pytest.mark.parametrize("name", list(METHODS))
def test_an_ordinary_network_raises_no_alarm(name: str) -> None:
    network = tiny_network_for(METHODS.load(name))((8, 9)).double()
    found = METHODS.load(name)(network, **QUICK.get(name, {})).compute(example((8, 9)))
    assert found.warnings == []
    assert not {"empty", "share_of_change"} & set(found.notes)


@pytest.mark.parametrize("name", ["hires-cam", "grad-ramp"])
def test_a_contribution_that_is_all_remainder_prints_its_share(name: str) -> None:
    torch.manual_seed(3)
    network = Normed().double()
    found = METHODS.load(name)(network, layer="body").compute(example((8, 9)))
    total, value = float(found.relevance[0].double().sum()), float(found.value)
    assert abs(total) < 0.01 * abs(value)
    assert found.notes["share_of_change"] == pytest.approx(total / value, rel=1e-3)
    assert any("hollow" in w and f"{100 * total / value:.2g} % of f(x)" in w for w in found.warnings), found.warnings
    # A head without the norm divides all of f but its bias.
    network.norm = nn.Identity()
    network.head.bias.data.zero_()
    assert METHODS.load(name)(network, layer="body").compute(example((8, 9))).warnings == []


class Given(AbstractExplainer):
    """Hands out what it is told to."""

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    needs = frozenset()

    def __init__(self, found: Attribution) -> None:
        super().__init__(lambda x: x.flatten(1).sum(1))
        self.found = found

    def _attribute(self, query: Query) -> Attribution:
        return self.found


def test_a_prediction_that_is_nan_is_told_beside_a_finite_map() -> None:
    found = Given(Attribution((torch.rand(1, 1, 3, 3),), torch.tensor([torch.nan])))
    assert found.compute(torch.rand(1, 1, 3, 3)).warnings == ["f(x) is nan: the map explains no number"]


def test_constant_and_nan_maps_are_told_by_the_name_of_their_input() -> None:
    maps = (torch.full((2, 1, 3, 3), 0.5), torch.rand(2, 1, 4), torch.full((2, 2), torch.nan))
    told = emptiness(maps, ("scan", "ecg", "clinical"))
    assert len(told) == 2
    assert told[0].startswith("the map of input scan is 0.5 everywhere")
    assert told[0].endswith("for 2 of 2 cases")
    assert "input clinical is NaN everywhere" in told[1]
    # Features are no places: a vector of equal slopes is a finding.
    assert emptiness((torch.full((1, 3), 2.0),)) == []
    # A hundredth of a map's size that varies is a map.
    assert emptiness((torch.tensor([[[1.0, 1.01]]]),)) == []


def test_rounding_beside_the_prediction_is_no_hollow_map() -> None:
    """An integral that adds up to float32 rounding is complete, however small the change."""
    value, reference = torch.tensor([60.0]), torch.tensor([60.0 - 2e-6])
    complete = Attribution((torch.rand(1, 1, 2, 2),), value, reference, torch.tensor([-2.0e-6], dtype=torch.float64))
    assert Given(complete).compute(torch.rand(1, 1, 2, 2)).warnings == []
    empty = Attribution((torch.rand(1, 1, 2, 2),), value, None, torch.tensor([-59.9], dtype=torch.float64))
    assert "0.17 %" in Given(empty).compute(torch.rand(1, 1, 2, 2)).warnings[0]


def test_members_whose_errors_cancel_are_told() -> None:
    def member(error: float) -> Attribution:
        one = torch.ones(1, dtype=torch.float64)
        return Attribution((torch.rand(1, 1, 2),), 3 * one, one, error * one)

    assert shortfall([member(0.1), member(-0.1)], "mm") == []
    (told,) = shortfall([member(1.5), member(-1.5)], "mm")
    assert "miss 1.5 of the change of 2 mm" in told
    assert "0 is left in their mean" in told
    # Of nothing nothing is missed but rounding.
    one = torch.ones(1)
    assert shortfall([Attribution((torch.rand(1, 1, 2),), one, one, 1e-7 * one)], "mm") == []


def test_two_inputs_of_which_one_is_not_looked_at() -> None:
    class First(TwoInputs):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return super().forward(first, 0 * second)

    found = regard.Gradient(First((5, 6))).compute({"first": example((5, 6)), "second": example((5, 6), seed=2)})
    assert found.warnings == ["the map of input second is 0 everywhere: by this method the output depends on no place"]
