"""Shapley values again: as a mean over all orders, and KernelSHAP as the optimum of its weighted loss."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.core import randomness
from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.explainers.perturbation.kernel_shap import KernelSHAP
from regard.explainers.perturbation.segments import supervoxels
from regard.explainers.perturbation.shapley_exact import ShapleyExact

SIZES = [(5, 6), (4, 3, 5)]


class Function:
    """A function with interactions of all orders."""

    capabilities = frozenset()

    def __init__(self, size: tuple[int, ...]) -> None:
        self.weights = np.random.default_rng(1).normal(size=size)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tensor([self.one(image[0].double().numpy()) for image in x], dtype=torch.float64)

    def one(self, x: np.ndarray) -> float:
        s = (self.weights * x).sum()
        return float(60 + s + 0.3 * s**2 + math.tanh(x.mean()) * x.max())


def exact(explainer: AbstractExplainer, x: np.ndarray, reference: np.ndarray | None = None, **key) -> Attribution:
    """What the method computes before its map is handed out as float32."""
    with intact(explainer.network) as network:
        given = None if reference is None else (torch.from_numpy(reference)[None, None],)
        return explainer._attribute(Query(network, Inputs.of(torch.from_numpy(x)[None, None]), None, given, **key))


def shown(x: np.ndarray, reference: np.ndarray, labels: np.ndarray, members) -> np.ndarray:
    made = reference.copy()
    for place in np.ndindex(x.shape):
        if labels[place] in members:
            made[place] = x[place]
    return made


@pytest.fixture(params=SIZES, ids=["2d", "3d"])
def x(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(2).uniform(size=request.param)


def by_orders(f: Function, x: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over all orders of what each part adds when its turn comes."""
    n = labels.max() + 1
    gains = np.zeros(n)
    for order in itertools.permutations(range(n)):
        for turn, player in enumerate(order):
            after = f.one(shown(x, reference, labels, order[: turn + 1]))
            gains[player] += after - f.one(shown(x, reference, labels, order[:turn]))
    return gains / math.factorial(n)


@pytest.mark.parametrize("method", [ShapleyExact, KernelSHAP])
def test_shapley_values(method: type, x: np.ndarray) -> None:
    """KernelSHAP that evaluates every coalition is exact."""
    f, labels = Function(x.shape), supervoxels(torch.from_numpy(x)[None, None], 4).numpy()
    reference = np.random.default_rng(3).uniform(size=x.shape)
    for given, start in ((reference, reference), (None, np.full_like(x, x.min()))):
        values = by_orders(f, x, start, labels)
        found = exact(method(f, n_parts=4), x, given, batch_size=3)
        for player, value in enumerate(values):
            inside = found.relevance[0][0, 0].numpy()[labels == player]
            np.testing.assert_allclose(inside, value / (labels == player).sum(), rtol=0, atol=1e-8)
        assert float(found.value) == pytest.approx(f.one(x), abs=1e-12)
        assert float(found.reference_value) == pytest.approx(f.one(start), abs=1e-12)
        assert abs(float(found.completeness_error)) < 1e-5


def test_drawn_coalitions(x: np.ndarray) -> None:
    """The optimum of the loss over the very coalitions that the keys give, by the KKT system."""
    f, n_samples = Function(x.shape), 40
    labels = (np.arange(x.size) * 7 // x.size).reshape(x.shape)
    n, reference = int(labels.max()) + 1, np.zeros_like(x)
    assert 2**n - 2 > n_samples
    sizes = [(n - 1) / (s * (n - s)) for s in range(1, n)]
    members = []
    for pair in range(n_samples // 2):
        drawn = torch.rand(n + 1, generator=randomness.generator(4, "sub-01", pair)).tolist()
        size, heap = 1, sizes[0] / sum(sizes)
        while drawn[-1] >= heap:
            heap += sizes[size] / sum(sizes)
            size += 1
        one = set(np.argsort(drawn[:-1])[:size].tolist())
        members += [one, set(range(n)) - one]
    nothing, everything = f.one(reference), f.one(x)
    left, right = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    for coalition in members:
        z = np.array([float(p in coalition) for p in range(n)])
        left[:n, :n] += 2 * np.outer(z, z)
        right[:n] += 2 * z * (f.one(shown(x, reference, labels, coalition)) - nothing)
    left[n, :n] = left[:n, n] = 1
    right[n] = everything - nothing
    values = np.linalg.solve(left, right)[:n]
    method = KernelSHAP(f, parts=torch.from_numpy(labels), n_samples=n_samples)
    found = exact(method, x, reference, seed=4, case="sub-01", batch_size=7)
    for player in range(n):
        inside = found.relevance[0][0, 0].numpy()[labels == player]
        np.testing.assert_allclose(inside, values[player] / (labels == player).sum(), rtol=0, atol=1e-8)
