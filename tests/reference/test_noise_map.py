"""Noise maps again: the loss and its minimum as literal loops in float64, on tiny 2D and 3D networks."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from regard.core import randomness
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.explainers.learned.atlas import atlas_share
from regard.explainers.learned.noise_map import NoiseMap
from regard.explainers.learned.optimise import Noised
from regard.models.zoo.unoise import UNoise
from regard.training.noising import NoiseSettings

SIZES = [(4, 5), (3, 2, 4)]


class Curved(nn.Module):
    """A linear and a quadratic part, so that E (f(x + noise) - f(x))^2 has a closed form."""

    def __init__(self, n: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.a, self.h = rng.normal(size=n), 0.3 * rng.normal(size=n)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1).double()
        return (flat @ torch.from_numpy(self.a) + flat.square() @ torch.from_numpy(self.h))[:, None]


def expected_loss(network: Curved, x: np.ndarray, sigma: np.ndarray) -> float:
    """E (sum_i (a_i + 2 h_i x_i) s_i e_i + h_i s_i^2 e_i^2)^2 for independent standard normal e_i, term by term."""
    mean = variance = 0.0
    for a, h, value, s in zip(network.a, network.h, x, sigma, strict=True):
        slope = (a + 2 * h * value) * s
        mean += h * s**2
        # The slope's part and the square's are uncorrelated, and e^2 has variance 2.
        variance += slope**2 + 2 * h**2 * s**4
    return mean**2 + variance


@pytest.mark.parametrize("size", SIZES, ids=["2d", "3d"])
def test_the_minimum_of_the_literal_loss(size: tuple[int, ...]) -> None:
    n, s_min, s_max, weight = math.prod(size), 0.1, 1.5, 0.3
    network, x = Curved(n), np.random.default_rng(1).normal(size=n)

    def loss(logs: np.ndarray) -> float:
        noise = np.exp(logs)
        total = expected_loss(network, x, s_min + noise * (s_max - s_min))
        for log in logs:
            total -= weight * log / n
        return total

    best = minimize(loss, np.full(n, -2.0), bounds=[(-8, 0)] * n, method="L-BFGS-B", options={"ftol": 1e-14}).x
    explainer = NoiseMap(
        network, strength=weight, spread=1.0, s_min=s_min, s_max=s_max, unit="input", foreground="all",
        n_steps=400, n_draws=24, learning_rate=0.1,
    )  # fmt: skip
    found = 1 - explainer.attribute(torch.from_numpy(x).reshape(1, 1, *size)).double().flatten().numpy()
    assert np.std(np.exp(best)) > 0.05, "the case must have a map"
    np.testing.assert_allclose(found, np.exp(best), atol=0.04)
    # What is found costs what the minimum costs.
    assert loss(np.log(found)) < loss(best) + 0.01 * abs(loss(best)) + 1e-3


@pytest.mark.parametrize("size", SIZES, ids=["2d", "3d"])
@pytest.mark.parametrize("family", ["gaussian", "correlated", "blur", "local-mean"])
def test_the_noise_draw_by_draw(family: str, size: tuple[int, ...]) -> None:
    x = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = NoiseSettings(family=family, s_min=0.1, s_max=0.9, scales=(0.7, 1.4), foreground="all")
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * math.prod(size), 1, dtype=torch.float64))
    noised = Noised(Query(network, Inputs.of(x), seed=5, case="c"), settings)
    noise = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = noised.changes([noise], "check", 3).numpy()
    image, b = x[0].numpy(), noise[0, 0].numpy()
    expected = []
    for draw in range(3):
        scale = settings.scales[draw % 2]
        added = np.zeros_like(image)
        if family in ("gaussian", "correlated"):
            white = randomness.normal(x, 5, "c", f"0/check/{draw}")[0].numpy()
            for c in range(2):
                smooth = white[c] if family == "gaussian" else unit_blur(white[c], scale)
                added[c] = image[c].std() * smooth
        else:
            near = 2 * max(1, round(scale)) + 1
            cells = tuple(-(-n // near) for n in size)
            grid = randomness.uniform((1, 1, *cells), 5, "c", f"0/check/{draw}")
            mode = "bilinear" if len(size) == 2 else "trilinear"
            share = nn.functional.interpolate(grid, size=size, mode=mode)[0, 0].double().numpy()
            for c in range(2):
                filler = plain_blur(image[c], scale) if family == "blur" else local_mean(image[c], near // 2)
                added[c] = share * (filler - image[c])
        noisy = image.copy()
        for place in itertools.product(*map(range, size)):
            for c in range(2):
                noisy[(c, *place)] += (0.1 + b[place] * 0.8) * added[(c, *place)]
        change = network(torch.from_numpy(noisy)[None]) - network(x)
        expected.append(change.item())
    np.testing.assert_allclose(found, expected, atol=1e-6)


def line(n: int, scale: float) -> np.ndarray:
    """Weights of a Gaussian blur along a line of n places, edges repeated."""
    radius = max(1, math.ceil(4 * scale))
    weights = np.zeros((n, n))
    for i in range(n):
        for offset in range(-radius, radius + 1):
            weights[i, min(max(i + offset, 0), n - 1)] += math.exp(-(offset**2) / (2 * scale**2))
    return weights / weights.sum(1, keepdims=True)


def along_each(image: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    for axis, matrix in enumerate(weights):
        image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
    return image


def plain_blur(image: np.ndarray, scale: float) -> np.ndarray:
    return along_each(image, [line(n, scale) for n in image.shape])


def unit_blur(image: np.ndarray, scale: float) -> np.ndarray:
    lines = [line(n, scale) for n in image.shape]
    return along_each(image, [m / np.sqrt((m**2).sum(1, keepdims=True)) for m in lines])


def local_mean(image: np.ndarray, half: int) -> np.ndarray:
    found = np.zeros_like(image)
    for place in itertools.product(*map(range, image.shape)):
        near = tuple(slice(max(0, p - half), p + half + 1) for p in place)
        found[place] = image[near].mean()
    return found


def test_the_u_net_level_by_level() -> None:
    """Down, up, joined and out, written out with functions for two levels."""
    torch.manual_seed(0)
    network = UNoise(2, 3, 1, 4, 2).double().eval()
    x = torch.randn(1, 3, 6, 8, dtype=torch.float64)
    state = network.state_dict()

    def step(v: Tensor, name: str, n: int) -> Tensor:
        v = nn.functional.conv2d(v, state[f"{name}.{n}.weight"], state[f"{name}.{n}.bias"], padding=1)
        norm = {k: state[f"{name}.{n + 1}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")}
        return nn.functional.batch_norm(v, **norm).relu()

    top = step(step(x, "down.0", 0), "down.0", 3)
    bottom = step(step(nn.functional.max_pool2d(top, 2), "down.1", 0), "down.1", 3)
    doubled = bottom.repeat_interleave(2, 2).repeat_interleave(2, 3)
    joined = step(step(torch.cat([top, step(doubled, "up.0", 1)], 1), "join.0", 0), "join.0", 3)
    expected = nn.functional.conv2d(joined, state["last.weight"], state["last.bias"])
    torch.testing.assert_close(network(x), expected)


def test_atlas_share_by_sums() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 3, 4)) + np.random.default_rng(1).normal(size=(3, 4))
    centred = [m - m.mean() for m in maps]
    mean = sum(centred) / 5
    within = sum(((m - mean) ** 2).sum() for m in centred) / (4 * 12)
    common = (mean**2).sum() / 12 - within / 5
    assert atlas_share(maps) == pytest.approx(common / (common + within))
