"""DeepLIFT and Shapley values through captum: closed forms, the check of completeness, and no traces left."""

import logging
import sys

import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import CapabilityError, InputError, MissingDependencyError
from regard.core.quantity import Quantity
from regard.explainers.from_captum import DeepLIFT, ShapleySampling
from regard.explainers.perturbation.segments import supervoxels
from regard.testing.networks import Faulty, TinyNetwork, example

SIZE = (6, 7)


class Functional(nn.Module):
    """A rectifier that is a function, which captum cannot see."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyNetwork(SIZE)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) - 0.3).square()


class Reused(nn.Module):
    """One rectifier that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Linear(42, 5).double(), nn.Linear(5, 5).double(), nn.Linear(5, 1).double())
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.relu(self.b(self.relu(self.a(x.flatten(1))))))


def state(network: nn.Module) -> list:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [(sorted(m.__dict__), m.training, [len(getattr(m, h)) for h in hooks]) for m in network.modules()]


@pytest.fixture
def x() -> Tensor:
    return example(SIZE)


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(42, 1)).double()


def test_deeplift_of_a_linear_function_is_weights_times_difference(linear: nn.Module, x: Tensor) -> None:
    found = DeepLIFT(linear).compute(x, reference=0.25)
    expected = linear[1].weight.detach().reshape(1, 1, *SIZE) * (x - 0.25)
    torch.testing.assert_close(found.relevance[0].double(), expected, rtol=0, atol=1e-6)
    assert abs(float(found.completeness_error)) < 1e-6


def test_deeplift_of_one_rectifier_is_its_rescale_rule() -> None:
    """relu(a + b - 1) from (0, 0) to (2, 1): the multiplier is (2 - 0) / (2 + 1) for both."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU()).double()
    network[1].weight.data.fill_(1)
    network[1].bias.data.fill_(-1)
    found = DeepLIFT(network).attribute(torch.tensor([[[2.0, 1.0]]], dtype=torch.float64), reference=0.0)
    assert found.flatten().tolist() == pytest.approx([4 / 3, 2 / 3])


@pytest.mark.parametrize("in_place", [False, True])
def test_deeplift_is_complete_on_modules(x: Tensor, in_place: bool, caplog) -> None:
    with caplog.at_level(logging.WARNING, "regard"):
        found = DeepLIFT(TinyNetwork(SIZE, in_place=in_place)).compute(x)
    assert abs(float(found.completeness_error)) < 1e-5 * abs(float(found.value - found.reference_value))
    assert "completeness" not in found.notes
    assert not caplog.text


def test_a_function_that_captum_cannot_see_violates_completeness_and_is_told(x: Tensor, caplog) -> None:
    network = Functional()
    network.inner.head.bias.data.fill_(20)
    with caplog.at_level(logging.WARNING, "regard"):
        found = DeepLIFT(network).compute(x)
    assert abs(float(found.completeness_error)) > 0.01 * abs(float(found.value - found.reference_value))
    assert found.notes["completeness"].startswith("violated by ")
    assert "misses f(x) - f(reference)" in caplog.text


def test_a_reused_rectifier_is_one_sentence_and_leaves_no_trace(x: Tensor) -> None:
    network = Reused()
    before = state(network)
    with pytest.raises(CapabilityError, match="captum's DeepLIFT cannot follow .*integrated-gradients"):
        DeepLIFT(network).attribute(x)
    assert state(network) == before


def test_a_network_that_fails_inside_captum_is_left_as_it_was(x: Tensor) -> None:
    network = Faulty(TinyNetwork(SIZE, in_place=True), at=3)
    before = state(network)
    with pytest.raises(ArithmeticError):
        DeepLIFT(network).attribute(x)
    assert network.calls == 3
    assert state(network) == before


def test_deeplift_leaves_hooks_of_others_where_they_are(x: Tensor) -> None:
    network, calls = TinyNetwork(SIZE, in_place=True), []
    network.relu.register_forward_hook(lambda *_: calls.append(1))
    before = state(network)
    DeepLIFT(network).attribute(x)
    assert state(network) == before
    assert network.relu.inplace
    calls.clear()
    network.eval()(x)
    assert calls == [1]


def test_deeplift_explains_a_place_of_an_image(x: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 1)).double()
    found = DeepLIFT(network).compute(x, lambda y: y[:, 0, 1, 1])
    assert abs(float(found.completeness_error)) < 1e-6
    assert float(found.relevance[0][0, 0, 3:].abs().max()) == 0


def test_deeplift_needs_modules() -> None:
    with pytest.raises(CapabilityError):
        DeepLIFT(torch.jit.trace(nn.Linear(2, 1), torch.rand(1, 2)))


def test_shapley_of_a_linear_function_is_the_sum_of_each_segment(linear: nn.Module, x: Tensor) -> None:
    found = ShapleySampling(linear, n_segments=6).compute(x, reference=0.25)
    parts = linear[1].weight.detach().reshape(SIZE) * (x[0, 0] - 0.25)
    segments = supervoxels(x, 6)
    for n in range(int(segments.max()) + 1):
        inside = found.relevance[0][0, 0][segments == n].double()
        assert float(inside.sum()) == pytest.approx(float(parts[segments == n].sum()), abs=1e-5)
        assert float(inside.max() - inside.min()) == 0
    assert float(found.standard_error[0].max()) < 1e-6
    assert found.notes["n_samples_used"] == 8


def test_shapley_of_a_product_gives_each_factor_half() -> None:
    inputs = (torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 5.0))
    method = ShapleySampling(lambda a, b: (a * b).flatten(1).sum(1), n_segments=1, n_samples=200, tolerance=None)
    found = method.compute(inputs, reference=0.0)
    for relevance, error in zip(found.relevance, found.standard_error, strict=True):
        assert abs(float(relevance) - 7.5) < 4 * float(error)
        assert float(error) == pytest.approx(7.5 / 200**0.5, rel=0.05)
    assert abs(float(found.completeness_error)) < 1e-4


def test_shapley_of_all_orders_is_exact() -> None:
    """Three players, all six orders in equal parts in the long run: the mean tends to the exact values."""
    x = torch.ones(1, 1, 3, dtype=torch.float64)

    def game(t: Tensor) -> Tensor:
        a, b, c = t[:, 0].T
        return 2 * a + 4 * a * b + 6 * a * b * c

    found = ShapleySampling(game, n_segments=3, n_samples=300, tolerance=None).compute(x, reference=0.0)
    error = found.standard_error[0].flatten()
    for place, expected in enumerate([2 + 2 + 2, 2 + 2, 2]):
        assert abs(float(found.relevance[0].flatten()[place]) - expected) < 4 * float(error[place])
    assert float(error.max()) < 0.3


def test_shapley_stops_where_it_is_resolved(x: Tensor) -> None:
    used = [
        ShapleySampling(TinyNetwork(SIZE), n_segments=6, n_samples=40, tolerance=t).compute(x).notes["n_samples_used"]
        for t in (0.5, None)
    ]
    assert used[0] < used[1] == 40


def test_shapley_leaves_the_random_state_and_takes_a_black_box(x: Tensor) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    weights = torch.linspace(-1, 1, 42, dtype=torch.float64)
    found = ShapleySampling(lambda t: (t.flatten(1) * weights).sum(1), n_segments=5).compute(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert abs(float(found.completeness_error)) < 1e-5


def test_a_network_that_answers_differently_each_time_is_told(x: Tensor, caplog) -> None:
    answers = iter(range(10_000))
    with caplog.at_level(logging.WARNING, "regard"):
        found = ShapleySampling(lambda t: t.flatten(1).sum(1) + 10 * next(answers), n_segments=4).compute(x)
    assert found.notes["completeness"].startswith("violated by ")


@pytest.mark.parametrize("method", [DeepLIFT, ShapleySampling])
def test_both_are_contributions_in_inference_mode_too(method: type, x: Tensor) -> None:
    network = TinyNetwork(SIZE)
    expected = method(network).attribute(x)
    assert method.quantity is Quantity.CONTRIBUTION
    with torch.inference_mode():
        found = method(network).attribute(example(SIZE))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", [DeepLIFT, ShapleySampling])
def test_without_captum_the_install_line_is_given(method: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(MissingDependencyError, match=r"regard\[captum\]"):
        method(TinyNetwork(SIZE))


@pytest.mark.parametrize("knobs", [{"n_segments": 0}, {"n_samples": 0}, {"tolerance": 0}, {"compactness": -1}])
def test_a_wrong_knob_is_one_sentence(knobs: dict) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(knobs))}=.*; expected .*; set"):
        ShapleySampling(TinyNetwork(SIZE), **knobs)
