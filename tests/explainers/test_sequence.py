"""A network along a sequence of inputs: whatever the network, each step gives what a whole pass gives."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn
from torch.nn import functional

from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity, Sign
from regard.core.target import Output
from regard.evidence.faithfulness import along
from regard.evidence.faithfulness.deletion_insertion import Deletion
from regard.evidence.measure import Exhibit
from regard.explainers.perturbation.incremental import sequence
from regard.explainers.perturbation.incremental.sequence import Walk, prepare_walk
from regard.models.zoo import ZOO

Boxes = list[tuple[slice, ...]]


class Odd(nn.Module):
    """Strided, dilated, grouped and transposed convolutions, both poolings, a sum, a concatenation, calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 5, stride=2, padding=1)
        self.wide = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1)
        self.last = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.first(x), 0.1)
        y = self.norm(self.wide(x)).relu() + x
        y = functional.avg_pool2d(y, 3, stride=2, padding=1)
        z = functional.max_pool2d(x, 3, stride=2, padding=1)
        z = self.up(z)
        z = functional.adaptive_avg_pool2d(z, 1).flatten(1)
        return self.last(torch.cat([y.mean((2, 3)), z], 1))


class InPlace(nn.Module):
    """In-place activations, dropout that is off, a skip that reads a tensor twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.more = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout(0.5), nn.ELU(inplace=True))
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = x + self.more(x) * 0.5
        return self.head(functional.max_pool2d(x, 2).mean((-2, -1)))


class Normed(nn.Module):
    """A group norm looks at all places: what comes after it changes everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Conv2d(4, 4, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).amax((2, 3)).sum(1, keepdim=True)


def sfcn() -> nn.Module:
    return ZOO.load("sfcn")()  # type: ignore[no-any-return]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "odd": (Odd, (1, 2, 45, 38)),
    "in place": (InPlace, (1, 1, 24, 31)),
    "group norm": (Normed, (1, 1, 24, 24)),
    "sfcn": (sfcn, (1, 1, 64, 64, 64)),
    "resnet 3d": (
        lambda: nets.ResNet("basic", (1, 1, 1, 1), (8, 16, 16, 32), n_input_channels=1, num_classes=1),
        (1, 1, 32, 32, 32),
    ),
    "densenet": (
        lambda: nets.DenseNet(2, 1, 1, init_features=8, growth_rate=4, block_config=(2, 2)),
        (1, 1, 64, 64),
    ),
    "efficientnet": (
        lambda: nets.EfficientNetBN("efficientnet-b0", spatial_dims=2, in_channels=1, num_classes=1, pretrained=False),
        (1, 1, 64, 64),
    ),
    "u-net": (lambda: nets.UNet(2, 1, 1, (4, 8, 16), (2, 2), norm="batch"), (1, 1, 32, 32)),
    "seg-resnet": (lambda: nets.SegResNet(2, init_filters=8, in_channels=1, out_channels=1), (1, 1, 32, 32)),
    "1d": (
        lambda: nn.Sequential(nn.Conv1d(3, 8, 7, 2, 3), nn.ReLU(), nn.Conv1d(8, 8, 5), nn.AdaptiveMaxPool1d(1),
                              nn.Flatten(), nn.Linear(8, 1)),
        (1, 3, 300),
    ),
}  # fmt: skip


class MeanOfImage(nn.Module):
    """The first number of a network's answer, or the mean of its image with its square."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y = self.network(x)
        y = y[0] if isinstance(y, (list, tuple)) else y
        return y.flatten(1).square().mean(1, keepdim=True) + y.flatten(1).mean(1, keepdim=True)


def boxes_in(size: Sequence[int], rng: np.random.Generator) -> Boxes:
    """A few boxes anywhere: at borders, over one another, of any size."""
    found = []
    for _ in range(rng.integers(1, 5)):
        start = [int(rng.integers(0, n)) for n in size]
        found.append(tuple(slice(a, min(n, a + int(rng.integers(1, n // 3 + 2)))) for a, n in zip(start, size)))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_each_step_is_what_a_whole_pass_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "_LEAST", 0.0)
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = MeanOfImage(make()).eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x, rng = torch.randn(shape), np.random.default_rng(1)
    query = Query(network, Inputs.of(x), Output(0))
    steps = [boxes_in(shape[2:], rng) for _ in range(6)]
    with torch.no_grad():
        walk = prepare_walk(query, steps, float(network(x)))
        assert walk is not None
        for _ in range(2):  # a second sequence begins where the first did
            walk.begin()
            now = x.clone()
            for boxes in steps:
                for box in boxes:
                    place = (slice(None), slice(None), *box)
                    now[place] = torch.from_numpy(rng.normal(size=tuple(now[place].shape))).to(now)
                along_it, whole = float(walk.move(now, boxes)), float(network(now))
                assert along_it == pytest.approx(whole, rel=1e-5, abs=1e-6)


def test_a_step_costs_less_where_little_changes() -> None:
    network = sfcn().eval()
    x = torch.randn(1, 1, 64, 64, 64)
    with torch.no_grad():
        value = float(network(x)[0, 0])
    walk = prepare_walk(Query(network, Inputs.of(x), Output(0)), [[(slice(0, 8),) * 3]], value)
    assert isinstance(walk, Walk)
    one, other, everything = (slice(8, 16),) * 3, (slice(40, 48),) * 3, (slice(0, 64),) * 3
    both = walk.operations([one, other])
    # Boxes together cost no more than one by one, but where they fill so much of a tensor that all of it is computed.
    assert walk.operations([one]) < both <= (walk.operations([one]) + walk.operations([other])) / sequence._FULL
    assert walk.operations([everything]) == pytest.approx(walk.program.flops)


@pytest.mark.parametrize("name", ["group norm", "u-net"])
def test_a_network_that_sees_everything_is_run_whole(name: str) -> None:
    make, shape = NETWORKS[name]
    network, x = MeanOfImage(make()).eval(), torch.randn(shape)
    half: Boxes = [tuple(slice(0, max(1, n // 2)) for n in shape[2:])]
    with torch.no_grad():
        value = float(network(x))
    assert prepare_walk(Query(network, Inputs.of(x), Output(0)), [half], value) is None


def exhibit_of(network: Any, x: Tensor, relevance: Tensor, parts: Tensor | None = None) -> Exhibit:
    return Exhibit(network, x, Output(0), relevance, Quantity.CONTRIBUTION, Sign.RAISED, parts=parts)


@pytest.mark.parametrize("cut", ["blocks", "irregular"])
def test_deletion_is_the_same_step_by_step(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    network, x = Odd().eval(), torch.randn(1, 2, 96, 96)
    relevance = torch.randn(1, 1, 96, 96)
    parts = None
    if cut == "irregular":
        centre = torch.rand(30, 2) * 96
        grid = torch.stack(torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij"), -1)
        parts = (grid[:, :, None] - centre).square().sum(-1).argmin(-1)
    walked = []
    real = along._walked
    monkeypatch.setattr(along, "_walked", lambda *a: walked.append(1) or real(*a))
    monkeypatch.setattr(sequence, "_LEAST", 0.0)
    stepwise = Deletion(n_steps=8).measure(exhibit_of(network, x, relevance, parts))
    assert walked
    monkeypatch.setattr(along, "LARGE", 10**9)
    whole = Deletion(n_steps=8).measure(exhibit_of(network, x, relevance, parts))
    assert stepwise.value == pytest.approx(whole.value, rel=1e-5)
    assert stepwise.attainable == pytest.approx(whole.attainable, rel=1e-5)
    for name, curve in whole.curve.items():
        torch.testing.assert_close(stepwise.curve[name], curve, rtol=1e-5, atol=1e-6)


def test_a_walk_that_is_wrong_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(2)
    network, x, relevance = Odd().eval(), torch.randn(1, 2, 96, 96), torch.randn(1, 1, 96, 96)
    monkeypatch.setattr(sequence, "_LEAST", 0.0)
    right = Deletion(n_steps=8).measure(exhibit_of(network, x, relevance))
    real = Walk.move
    monkeypatch.setattr(Walk, "move", lambda *a: real(*a) * 1.01 + 0.05)
    wrong = Deletion(n_steps=8).measure(exhibit_of(network, x, relevance))
    assert wrong.value == pytest.approx(right.value, rel=1e-5)
    assert "whole passes are run" in caplog.text
