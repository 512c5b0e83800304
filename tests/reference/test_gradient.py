"""The gradient family again, as literal loops in float64 from the formulas, on tiny 2D and 3D networks."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.core import randomness
from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.explainers.gradient.gradient import Gradient
from regard.explainers.gradient.guided_backpropagation import GuidedBackpropagation
from regard.explainers.gradient.input_x_gradient import InputXGradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.explainers.gradient.lam import LAM
from regard.explainers.gradient.smoothgrad import SmoothGrad

SIZES = [(4, 5), (3, 4, 3)]


class Loops(nn.Module):
    """f(x) = sum_c,p head[c,p] phi(bias[c] + sum_k kernel[c,k] x[p + k - 1]); as a network, and as literal loops."""

    def __init__(self, size: tuple[int, ...], phi: str) -> None:
        super().__init__()
        rng = np.random.default_rng(3)
        self.size, self.phi = size, phi
        self.kernel = rng.normal(size=(2, *[3] * len(size)))
        self.bias = rng.normal(size=2)
        self.head = rng.normal(size=(2, *size))
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(size)]
        self.convolution = convolution(1, 2, 3, padding=1).double()
        self.convolution.weight.data = torch.from_numpy(self.kernel)[:, None]
        self.convolution.bias.data = torch.from_numpy(self.bias)
        self.activation = nn.ReLU(inplace=True) if phi == "relu" else nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return (self.activation(self.convolution(x)) * torch.from_numpy(self.head)).flatten(1).sum(1)

    def _terms(self, place: tuple[int, ...]):
        for offset in itertools.product(range(3), repeat=len(self.size)):
            there = tuple(p + o - 1 for p, o in zip(place, offset, strict=True))
            if all(0 <= t < n for t, n in zip(there, self.size, strict=True)):
                yield offset, there

    def _before(self, x: np.ndarray, c: int, place: tuple[int, ...]) -> float:
        return self.bias[c] + sum(self.kernel[(c, *k)] * x[there] for k, there in self._terms(place))

    def loop_value(self, x: np.ndarray) -> float:
        phi = (lambda a: max(a, 0.0)) if self.phi == "relu" else math.tanh
        places = itertools.product(*map(range, self.size))
        return sum(self.head[(c, *p)] * phi(self._before(x, c, p)) for p in places for c in range(2))

    def loop_gradient(self, x: np.ndarray, guided: bool = False) -> np.ndarray:
        gradient = np.zeros(self.size)
        for place in itertools.product(*map(range, self.size)):
            for c in range(2):
                a, back = self._before(x, c, place), self.head[(c, *place)]
                slope = float(a > 0) if self.phi == "relu" else 1 - math.tanh(a) ** 2
                if guided and back < 0:
                    continue
                for k, there in self._terms(place):
                    gradient[there] += back * slope * self.kernel[(c, *k)]
        return gradient


def exact(explainer: AbstractExplainer, x: np.ndarray, reference: np.ndarray | None = None, **key) -> Attribution:
    """What the method computes before its map is handed out as float32."""
    with intact(explainer.network) as network:
        given = None if reference is None else (torch.from_numpy(reference)[None, None],)
        return explainer._attribute(Query(network, Inputs.of(torch.from_numpy(x)[None, None]), None, given, **key))


def same(found: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=0, atol=1e-10)


@pytest.fixture(params=SIZES, ids=["2d", "3d"])
def x(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(5).normal(size=request.param)


@pytest.fixture(params=["relu", "tanh"])
def network(request: pytest.FixtureRequest, x: np.ndarray) -> Loops:
    return Loops(x.shape, request.param)


def test_gradient(network: Loops, x: np.ndarray) -> None:
    found = exact(Gradient(network), x)
    same(found.relevance[0], network.loop_gradient(x))
    assert float(found.value) == pytest.approx(network.loop_value(x), abs=1e-10)


def test_input_x_gradient(network: Loops, x: np.ndarray) -> None:
    reference = np.full_like(x, 0.3)
    found = exact(InputXGradient(network), x, reference)
    same(found.relevance[0], (x - reference) * network.loop_gradient(x))
    same(exact(InputXGradient(network), x).relevance[0], x * network.loop_gradient(x))
    left = found.relevance[0].sum() - (network.loop_value(x) - network.loop_value(reference))
    assert float(found.completeness_error) == pytest.approx(float(left), abs=1e-6)


def test_integrated_gradients(network: Loops, x: np.ndarray) -> None:
    reference = np.linspace(-1, 1, x.size).reshape(x.shape)
    for given, start in ((reference, reference), (None, np.full_like(x, x.min()))):
        expected = np.zeros_like(x)
        for node, weight in zip(*np.polynomial.legendre.leggauss(7), strict=True):
            expected += weight / 2 * (x - start) * network.loop_gradient(start + (node + 1) / 2 * (x - start))
        found = exact(IntegratedGradients(network, n_steps=7), x, given, batch_size=3)
        same(found.relevance[0], expected)
        assert float(found.reference_value) == pytest.approx(network.loop_value(start), abs=1e-10)


def test_smoothgrad(network: Loops, x: np.ndarray) -> None:
    gradients = []
    for draw in range(6):
        noise = torch.randn(1, 1, *x.shape, generator=randomness.generator(4, "sub-01", f"0/{draw}"))
        noisy = x + 0.2 * (x.max() - x.min()) * noise[0, 0].double().numpy()
        gradients.append(network.loop_gradient(noisy))
    method = SmoothGrad(network, noise=0.2, n_samples=6, tolerance=None)
    found = exact(method, x, seed=4, case="sub-01", batch_size=4)
    same(found.relevance[0], np.mean(gradients, 0))
    np.testing.assert_allclose(found.standard_error[0][0, 0], np.std(gradients, 0, ddof=1) / math.sqrt(6), atol=1e-6)


def test_guided_backpropagation(x: np.ndarray) -> None:
    network = Loops(x.shape, "relu")
    same(exact(GuidedBackpropagation(network), x).relevance[0], network.loop_gradient(x, guided=True))


def test_guided_backpropagation_through_two_rectifiers() -> None:
    rng = np.random.default_rng(0)
    first, second, last = rng.normal(size=(5, 4)), rng.normal(size=(3, 5)), rng.normal(size=3)
    x = rng.normal(size=4)

    def network(tensor: Tensor) -> Tensor:
        hidden = torch.relu(tensor.flatten(1) @ torch.from_numpy(first).T)
        return (hidden @ torch.from_numpy(second).T).relu_() @ torch.from_numpy(last)

    one = [sum(first[i, j] * x[j] for j in range(4)) for i in range(5)]
    two = [sum(second[i, j] * max(one[j], 0) for j in range(5)) for i in range(3)]
    back_two = [last[i] if two[i] > 0 and last[i] > 0 else 0.0 for i in range(3)]
    back_one = [sum(second[i, j] * back_two[i] for i in range(3)) for j in range(5)]
    back_one = [b if one[j] > 0 and b > 0 else 0.0 for j, b in enumerate(back_one)]
    expected = [sum(first[i, j] * back_one[i] for i in range(5)) for j in range(4)]
    found = exact(GuidedBackpropagation(network), x)
    assert found.notes["n_guided"] == 2
    same(found.relevance[0], np.array(expected))


def loop_blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur as a sum over neighbours along one axis after the other, edges repeated."""
    if sigma <= 0:
        return x
    radius = max(1, math.ceil(4 * sigma))
    weights = [math.exp(-(o**2) / (2 * sigma**2)) for o in range(-radius, radius + 1)]
    for axis, n in enumerate(x.shape):
        blurred = np.zeros_like(x)
        for place in itertools.product(*map(range, x.shape)):
            for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
                there = list(place)
                there[axis] = min(max(place[axis] + offset, 0), n - 1)
                blurred[place] += weight / sum(weights) * x[tuple(there)]
        x = blurred
    return x


def test_lam(network: Loops, x: np.ndarray) -> None:
    n_steps, sigma, expected = 5, 1.5, np.zeros_like(x)
    for step in range(n_steps):
        a, middle, b = (loop_blur(x, sigma * (1 - (step + part) / n_steps)) for part in (0, 0.5, 1))
        expected += (b - a) * network.loop_gradient(middle)
    found = exact(LAM(network, sigma=sigma, n_steps=n_steps), x, batch_size=2)
    same(found.relevance[0], expected)
    assert float(found.reference_value) == pytest.approx(network.loop_value(loop_blur(x, sigma)), abs=1e-10)
