"""Expected gradients again, as a literal mean over the draws that the keys give."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.core import randomness
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.explainers.gradient.expected_gradients import ExpectedGradients


class Network(torch.nn.Module):
    """f(x) = tanh(a . x) + (b . x)^2, whose gradient is written out below."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.a, self.b = rng.normal(size=size), rng.normal(size=size)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (torch.from_numpy(w).flatten() for w in (self.a, self.b))
        return torch.tanh(x.flatten(1) @ a) + (x.flatten(1) @ b) ** 2

    def value(self, x: np.ndarray) -> float:
        return math.tanh((self.a * x).sum()) + (self.b * x).sum() ** 2

    def slope(self, x: np.ndarray) -> np.ndarray:
        return (1 - math.tanh((self.a * x).sum()) ** 2) * self.a + 2 * (self.b * x).sum() * self.b


@pytest.mark.parametrize("size", [(2, 3, 4), (1, 3, 2, 3)])
def test_expected_gradients(size: tuple[int, ...]) -> None:
    network, rng = Network(size), np.random.default_rng(1)
    x, references = rng.normal(size=size), rng.normal(size=(5, *size))
    products = []
    for draw in range(12):
        u = torch.rand(2, generator=randomness.generator(3, "sub-01", draw)).double().tolist()
        other = references[int(u[0] * 5)]
        products.append((x - other) * network.slope(other + u[1] * (x - other)))
    method = ExpectedGradients(network, references=torch.from_numpy(references), n_samples=12, tolerance=None)
    with intact(network) as plain:
        query = Query(plain, Inputs.of(torch.from_numpy(x)[None]), seed=3, case="sub-01", batch_size=5)
        found = method._attribute(query)
    np.testing.assert_allclose(found.relevance[0][0].numpy(), np.mean(products, 0), rtol=0, atol=1e-10)
    error = np.std(products, 0, ddof=1) / math.sqrt(12)
    np.testing.assert_allclose(found.standard_error[0][0].numpy(), error, rtol=0, atol=1e-6)
    level = np.mean([network.value(r) for r in references])
    assert float(found.reference_value) == pytest.approx(level, abs=1e-10)
    left = np.mean(products, 0).sum() - (network.value(x) - level)
    assert float(found.completeness_error) == pytest.approx(left, abs=1e-5)
