"""Class activation maps: the layer, layers without places, several inputs, and one pass for several maps."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError, InputError, ShapeError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity
from regard.core.target import Output
from regard.explainers import METHODS
from regard.explainers.cam.recorded import record, shared_pass
from regard.testing import TinyNetwork

CAMS = [name for name in METHODS if ".cam." in METHODS.entry(name)[0]]
ONE_PASS = [name for name in CAMS if METHODS.load(name).cases_together]


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * float(b.abs().max())
    assert float(b.abs().max()) > 0


def make(name: str, network: Any, layer: Any = None, **knobs: Any) -> Any:
    return METHODS.load(name)(network, layer, **knobs)


@pytest.mark.parametrize("name", CAMS)
def test_the_layer_by_name_by_module_and_found_is_named_in_the_notes(name: str) -> None:
    network, x = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.Flatten(), nn.Linear(64, 1)).double(), image(1, 1, 8, 8)
    maps = [make(name, network, layer).compute(x) for layer in ("0", network[0], None)]
    assert [m.notes["layer"] for m in maps] == ["0", "0", "0"]
    close(maps[1].relevance[0], maps[0].relevance[0])
    close(maps[2].relevance[0], maps[0].relevance[0])


def test_a_layer_that_does_not_run_is_refused() -> None:
    network = TinyNetwork((8, 8))
    network.idle = nn.Conv2d(1, 1, 1)
    with pytest.raises(CapabilityError, match="'idle', which the forward pass does not reach"):
        make("grad-cam", network, "idle").attribute(image(1, 1, 8, 8))


def test_a_layer_of_one_place_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1)).double()
    with pytest.raises(ShapeError, match=r"'1', which gives \(1, 2, 1, 1\)"):
        make("grad-ram", network, "1").attribute(image(1, 1, 8, 8))


class Tokens(nn.Module):
    """Patches as tokens behind a class token, mixed and read by a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(1, 5, 2, stride=2)
        self.first = nn.Parameter(torch.randn(1, 1, 5))
        self.block = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 5), nn.GELU())
        self.mix = nn.Linear(17, 17)
        self.head = nn.Linear(5, 1)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x).flatten(2).mT
        return self.tail(self.block(torch.cat([self.first.expand(len(x), -1, -1), t], 1)))

    def tail(self, t: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(t.mT))[..., 0])


def places(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].mT.unflatten(2, (4, 4))


@pytest.mark.parametrize("name", CAMS)
def test_tokens_behind_a_class_token_are_turned_by_themselves_as_by_hand(name: str) -> None:
    network, x = Tokens(), image(2, 1, 8, 8)
    explainer = make(name, network, "block", reshape=places)
    by_hand = explainer.attribute(x)
    assert by_hand.shape == (2, 1, 8, 8)
    assert float(by_hand.std()) > 0
    assert torch.equal(make(name, network, "block", reshape="tokens:4x4+1").attribute(x), by_hand)
    found = make(name, network, "block").compute(x)
    assert torch.equal(found.relevance[0], by_hand)
    assert found.notes["reshape"] == "tokens:4x4+1"
    assert "reshape" not in explainer.knobs()


def test_a_reshape_that_is_wrong_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"reshaped to \(1, 16, 5\)"):
        make("grad-cam", Tokens(), "block", reshape=lambda t: t[:, 1:]).attribute(image(1, 1, 8, 8))
    with pytest.raises(ShapeError, match=r"reshape=tokens:4x4 for a layer that gives \(1, 17, 5\).*tokens:14x14"):
        make("grad-cam", Tokens(), "block", reshape="tokens:4x4").attribute(image(1, 1, 8, 8))
    with pytest.raises(InputError, match="reshape 'places'; expected channels-last, tokens:14x14"):
        make("grad-cam", Tokens(), "block", reshape="places")
    with pytest.raises(InputError, match="a function tokens"):
        make("grad-cam", Tokens(), "block", reshape=3)


def test_removing_a_token_leaves_the_class_token() -> None:
    network, x = Tokens(), image(1, 1, 8, 8)
    with torch.no_grad():
        tokens = network.block(torch.cat([network.first, network.embed(x).flatten(2).mT], 1))
        whole = network.tail(tokens)
        effects = []
        for n in range(1, 17):
            without = tokens.clone()
            without[:, n] = 0
            effects.append(float(whole - network.tail(without)))
        weights = []
        for k in range(5):
            without = tokens.clone()
            without[:, 1:, k] = 0
            weights.append(whole - network.tail(without))
    expected = nn.functional.interpolate(torch.tensor(effects).reshape(1, 1, 4, 4), size=(8, 8), mode="bilinear")
    close(make("crm", network, "block", reshape=places).attribute(x), expected)
    coarse = sum(w * places(tokens)[:, k : k + 1] for k, w in enumerate(weights))
    expected = nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear").float()
    close(make("ablation-cam", network, "block", reshape=places).attribute(x), expected)


class Pair(nn.Module):
    """Two images of different size and a few numbers in."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyNetwork((8, 8), channels=2)
        self.numbers = nn.Linear(2, 1).double()

    def forward(self, fine: Tensor, coarse: Tensor, numbers: Tensor) -> Tensor:
        joined = torch.cat([fine, nn.functional.interpolate(coarse, scale_factor=2)], 1)
        return self.inner(joined) + self.numbers(numbers)


@pytest.mark.parametrize("name", CAMS)
def test_each_image_gets_the_map_on_its_own_grid_and_numbers_get_none(name: str) -> None:
    inputs = {"fine": image(2, 1, 8, 8), "coarse": image(2, 1, 4, 4, seed=1), "numbers": image(2, 2, seed=2)}
    found = make(name, Pair(), "inner.second").attribute(inputs)
    assert list(found) == list(inputs)
    assert found["fine"].shape == (2, 1, 8, 8)
    assert found["coarse"].shape == (2, 1, 4, 4)
    assert float(found["fine"].std()) > 0
    assert bool(torch.isnan(found["numbers"]).all())
    if METHODS.load(name).quantity is Quantity.CONTRIBUTION:
        close(found["fine"].sum((1, 2, 3)), found["coarse"].sum((1, 2, 3)), 1e-5)


class Counted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


def test_maps_of_one_layer_share_one_pass() -> None:
    network, x = TinyNetwork((8, 8)), image(2, 1, 8, 8)
    alone = {name: make(name, network, "last").attribute(x) for name in ONE_PASS}
    network.first = Counted(network.first)
    with shared_pass():
        for name in ONE_PASS:
            close(make(name, network, "last").attribute(x), alone[name])
        assert network.first.calls == 1
        for _ in range(3):
            make("grad-cam", network).attribute(x)
        assert network.first.calls == 2, "one more to find the layer, which is the one already recorded"
    make("grad-cam", network, "last").attribute(x)
    assert network.first.calls == 3, "nothing is shared outside"


def test_another_target_input_or_layer_is_another_pass() -> None:
    network, x = TinyNetwork((8, 8), n_outputs=3), image(2, 1, 8, 8)
    asked: list[tuple[Tensor, Any, str]] = [(x, 0, "last"), (x, 1, "last"), (x, Output(1), "last"), (x, 0, "second")]
    asked += [(x.clone() + 1, 0, "last"), (x[:1], 0, "last")]
    alone = [make("grad-ram", network, layer).attribute(x, target) for x, target, layer in asked]
    with shared_pass():
        for (x_, target, layer), expected in zip(asked, alone, strict=True):
            close(make("grad-ram", network, layer).attribute(x_, target), expected)
        before = make("grad-ram", network, "last").attribute(x, 0)
        x *= 2
        assert not torch.allclose(make("grad-ram", network, "last").attribute(x, 0), before)


def test_a_shared_pass_is_let_go_on_leaving() -> None:
    network = TinyNetwork((8, 8))
    with recording.intact(network), shared_pass():
        query = Query(network, Inputs.of(image(1, 1, 8, 8)))
        kept = record(query, "last")
        assert record(query, "last") is kept
        gone = weakref.ref(kept)
        del kept
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
