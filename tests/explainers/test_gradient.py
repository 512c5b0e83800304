"""The gradient family: closed forms, knobs, and the defects of other toolkits named after their symptoms."""

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import InputError, ReferenceInputError, TargetError
from regard.core.quantity import Promise, Quantity, Sign
from regard.explainers.gradient.gradient import Gradient
from regard.explainers.gradient.guided_backpropagation import GuidedBackpropagation
from regard.explainers.gradient.input_x_gradient import InputXGradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.explainers.gradient.lam import LAM
from regard.explainers.gradient.smoothgrad import SmoothGrad
from regard.testing.networks import TinyNetwork, example

SIZE = (6, 7)
ALL = [Gradient, InputXGradient, IntegratedGradients, SmoothGrad, GuidedBackpropagation, LAM]
PATHS = [IntegratedGradients, LAM]


class Linear(nn.Module):
    """f(x) = w . x + 60, with two channels."""

    def __init__(self, column: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, *SIZE, generator=generator, dtype=torch.float64))
        self.column = column

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weight).flatten(1).sum(1) + 60
        return value[:, None] if self.column else value


class Smooth(nn.Module):
    """Softplus between two convolutions; counts the largest batch it has seen."""

    def __init__(self, image: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.Softplus(), nn.Conv2d(3, 1, 3, padding=1)
        ).double()
        self.image, self.largest, self.calls = image, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest, self.calls = max(self.largest, len(x)), self.calls + 1
        found = self.layers(x)
        return found if self.image else found.flatten(1).square().sum(1)


@pytest.fixture
def x() -> Tensor:
    return example(SIZE, channels=2)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.double(), b.double().expand_as(a), rtol=0, atol=tolerance)


# Closed forms on f(x) = w . x + b


def test_gradient_of_a_linear_function_is_its_weights(x: Tensor) -> None:
    close(Gradient(Linear()).attribute(x)[0], Linear().weight)


@pytest.mark.parametrize("method", [InputXGradient, IntegratedGradients])
def test_contributions_of_a_linear_function_are_exact(method: type, x: Tensor) -> None:
    found = method(Linear()).compute(x, reference=0.25)
    close(found.relevance[0][0], Linear().weight * (x[0] - 0.25))
    assert abs(float(found.completeness_error)) < 1e-5
    assert float(found.reference_value) == pytest.approx(float(60 + 0.25 * Linear().weight.detach().sum()))


def test_smoothgrad_of_a_linear_function_is_its_weights_with_no_error(x: Tensor) -> None:
    found = SmoothGrad(Linear()).compute(x)
    close(found.relevance[0][0], Linear().weight)
    assert float(found.standard_error[0].max()) < 1e-12
    assert found.notes["n_samples_used"] == 8


def test_lam_of_a_linear_function_is_weights_times_what_the_blur_takes(x: Tensor) -> None:
    from regard.core.spatial import blur

    found = LAM(Linear(), sigma=2.0).compute(x)
    close(found.relevance[0][0], Linear().weight * (x - blur(x, 2.0))[0])
    assert abs(float(found.completeness_error)) < 1e-5


def test_guided_backpropagation_of_a_network_without_rectifiers_says_so(x: Tensor, caplog) -> None:
    with caplog.at_level(logging.WARNING, "regard"):
        found = GuidedBackpropagation(Linear()).compute(x)
    close(found.relevance[0][0], Linear().weight)
    assert found.notes["n_guided"] == 0
    assert "no ReLU" in caplog.text


# More closed forms


def test_integrated_gradients_of_a_product_gives_each_factor_half() -> None:
    inputs = (torch.tensor([[[3.0]]], dtype=torch.float64), torch.tensor([[[5.0]]], dtype=torch.float64))
    first, second = IntegratedGradients(lambda a, b: (a * b).flatten(1).sum(1)).attribute(inputs, reference=0.0)
    assert float(first) == pytest.approx(7.5)
    assert float(second) == pytest.approx(7.5)


def test_input_x_gradient_of_a_product_states_its_remainder() -> None:
    x = torch.tensor([[[3.0, 5.0]]], dtype=torch.float64)
    found = InputXGradient(lambda t: t.prod(-1)[:, 0]).compute(x)
    assert found.relevance[0].flatten().tolist() == [15.0, 15.0]
    assert float(found.completeness_error) == pytest.approx(15.0)


def test_integrated_gradients_are_complete_on_a_smooth_network() -> None:
    x = example(SIZE)
    with torch.no_grad():
        difference = Smooth()(x) - Smooth()(torch.full_like(x, float(x.min())))
    found = IntegratedGradients(Smooth()).compute(x)
    assert abs(float(found.completeness_error)) < 1e-6 * float(difference.abs())
    assert float(found.relevance[0].sum()) == pytest.approx(float(difference), rel=1e-5)


def test_lam_is_complete_when_its_steps_are_many() -> None:
    x, errors = example(SIZE), []
    for n_steps in (10, 100):
        found = LAM(Smooth(), n_steps=n_steps).compute(x)
        errors.append(abs(float(found.completeness_error / (found.value - found.reference_value))))
    assert errors[1] < 1e-3
    assert errors[1] < errors[0] / 10


def test_the_darkest_value_of_each_case_is_the_reference_of_integrated_gradients() -> None:
    x = torch.stack([example(SIZE)[0] + 1, example(SIZE, seed=4)[0] - 3])
    lowest = x.amin((1, 2, 3), keepdim=True).expand_as(x)
    method = IntegratedGradients(Smooth())
    close(method.attribute(x), method.attribute(x, reference=lowest), 1e-12)
    assert "smallest value" in method.compute(x).notes["reference"]


def test_smoothgrad_error_is_that_of_the_mean() -> None:
    network, x = Smooth(), example(SIZE)
    found = SmoothGrad(network, noise=0.5, n_samples=64, tolerance=None).compute(x)
    other = SmoothGrad(network, noise=0.5, n_samples=64, tolerance=None).compute(x, seed=1)
    apart = (found.relevance[0] - other.relevance[0]) / (
        found.standard_error[0] ** 2 + other.standard_error[0] ** 2
    ).sqrt()
    assert 0.5 < float(apart.square().mean()) < 2


def test_smoothgrad_stops_at_its_tolerance_and_not_before() -> None:
    network, x = Smooth(), example(SIZE)
    used = [SmoothGrad(network, noise=0.5, tolerance=t).compute(x).notes["n_samples_used"] for t in (0.2, 0.02, None)]
    assert used == sorted(used)
    assert used[0] < 64
    assert used[-1] == 64
    assert all(n % 8 == 0 for n in used)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_the_batch_size_does_not_decide_when_smoothgrad_stops(batch_size: int) -> None:
    found = SmoothGrad(Smooth(), noise=0.5, tolerance=0.1).compute(example(SIZE), batch_size=batch_size)
    expected = SmoothGrad(Smooth(), noise=0.5, tolerance=0.1).compute(example(SIZE), batch_size=8)
    assert found.notes["n_samples_used"] == expected.notes["n_samples_used"] < 64
    close(found.relevance[0], expected.relevance[0])


@pytest.mark.parametrize(
    "rectify",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        functional.relu,
        lambda x: functional.relu(x, inplace=True),
        torch.relu,
        torch.relu_,
        functional.relu_,
        Tensor.relu,
        Tensor.relu_,
        lambda x: x.relu(),
        lambda x: (x.relu_(), x)[1],
    ],
)
def test_every_way_to_write_a_rectifier_is_guided(rectify) -> None:
    x = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64)
    weights = torch.tensor([[[2.0, 5.0, -4.0]]], dtype=torch.float64)
    found = GuidedBackpropagation(lambda t: (rectify(t * 1.0) * weights).sum((1, 2))).compute(x)
    assert found.notes["n_guided"] == 1
    assert float(found.value) == pytest.approx(-10)
    assert found.relevance[0].flatten().tolist() == [2.0, 0.0, 0.0]


@pytest.mark.parametrize("rectify", [nn.ReLU6(), nn.ReLU6(inplace=True), functional.relu6, nn.Hardtanh(0, 6)])
def test_relu6_is_guided_below_its_ceiling(rectify) -> None:
    x = torch.tensor([[[1.0, 7.0, -1.0]]], dtype=torch.float64)
    found = GuidedBackpropagation(lambda t: rectify(t * 1.0).sum((1, 2))).compute(x)
    assert float(found.value) == pytest.approx(7)
    assert found.relevance[0].flatten().tolist() == [1.0, 0.0, 0.0]


def test_hardtanh_is_left_alone(x: Tensor) -> None:
    assert GuidedBackpropagation(lambda t: nn.Hardtanh()(t).flatten(1).sum(1)).compute(x).notes["n_guided"] == 0


def test_a_reused_rectifier_is_guided_each_time() -> None:
    relu = nn.ReLU()
    found = GuidedBackpropagation(nn.Sequential(relu, nn.Flatten(), nn.Linear(3, 4), relu, nn.Linear(4, 1))).compute(
        torch.rand(1, 1, 3)
    )
    assert found.notes["n_guided"] == 2


# Defects of others, by symptom


@pytest.mark.parametrize("method", ALL)
def test_a_second_call_does_not_double_the_map(method: type) -> None:
    explainer, x = method(Smooth()), example(SIZE).requires_grad_()
    first = explainer.attribute(x)
    kept = first.clone()
    assert torch.equal(explainer.attribute(x), kept)
    assert torch.equal(first, kept)
    assert x.grad is None


@pytest.mark.parametrize("n_samples", [4, 40, 160])
def test_the_number_of_samples_does_not_scale_smoothgrad(n_samples: int) -> None:
    found = SmoothGrad(Smooth(), n_samples=n_samples, tolerance=None).attribute(example(SIZE))
    plain = Gradient(Smooth()).attribute(example(SIZE))
    assert float(found.norm() / plain.norm()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("method", PATHS)
def test_memory_does_not_grow_with_the_steps(method: type) -> None:
    largest = []
    for n_steps in (8, 200):
        network = Smooth()
        method(network, n_steps=n_steps).attribute(example(SIZE), batch_size=4)
        largest.append(network.largest)
    assert largest == [4, 4]


@pytest.mark.parametrize("method", PATHS)
def test_the_batch_makes_no_difference_to_a_path(method: type) -> None:
    one, many = (method(Smooth()).attribute(example(SIZE), batch_size=n) for n in (1, 32))
    close(one, many)


@pytest.mark.parametrize("method", ALL)
def test_an_image_output_without_a_target_is_an_error(method: type) -> None:
    network = Smooth(image=True)
    with pytest.raises(TargetError, match=r"no target for an output of shape \(\d, 1, 6, 7\)"):
        method(network).attribute(example(SIZE))
    assert network.calls == 1
    assert network.largest == 1


@pytest.mark.parametrize("method", ALL)
def test_an_image_output_with_a_target_gives_a_map(method: type) -> None:
    found = method(Smooth(image=True)).attribute(example(SIZE), lambda y: y[:, 0, 2, 3])
    assert found.shape == (1, 1, *SIZE)
    assert float(found.abs().max()) > 0
    if method is not LAM:
        assert float(found[0, 0, -1, -1]) == 0, "outside the receptive field"


@pytest.mark.parametrize("method", ALL)
def test_inference_mode_outside_does_no_harm(method: type) -> None:
    network = Smooth()
    expected = method(network).attribute(example(SIZE))
    with torch.inference_mode():
        found = method(network).attribute(example(SIZE))
    close(found, expected, 1e-12)


@pytest.mark.parametrize("method", ALL)
def test_a_column_and_a_vector_of_outputs_are_the_same(method: type, x: Tensor) -> None:
    close(method(Linear(column=True)).attribute(x), method(Linear(column=False)).attribute(x), 1e-12)


# What is declared


@pytest.mark.parametrize("method", [Gradient, SmoothGrad, GuidedBackpropagation])
def test_the_published_form_is_the_largest_absolute_value_of_the_channels(method: type, x: Tensor) -> None:
    signed, published = method(Linear()).attribute(x), method(Linear(), form="published").attribute(x)
    close(published, signed.abs().amax(1, keepdim=True))
    assert method(Linear(), form="published").meaning[1] is Sign.UNSIGNED


def test_the_published_form_of_lam_is_the_absolute_sum_of_the_channels(x: Tensor) -> None:
    close(LAM(Linear(), form="published").attribute(x), LAM(Linear()).attribute(x).abs().sum(1, keepdim=True))
    assert LAM(Linear(), form="published").meaning == (Quantity.SCORE, Sign.UNSIGNED)


@pytest.mark.parametrize("method", [Gradient, SmoothGrad, GuidedBackpropagation, LAM])
def test_methods_that_cannot_compare_refuse_a_reference(method: type, x: Tensor) -> None:
    with pytest.raises(ReferenceInputError):
        method(Linear()).attribute(x, reference=0.0)


@pytest.mark.parametrize("method", ALL)
def test_only_contributions_promise_completeness(method: type) -> None:
    assert (Promise.COMPLETE in method.breaks) is not method.quantity.sums


@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        (IntegratedGradients, {"n_steps": 0}),
        (IntegratedGradients, {"n_steps": 2.5}),
        (IntegratedGradients, {"n_steps": True}),
        (SmoothGrad, {"noise": 0}),
        (SmoothGrad, {"noise": float("nan")}),
        (SmoothGrad, {"n_samples": -1}),
        (SmoothGrad, {"tolerance": -0.1}),
        (SmoothGrad, {"tolerance": "small"}),
        (LAM, {"sigma": 0.0}),
        (LAM, {"n_steps": 0}),
    ],
)
def test_a_wrong_knob_is_one_sentence(method: type, knobs: dict) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(knobs))}=.*; expected .*; set"):
        method(Linear(), **knobs)


@pytest.mark.parametrize("method", ALL)
def test_bfloat16_goes_in_and_float32_comes_out(method: type) -> None:
    found = method(TinyNetwork(SIZE).bfloat16()).attribute(example(SIZE).bfloat16())
    assert found.dtype == torch.float32
    assert bool(torch.isfinite(found).all())
