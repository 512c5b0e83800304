"""Networks and inputs that a method cannot use: one sentence each, never a map of zeros, never torch's own words."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import CapabilityError, RegardError, ShapeError
from regard.core.first_pass import first_pass
from regard.core.inputs import Inputs
from regard.core.recording import GRADIENT
from regard.explainers import METHODS
from regard.testing.networks import TinyNetwork, TwoInputs, example

QUICK: dict[str, dict[str, Any]] = {
    "noise-map": {"n_steps": 2, "n_draws": 2},
    "rise": {"n_masks": 8},
    "lime": {"n_samples": 16, "n_segments": 6},
    "shapley": {"n_segments": 4, "n_samples": 2},
    "integrated-gradients": {"n_steps": 3},
    "occlusion": {"window": 3},
}
ALL = [n for n in METHODS if not getattr(METHODS.load(n), "reads_attention", False)]
WITH_GRADIENT = [n for n in ALL if GRADIENT in METHODS.load(n).needs]
WITHOUT_LAYERS = [n for n in WITH_GRADIENT if not hasattr(METHODS.load(n), "_coarse")]
CAMS = [n for n in WITH_GRADIENT if n not in WITHOUT_LAYERS]


def small(end: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 1)]
    return nn.Sequential(*layers, *([] if end is None else [end])).eval()


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(small(), {nn.Linear})  # type: ignore[no-any-return]


def image(n_cases: int = 1) -> Tensor:
    return example((6, 6), n_cases).float()


@pytest.mark.filterwarnings("ignore:quantized")
@pytest.mark.parametrize("make", [quantised, lambda: small(Detached())], ids=["int8", "detached"])
@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_where_nothing_carries_a_gradient_no_map_of_zeros_is_given(name: str, make: Callable[[], nn.Module]) -> None:
    # Relevance propagation names the operation that it has no rule for, before it looks for a gradient.
    with pytest.raises(
        CapabilityError, match="output of Sequential that no gradient ties to|for which lrp has no rule"
    ):
        METHODS.load(name)(make(), **QUICK.get(name, {})).attribute(image())


class Ignores(nn.Module):
    """A network that does not look at its input, and a layer that its output does not look at."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(torch.ones_like(x) * 0.5)  # type: ignore[no-any-return]


class Beside(Ignores):
    def forward(self, x: Tensor) -> Tensor:
        self.network(x)
        return x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("name", [n for n in WITHOUT_LAYERS if n != "noise-map"])  # there all noise is borne
def test_an_input_that_nothing_depends_on_is_told(name: str) -> None:
    network = Ignores()
    for p in network.parameters():
        p.requires_grad_(False)
    with pytest.raises(CapabilityError, match="no gradient ties to the input"):
        METHODS.load(name)(network, **QUICK.get(name, {})).attribute(image())


@pytest.mark.parametrize("name", CAMS)
def test_a_layer_that_the_output_does_not_use_is_told(name: str) -> None:
    with pytest.raises(CapabilityError, match=r"no gradient ties to the layer 'network\.0'"):
        METHODS.load(name)(Beside(), "network.0").attribute(image())


class First(TwoInputs):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return super().forward(first, torch.zeros_like(second))


def test_one_unused_input_of_several_is_zero_and_all_of_them_are_told() -> None:
    x = example((5, 5)), example((5, 5), seed=4)
    used, unused = METHODS.load("gradient")(First((5, 5))).attribute(x)
    assert bool(used.any())
    assert not bool(unused.any())

    class Neither(TwoInputs):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return super().forward(torch.zeros_like(first), torch.zeros_like(second)).requires_grad_()

    with pytest.raises(CapabilityError, match="ties to any input"):
        METHODS.load("gradient")(Neither((5, 5))).attribute(x)


def exported(n_cases: int) -> nn.Module:
    return torch.export.export(small().double(), (example((6, 6), n_cases),)).module()


# Of a program's rectifiers guided backpropagation sees none, and says so; captum's DeepLIFT wants two cases at once.
@pytest.mark.parametrize("name", [n for n in ALL if n not in (*CAMS, "deeplift", "guided-backpropagation")])
def test_a_program_exported_for_one_case_is_run_one_by_one(name: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = small().double()
    program = torch.export.export(network, (example((6, 6)),)).module()
    knobs, x = QUICK.get(name, {}), example((6, 6), 2)
    with caplog.at_level(logging.INFO):
        found = METHODS.load(name)(program, **knobs).attribute(x, batch_size=3)
    # Relevance propagation asks about one case at a time anyway.
    assert name == "lrp" or "one by one" in caplog.text or "case by case" in caplog.text
    wanted = METHODS.load(name)(network, **knobs).attribute(x, batch_size=3)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_program_exported_for_two_cases_or_another_size_is_told_in_a_sentence(name: str) -> None:
    program = exported(2)
    for x in (example((6, 6)), example((6, 8), 2)):
        with pytest.raises(CapabilityError, match="Guard failed|layer"):
            METHODS.load(name)(program, **QUICK.get(name, {})).attribute(x)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(0, 1, 6, 6), r"\(0, 1, 6, 6\), with no case"),
        (torch.zeros(2, 0, 6, 6), r"\(2, 0, 6, 6\), with no channel"),
        (torch.zeros(2, 1, 6, 0), r"\(2, 1, 6, 0\), with no place along spatial axis 1"),
        (torch.zeros(1, 1, 6, 6, dtype=torch.int32), r"int32 \(1, 1, 6, 6\).*x\.float\(\)"),
    ],
)
def test_an_input_that_holds_nothing_is_refused_by_its_shape(x: Tensor, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        METHODS.load("gradient")(small()).attribute(x)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda network: network.half(), "an input of float32 for a network Sequential of float16"),
        (lambda network: network.double(), "an input of float32 for a network Sequential of float64"),
        (lambda network: network.to("meta"), "an input on cpu for a network Sequential on meta"),
    ],
    ids=["half", "double", "device"],
)
def test_unlike_types_and_devices_are_told_as_such(
    name: str, change: Callable[[nn.Module], nn.Module], said: str
) -> None:
    with pytest.raises(ShapeError, match=said):
        METHODS.load(name)(change(small()), **QUICK.get(name, {})).attribute(image())


def test_unlike_types_are_told_at_the_first_pass_too() -> None:
    with pytest.raises(ShapeError, match="float32 for a network Sequential of float64"):
        first_pass(small().double(), Inputs.of(image()), graph=False)


@pytest.mark.parametrize("name", ALL)
def test_a_network_made_in_inference_mode_is_right_or_told(name: str) -> None:
    torch.manual_seed(0)
    usual = small()
    torch.manual_seed(0)
    with torch.inference_mode():
        network = small()
    flags = [p.requires_grad for p in network.parameters()]
    explainer = METHODS.load(name)(network, **QUICK.get(name, {}))
    if name in WITH_GRADIENT:
        with pytest.raises(CapabilityError, match=r"Sequential whose weights were made under torch\.inference_mode"):
            explainer.attribute(image())
    else:
        wanted = METHODS.load(name)(usual, **QUICK.get(name, {})).attribute(image())
        torch.testing.assert_close(explainer.attribute(image()), wanted)
    assert [p.requires_grad for p in network.parameters()] == flags


class Undefined(nn.Module):
    """f(x) is NaN or infinite, and its derivative is finite."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.network, self.offset = TinyNetwork((5, 5)), offset

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) + self.offset  # type: ignore[no-any-return]


@pytest.mark.parametrize("offset", [float("nan"), float("inf")])
def test_a_map_of_an_output_that_is_no_number_says_so(offset: float, caplog: pytest.LogCaptureFixture) -> None:
    found = METHODS.load("gradient")(Undefined(offset)).compute(example((5, 5)))
    assert bool(torch.isfinite(found.relevance[0]).all()), "the map itself gives nothing away"
    assert found.notes["value_not_finite"] == f"f(x) is {offset:g}"
    assert f"f(x) is {offset:g}" in caplog.text
    usual = METHODS.load("gradient")(TinyNetwork((5, 5))).compute(example((5, 5)))
    assert "value_not_finite" not in usual.notes


def test_an_error_of_the_users_own_stays_its_own() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("a fault on purpose")

    with pytest.raises(RuntimeError, match="a fault on purpose") as caught:
        METHODS.load("gradient")(Broken()).attribute(example((5, 5), 2))
    assert not isinstance(caught.value, RegardError)
