"""Faults that the table of networks brought up, each on a network of its own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import CapabilityError
from regard.explainers import METHODS

from . import conditions as made
from .entry import images
from .stand_ins import seeded

CAMS = [name for name in METHODS if ".cam." in METHODS.entry(name)[0]]


class Masked(nn.Module):
    """Some tokens are taken out by two index tensors, and a learned one is put before them: as masked autoencoders."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2d(1, 4, 4, 4), nn.Parameter(torch.ones(1, 1, 4))
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x).flatten(2).transpose(1, 2)
        kept = torch.tensor([0, 3, 5]).expand(len(t), 3)
        t = t[torch.arange(len(t)).unsqueeze(1), kept]
        t = torch.cat((self.token.expand(len(t), -1, -1), t), 1)
        return self.head(self.norm(t)[:, 0] + t.mean(1))


@pytest.mark.parametrize("name", CAMS)
def test_joining_what_nothing_is_known_of_is_no_error_of_ours(name: str) -> None:
    (x,) = images((1, 16, 16))
    found = METHODS.load(name)(Masked()).compute(x)
    assert found.notes["layer"] == "embed"


@pytest.mark.parametrize("name", CAMS)
def test_an_input_without_space_is_named_where_a_layer_has_no_map_for_it(name: str) -> None:
    found = METHODS.load(name)(made.ImageAndTable()).compute(images((1, 16, 16), (2,)))
    assert bool(torch.isnan(found.relevance[1]).all())
    assert any("input 1 has no space" in w and "NaN" in w for w in found.warnings)
    by_name = METHODS.load(name)(made.ImageAndTable()).compute(
        dict(zip(("image", "table"), images((1, 16, 16), (2,)), strict=True))
    )
    assert any("input table has no space" in w for w in by_name.warnings)


class Overwritten(nn.Module):
    """What the gradient needs is overwritten in the middle, and convolutions follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.last(torch.exp(0.1 * self.first(x)).add_(1.0))).mean((2, 3)))


def test_a_layer_behind_what_no_gradient_passes_has_its_map() -> None:
    (x,) = images((1, 16, 16))
    network = Overwritten()
    a = network.last(torch.exp(0.1 * network.first(x[:1])) + 1.0).detach()
    expected = (((a > 0) * network.head.weight.reshape(1, -1, 1, 1)).mean((2, 3), keepdim=True) / 64 * a).sum(1)
    found = METHODS.load("grad-cam")(network, "last").compute(x[:1], preflight=True)
    expected = nn.functional.interpolate(expected[None], x.shape[2:], mode="bilinear").detach()
    torch.testing.assert_close(found.relevance[0], expected.float(), rtol=1e-5, atol=1e-8)
    for method in ("gradient", "integrated-gradients"):
        with pytest.raises(CapabilityError, match="inplace.*expected"):
            METHODS.load(method)(network).compute(x[:1], preflight=True)


class Noisy(nn.Module):
    """Noise is drawn before the last layer, as in variational autoencoders."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.head(self.last(y + 10 * torch.randn_like(y)).mean((2, 3)))


def test_places_of_a_layer_that_moves_by_itself_are_unclear_not_refused() -> None:
    said = regard.preflight(Noisy(), images((1, 16, 16))[0][:1], methods=["grad-cam"])
    assert said["layer, places"].state == "unclear"
    assert said["same twice"].state == "told"
    assert not [p for p in said if p.state == "refused"]


@pytest.mark.filterwarnings("ignore")
def test_int8_layers_that_are_scaled_by_their_batch_are_evaluated_alone() -> None:
    network: Any = made.quantised()
    x = images((1, 16, 16), dtype=torch.float32)[0][:1]
    assert regard.preflight(network, x, methods=["occlusion"])["cases apart"].state == "told"
    found = METHODS.load("occlusion")(network, window=8, stride=8, filler=0.0).compute(x, preflight=True)
    with torch.no_grad():
        hidden = x.clone()
        hidden[..., :8, 8:] = 0
        expected = float(network(x) - network(hidden))
    assert float(found.relevance[0][0, 0, 0, 15]) == pytest.approx(expected, rel=1e-5)
