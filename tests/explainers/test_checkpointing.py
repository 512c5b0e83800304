"""Gradients with parts run again: the same numbers, less kept, the network left as it was."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet, resnet18
from torch import Tensor, nn

import regard
from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.explainers.gradient import checkpointing
from regard.explainers.gradient.checkpointing import Part, cheapest_parts, checkpointed
from regard.testing import check
from regard.testing.networks import TinyNetwork, TwoInputs, example


class Residual(nn.Module):
    """A block whose skip connection reads what an in-place activation wrote."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.relu(self.a(self.relu(x)))) + x


class Twice(nn.Module):
    """A block that runs twice, inside two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh())
        self.shared = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.shared(self.first(x))).flatten(1).mean(1, keepdim=True)


def deep(n: int = 12, *, in_place: bool = True) -> nn.Module:
    """Many layers of one size, as image-to-image networks have."""
    layers: list[nn.Module] = [nn.Conv2d(1, 4, 3, padding=1)]
    for _ in range(n):
        layers += [nn.ReLU(inplace=in_place), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)]
    return nn.Sequential(*layers)


@pytest.fixture
def everywhere(monkeypatch) -> None:
    """Every child runs again, whether that saves memory or not."""
    monkeypatch.setattr(checkpointing.Part, "gains", property(lambda part: not part.writes))
    monkeypatch.setattr(checkpointing, "cheapest_parts", Part.split)


def mean(output: Tensor) -> Tensor:
    return output.flatten(1).mean(1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "deep": deep,
    "residual": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), *[m for _ in range(5) for m in (nn.Conv2d(3, 3, 3, padding=1), Residual(3))]
    ),
    "resnet18": lambda: resnet18(spatial_dims=2, n_input_channels=1, num_classes=1, feed_forward=True),
    "unet": lambda: UNet(2, 1, 1, (4, 8, 16), (2, 2), num_res_units=2),
    "twice": Twice,
}


def query(network: nn.Module, x: Tensor) -> Query:
    return Query(network, Inputs.of(x), mean)


def kept(run: Callable[[], Any]) -> int:
    """Bytes kept for the gradient while ``run`` runs, each tensor counted as often as it is kept."""
    total = 0

    def pack(t: Tensor) -> Tensor:
        nonlocal total
        total += t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        run()
    return total


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_plain_pass_and_less_is_kept(name: str) -> None:
    torch.manual_seed(0)
    network, x = NETWORKS[name]().double(), example((32, 32))
    with intact(network) as plain:
        asked = query(plain, x)
        value, expected = asked.gradient([x])
        before = kept(lambda: asked.score([x.clone().requires_grad_()]))
        with checkpointed(asked) as parts:
            assert len(parts) > 1
            again, found = asked.gradient([x])
            after = kept(lambda: asked.score([x.clone().requires_grad_()]))
    assert torch.equal(value, again)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-15)
    assert after < 0.75 * before
    assert not any("forward" in vars(m) for m in network.modules())


def test_integrated_gradients_are_the_same(caplog) -> None:
    torch.manual_seed(0)
    network, x = deep(), example((16, 17))
    network.double()
    plain = regard.IntegratedGradients(network, n_steps=7, checkpoint="never").compute(x, mean)
    found = regard.IntegratedGradients(network, n_steps=7, checkpoint="always").compute(x, mean)
    torch.testing.assert_close(found.relevance[0], plain.relevance[0], rtol=1e-6, atol=1e-9)
    assert float(found.completeness_error) == pytest.approx(float(plain.completeness_error), abs=1e-9)
    assert network.training


@pytest.mark.usefixtures("everywhere")
def test_when_memory_runs_out_the_rest_is_done_with_less(caplog, monkeypatch) -> None:
    """Memory that ends at the fifth plain gradient: what was summed before is kept, and nothing is summed twice."""
    network, x = TinyNetwork((8, 9)), example((8, 9))
    expected = regard.IntegratedGradients(network, n_steps=9, checkpoint="never").attribute(x)
    plain, calls = Query.gradient, []

    def gradient(self: Query, tensors: Any, **more: Any) -> Any:
        calls.append(any("forward" in vars(m) for m in network.modules()))
        if not calls[-1] and len(calls) > 4:
            raise torch.OutOfMemoryError("no more")
        return plain(self, tensors, **more)

    monkeypatch.setattr(Query, "gradient", gradient)
    with caplog.at_level(logging.WARNING):
        found = regard.IntegratedGradients(network, n_steps=9).attribute(x, batch_size=1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert calls == [False] * 5 + [True] * 5
    assert "parts of the network run again" in caplog.text
    calls.clear()
    with pytest.raises(torch.OutOfMemoryError):
        regard.IntegratedGradients(network, n_steps=9, checkpoint="never").attribute(x, batch_size=1)


@pytest.mark.parametrize(
    "law", ["restores", "batch", "deterministic", "complete", "in-place", "several inputs", "compiled", "leak-free"]
)
@pytest.mark.usefixtures("everywhere")
def test_the_laws_hold(law: str) -> None:
    check(law, regard.IntegratedGradients, {"checkpoint": "always", "n_steps": 5})


@pytest.mark.usefixtures("everywhere")
def test_two_inputs_by_name() -> None:
    network, (a, b) = TwoInputs((6, 7)), (example((6, 7)), example((6, 7), seed=2))
    inputs = {"first": a, "second": b}
    plain = regard.IntegratedGradients(network, n_steps=3, checkpoint="never").attribute(inputs)
    found = regard.IntegratedGradients(network, n_steps=3, checkpoint="always").attribute(inputs)
    for name in inputs:
        torch.testing.assert_close(found[name], plain[name])


def test_a_network_without_parts_says_so(caplog, monkeypatch) -> None:
    x, network = example((6, 7)), TinyNetwork((6, 7))
    expected = regard.IntegratedGradients(network, n_steps=3, checkpoint="never").attribute(x)
    assert torch.equal(regard.IntegratedGradients(network, n_steps=3, checkpoint="always").attribute(x), expected)
    assert "no part of it can be run again" in caplog.text
    with pytest.raises(CapabilityError, match="no layers to run again"):
        regard.IntegratedGradients(lambda t: t.flatten(1).sum(1), checkpoint="always").attribute(x)
    with pytest.raises(InputError, match="checkpoint='sometimes'"):
        regard.IntegratedGradients(network, checkpoint="sometimes")  # type: ignore[arg-type]

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(Query, "gradient", full)
    with pytest.raises(CapabilityError, match=r"no memory for the gradient of one input of \(1, 1, 6, 7\)"):
        regard.IntegratedGradients(network).attribute(x)


def test_parts_are_split_where_the_memory_is() -> None:
    """By hand: one child holds 90 of 100; of its halves the second runs again with both their inputs in memory."""
    leaves = [Part((nn.Identity(),), given=2, saved=45) for _ in range(2)]
    big, small = Part((nn.Identity(),), given=1, saved=90, children=leaves), Part((nn.Identity(),), given=1, saved=10)
    whole = Part((nn.Identity(),), saved=100, children=[big, small])
    assert cheapest_parts(whole) == [*leaves, small]
    big.children = []
    assert cheapest_parts(whole) == [big, small]
    writes = Part((nn.Identity(),), given=1, saved=90, writes=True)
    assert cheapest_parts(Part((nn.Identity(),), saved=100, children=[writes, small])) == []


def test_a_run_whose_input_is_handed_on_and_written_to_is_left_alone() -> None:
    """The second child hands its input on; were [dropout, in-place ReLU] run again, its input would be gone."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 3, 3, padding=1)]
    for _ in range(4):
        layers += [nn.Dropout(), nn.ReLU(inplace=True), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1)]
    network = nn.Sequential(*layers).double()
    x = example((12, 13))
    with intact(network) as plain:
        expected = query(plain, x).gradient([x])[1][0]
        with checkpointed(query(plain, x)) as parts:
            assert parts
            assert not any(isinstance(p.modules[0], nn.Dropout) for p in parts)
            torch.testing.assert_close(query(plain, x).gradient([x])[1][0], expected, rtol=1e-12, atol=1e-15)
