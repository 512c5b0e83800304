"""The perturbation family again, as literal loops in float64 from the formulas, on tiny 2D and 3D networks."""

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
from regard.explainers.perturbation.lime import LIME, fit_surrogate
from regard.explainers.perturbation.occlusion import Occlusion
from regard.explainers.perturbation.rise import RISE
from regard.explainers.perturbation.segments import supervoxels

SIZES = [(5, 6), (4, 3, 5)]


class Function:
    """A function with interactions between neighbours, that works on one image and on a batch."""

    capabilities = frozenset()

    def __init__(self, size: tuple[int, ...]) -> None:
        rng = np.random.default_rng(1)
        self.weights, self.products = rng.normal(size=(2, *size)), rng.normal(size=size)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tensor([self.one(image.double().numpy()) for image in x], dtype=torch.float64)

    def one(self, x: np.ndarray) -> float:
        shifted = np.roll(x[0], 1, axis=0)
        return float((self.weights * x).sum() + (self.products * x[0] * shifted).sum() + math.tanh(x[1].mean()) + 60)


def exact(explainer: AbstractExplainer, x: np.ndarray, reference: np.ndarray | None = None, **key) -> Attribution:
    """What the method computes before its map is handed out as float32."""
    with intact(explainer.network) as network:
        given = None if reference is None else (torch.from_numpy(reference)[None],)
        return explainer._attribute(Query(network, Inputs.of(torch.from_numpy(x)[None]), None, given, **key))


def same(found: Tensor, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=0, atol=tolerance)


@pytest.fixture(params=SIZES, ids=["2d", "3d"])
def x(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(2).uniform(size=(2, *request.param))


def loop_occlusion(f: Function, x: np.ndarray, window: int, stride: int, filled) -> np.ndarray:
    size = x.shape[1:]
    total, count = np.zeros(size), np.zeros(size)
    starts = []
    for n in size:
        w = min(window, n)
        along, at = [], 0
        while at + w <= n:
            along.append(at)
            at += stride
        if along[-1] + w != n:
            along.append(n - w)
        starts.append(along)
    for corner in itertools.product(*starts):
        hidden = x.copy()
        inside = [range(c, c + min(window, n)) for c, n in zip(corner, size, strict=True)]
        for place in itertools.product(*inside):
            for c in range(x.shape[0]):
                hidden[(c, *place)] = filled(c, place, inside)
        change = f.one(x) - f.one(hidden)
        for place in itertools.product(*inside):
            total[place] += change
            count[place] += 1
    return total / count


@pytest.mark.parametrize(("window", "stride"), [(2, 1), (3, 2), (2, 2)])
def test_occlusion_with_a_number_a_mean_and_a_reference(x: np.ndarray, window: int, stride: int) -> None:
    f, reference = Function(x.shape[1:]), np.random.default_rng(9).uniform(size=x.shape)

    def number(c, place, inside) -> float:
        return -0.7

    def mean(c, place, inside) -> float:
        return x[c].mean()

    def other(c, place, inside) -> float:
        return reference[(c, *place)]

    cases = ((-0.7, None, number), ("mean", None, mean), ("auto", reference, other), ("mean", reference, mean))
    for filler, given, filled in cases:
        method = Occlusion(f, window=window, stride=stride, filler=filler)
        found = exact(method, x, given, batch_size=4)
        same(found.relevance[0], loop_occlusion(f, x, window, stride, filled))


def test_occlusion_with_its_neighbours(x: np.ndarray) -> None:
    def ring(c, place, inside) -> float:
        wide = [
            range(max(0, r.start - max(1, len(r) // 2)), min(n, r.stop + max(1, len(r) // 2)))
            for r, n in zip(inside, x.shape[1:], strict=True)
        ]
        values = [
            x[(c, *p)] for p in itertools.product(*wide) if not all(q in r for q, r in zip(p, inside, strict=True))
        ]
        return sum(values) / len(values)

    f = Function(x.shape[1:])
    method = Occlusion(f, window=2, stride=2, filler="neighbour")
    same(exact(method, x).relevance[0], loop_occlusion(f, x, 2, 2, ring))


def loop_mask(size: tuple[int, ...], cells: int, p: float, seed: int, case: str, draw: str) -> np.ndarray:
    """Linear interpolation of a grid of random cells, by loops: place o of the wide mask at (o + 0.5) ratio - 0.5."""
    grid = [min(cells, n) for n in size]
    steps = [math.ceil(n / g) for n, g in zip(size, grid, strict=True)]
    numbers = torch.rand(grid, generator=randomness.generator(seed, case, draw)).numpy()
    shown = (numbers < np.float32(p)).astype(float)
    shifts = torch.rand(len(size), generator=randomness.generator(seed, case, f"{draw}/shift")).tolist()
    starts = [int(s * step) for s, step in zip(shifts, steps, strict=True)]
    mask = np.zeros(size)
    for place in itertools.product(*map(range, size)):
        corners = []
        for o, start, g, step in zip(place, starts, grid, steps, strict=True):
            at = max(0.0, (o + start + 0.5) * g / ((g + 1) * step) - 0.5)
            low = int(at)
            corners.append([(low, 1 - (at - low)), (min(low + 1, g - 1), at - low)])
        mask[place] = sum(
            math.prod(weight for _, weight in corner) * shown[tuple(i for i, _ in corner)]
            for corner in itertools.product(*corners)
        )
    return mask


def test_rise(x: np.ndarray) -> None:
    f, n, size = Function(x.shape[1:]), 24, x.shape[1:]
    fill = np.stack([np.full(size, channel.mean()) for channel in x])
    masks = [loop_mask(size, 3, 0.4, 6, "a", f"0/{draw}") for draw in range(n)]
    values = [f.one(fill + m * (x - fill)) for m in masks]
    slopes, errors = np.zeros(size), np.zeros(size)
    for place in itertools.product(*map(range, size)):
        m = np.array([mask[place] for mask in masks])
        covariance = sum((a - m.mean()) * (b - np.mean(values)) for a, b in zip(m, values, strict=True))
        variance = sum((a - m.mean()) ** 2 for a in m)
        slopes[place] = covariance / variance
        left = sum((b - np.mean(values) - slopes[place] * (a - m.mean())) ** 2 for a, b in zip(m, values, strict=True))
        errors[place] = math.sqrt(left / (n - 2) / variance)
    method = RISE(f, n_masks=n, cells=3, p=0.4, filler="mean", tolerance=None)
    found = exact(method, x, seed=6, case="a", batch_size=5)
    same(found.relevance[0], slopes)
    np.testing.assert_allclose(found.standard_error[0][0, 0], errors, rtol=1e-5)


def test_published_rise(x: np.ndarray) -> None:
    f, n, size = Function(x.shape[1:]), 12, x.shape[1:]
    masks = [loop_mask(size, 3, 0.4, 6, "a", f"0/{draw}") for draw in range(n)]
    expected = sum(f.one(x * m) * m for m in masks) / (n * 0.4)
    method = RISE(f, n_masks=n, cells=3, p=0.4, tolerance=None, form="published")
    same(exact(method, x, seed=6, case="a").relevance[0], expected)


def test_lime(x: np.ndarray) -> None:
    f, n, ridge, width = Function(x.shape[1:]), 40, 0.3, 0.4
    segments = supervoxels(torch.from_numpy(x)[None], 6).numpy()
    m = segments.max() + 1
    assert m > 1
    fill = [channel.mean() for channel in x]
    normal, right = np.zeros((m + 1, m + 1)), np.zeros(m + 1)
    rows, values, weights = [], [], []
    for draw in range(n):
        drawn = torch.rand(m, generator=randomness.generator(2, "b", f"0/{draw}")).numpy()
        z = np.ones(m) if draw == 0 else (drawn < 0.5).astype(float)
        hidden = x.copy()
        for place in itertools.product(*map(range, x.shape[1:])):
            if not z[segments[place]]:
                for c in range(2):
                    hidden[(c, *place)] = fill[c]
        cosine = z.sum() / math.sqrt(z.sum() * m) if z.sum() else 0.0
        weight = math.exp(-((1 - cosine) ** 2) / width**2)
        row = np.append(z, 1.0)
        normal += weight * np.outer(row, row)
        right += weight * row * f.one(hidden)
        rows.append(row)
        values.append(f.one(hidden))
        weights.append(weight)
    shares = np.array(weights) / sum(weights)
    columns = np.array(rows)[:, :m]
    centred = columns - shares @ columns
    normal[np.arange(m), np.arange(m)] += ridge * np.mean([sum(weights * column**2) for column in centred.T])
    solution = np.linalg.solve(normal, right)
    mean = np.average(values, weights=weights)
    left = sum(w * (v - row @ solution) ** 2 for w, v, row in zip(weights, values, rows, strict=True))
    r2 = 1 - left / sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
    found = exact(
        LIME(f, n_segments=6, n_samples=n, ridge=ridge, kernel_width=width), x, seed=2, case="b", batch_size=7
    )
    same(found.relevance[0], solution[segments], 1e-9)
    assert found.notes["r2"] == pytest.approx(r2, abs=1e-9)
    assert found.notes["n_segments_used"] == m


@pytest.mark.parametrize(("n", "p"), [(24, 12), (40, 3)])
def test_the_errors_of_a_surrogate_are_the_robust_ones_of_its_free_samples(n: int, p: int) -> None:
    """White's sandwich for weighted least squares, with n / (n - p - 1) for the coefficients fitted, term by term."""
    rng = np.random.default_rng(n)
    shown = (rng.random((n, p)) < 0.5).astype(float)
    weights, values = rng.uniform(0.2, 1, n), shown @ rng.normal(size=p) + rng.normal(size=n) * (1 + shown[:, 0])
    rows = np.column_stack([shown, np.ones(n)])
    bread = np.linalg.inv(sum(w * np.outer(row, row) for w, row in zip(weights, rows, strict=True)))
    solution = bread @ sum(w * row * value for w, row, value in zip(weights, rows, values, strict=True))
    meat = np.zeros((p + 1, p + 1))
    for w, row, value in zip(weights, rows, values, strict=True):
        meat += (w * (value - row @ solution)) ** 2 * np.outer(row, row)
    expected = np.sqrt(np.diag(bread @ meat @ bread) * n / (n - p - 1))[:p]
    found = fit_surrogate(*(torch.from_numpy(v) for v in (shown, values, weights)), ridge=0.0)
    np.testing.assert_allclose(found.effects, solution[:p], rtol=1e-9)
    np.testing.assert_allclose(found.standard_errors, expected, rtol=1e-9)
