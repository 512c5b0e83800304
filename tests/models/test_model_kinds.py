"""Single models, chains, ensembles and black boxes behave as one callable with a card."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError, InputError, ShapeError
from regard.explainers.gradient.gradient import Gradient
from regard.models import BlackBox, Chain, Ensemble, InputSpec, Model, ModelCard, OutputSpec


def card(name: str, **output: object) -> ModelCard:
    return ModelCard(
        name=name,
        inputs=(InputSpec(channels=1, orientation="PL", unit=f"unit of {name}"),),
        output=OutputSpec.model_validate({"kind": "regression", "names": [name], "units": ["mm"], **output}),
        layer="0",
    )


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Summed(nn.Module):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x.flatten(1).sum(1, keepdim=True)


X = torch.arange(12.0).reshape(2, 1, 2, 3)


def test_a_model_is_its_network_with_a_card() -> None:
    network = Summed()
    model = Model(network, card("a"), warnings=["beware"])
    assert torch.equal(model(X), X.sum((1, 2, 3))[:, None])
    assert recording.unwrap(model) is network
    assert recording.unwrap(Model(model, card("b"))) is network
    assert model.capabilities == {"gradient", "layers"}
    assert model.device == torch.device("cpu")
    assert model.to("cpu") is model
    assert model.warnings == ("beware",)
    facts = model.describe()
    assert facts["output"] == "regression: a [mm]"
    assert "unit of a" in facts["input image"]
    assert facts["capabilities"] == "gradient, layers"
    with pytest.raises(InputError, match="type int"):
        Model(3, card("a"))  # type: ignore[arg-type]


def test_a_model_moves_to_a_device() -> None:
    model = Model(Summed(), card("a")).to("meta")
    assert model.device.type == "meta"
    box = BlackBox(lambda x: x.sum((1, 2, 3)), card("a")).to("meta")
    assert box.device.type == "meta"


def test_a_chain_is_one_network_with_layers_and_gradients() -> None:
    chain = Chain([Model(Doubled(), card("suppressor")), Model(Summed(3.0), card("classifier"))])
    assert torch.equal(chain(X), 6 * X.sum((1, 2, 3))[:, None])
    assert isinstance(chain.network, nn.Module)
    assert chain.capabilities == {"gradient", "layers"}
    assert [name for name, _ in chain.network.named_modules()] == ["", "0", "1"]
    assert torch.equal(Gradient(chain).attribute(X), torch.full_like(X, 6.0))
    assert chain.card.inputs[0].unit == "unit of suppressor"
    assert chain.card.output.names == ("classifier",)
    assert chain.card.layer is None
    assert "suppressor" in chain.card.name


def test_a_chain_with_a_black_box_has_no_gradient() -> None:
    box = BlackBox(lambda x: x.sum((1, 2, 3)), card("box"))
    chain = Chain([Model(Doubled(), card("first")), box])
    assert torch.equal(chain(X), 2 * X.sum((1, 2, 3))[:, None])
    assert chain.capabilities == frozenset()
    assert recording.capabilities(chain.regard_network) == frozenset()
    with pytest.raises(CapabilityError, match="occlusion"):
        Gradient(chain)
    function = Chain([lambda x: 2 * x, lambda x: x + 1], card("plain"))
    assert torch.equal(function(X), 2 * X + 1)
    assert function.capabilities == {"gradient"}


def test_an_ensemble_gives_the_mean_and_keeps_its_members() -> None:
    ensemble = Ensemble([Model(Summed(f), card("m")) for f in (1.0, 2.0, 6.0)])
    assert torch.allclose(ensemble(X), 3 * X.sum((1, 2, 3))[:, None])
    assert [float(m(X).detach()[0]) for m in ensemble.members] == [15.0, 30.0, 90.0]
    assert ensemble.capabilities == {"gradient", "layers"}
    assert torch.allclose(Gradient(ensemble).attribute(X), torch.full_like(X, 3.0))
    assert "3 x m" in ensemble.card.name
    mixed = Ensemble([Summed(1.0), lambda x: 3 * x.flatten(1).sum(1, keepdim=True)], card("mixed"))
    assert torch.allclose(mixed(X), 2 * X.sum((1, 2, 3))[:, None])
    assert mixed.capabilities == {"gradient"}
    assert mixed.members[0].card.name == "mixed"
    with pytest.raises(ShapeError, match=r"\(2, 1\)"):
        Ensemble([Summed(), Doubled()], card("bad"))(X)


def test_members_and_cards_are_asked_for() -> None:
    for kind in (Chain, Ensemble):
        with pytest.raises(InputError, match="without members"):
            kind([])
        with pytest.raises(InputError, match="without a card"):
            kind([Doubled()])


def test_a_black_box_is_a_function_of_arrays() -> None:
    seen: list[np.ndarray] = []

    def features_then_regressor(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        x[:] = 0.0 if x.sum() < 0 else x
        features = np.stack([x.mean((1, 2, 3)), x.max((1, 2, 3))], 1)
        result = features @ np.array([1.0, 10.0])
        x[:] = -1.0
        return result

    box = BlackBox(features_then_regressor, card("box"))
    before = X.clone()
    output = box(X)
    assert isinstance(seen[0], np.ndarray)
    assert torch.equal(X, before)
    assert output.shape == (2, 1)
    assert torch.allclose(output[:, 0].double(), torch.tensor([2.5 + 50, 8.5 + 110], dtype=torch.double))
    assert box.capabilities == frozenset()
    assert not box(X.clone().requires_grad_()).requires_grad
    with pytest.raises(CapabilityError):
        Gradient(box)
    with pytest.raises(CapabilityError):
        Gradient(box.regard_network)


def test_a_black_box_of_tensors_and_one_that_forgets_the_batch() -> None:
    assert torch.equal(
        BlackBox(lambda x: (x > 4).sum((1, 2, 3)), card("b"), takes="torch")(X), torch.tensor([[1.0], [6.0]])
    )
    with pytest.raises(ShapeError, match="one row per case"):
        BlackBox(lambda x: x.sum(), card("b"))(X)
    with pytest.raises(InputError, match="numpy or torch"):
        BlackBox(lambda x: x, card("b"), takes="jax")  # type: ignore[arg-type]
