"""Structural similarity against its definition as loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from regard.core.errors import InputError, ShapeError
from regard.training.similarity_loss import SCALES, l1_penalty, ms_ssim, similarity_and_error


def literal(x: np.ndarray, y: np.ndarray, n_scales: int) -> float:
    """Every window by hand, in float64."""
    places = np.arange(11) - 5
    line = np.exp(-(places**2) / (2 * 1.5**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    weights = np.array(SCALES[:n_scales])
    if n_scales < 5:
        weights = weights / weights.sum()
    total = 1.0
    for n in range(n_scales):
        whole, structure = [], []
        for i in range(x.shape[0] - 10):
            for j in range(x.shape[1] - 10):
                a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                ma, mb = (kernel * a).sum(), (kernel * b).sum()
                va, vb = (kernel * a * a).sum() - ma**2, (kernel * b * b).sum() - mb**2
                cov = (kernel * a * b).sum() - ma * mb
                structure.append((2 * cov + 0.03**2) / (va + vb + 0.03**2))
                whole.append(structure[-1] * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2))
        total *= np.mean(whole if n == n_scales - 1 else structure) ** weights[n]
        x, y = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean((1, 3)) for v in (x, y))
    return float(total)


@pytest.mark.parametrize("n_scales", [1, 2])
def test_it_equals_loops_over_all_windows(n_scales: int) -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(1, 1, 32, 28, generator=draw)
    y = (0.7 * x + 0.3 * torch.rand(x.shape, generator=draw)).clamp(0, 1)
    expected = literal(x[0, 0].double().numpy(), y[0, 0].double().numpy(), n_scales)
    assert float(ms_ssim(x, y, n_scales=n_scales)[0]) == pytest.approx(expected, abs=1e-5)


def test_equal_images_are_alike_and_the_loss_has_a_gradient() -> None:
    x = torch.rand(2, 1, 176, 176)
    assert torch.allclose(ms_ssim(x, x), torch.ones(2), atol=1e-5)
    assert float(similarity_and_error(x, x)) == pytest.approx(0, abs=1e-5)
    y = torch.rand_like(x).requires_grad_()
    loss = similarity_and_error(y, x)
    loss.backward()
    assert bool(torch.isfinite(y.grad).all()) and float(y.grad.abs().max()) > 0
    expected = 0.84 * (1 - ms_ssim(y, x).mean()) + 0.16 * (y - x).abs().mean()
    assert math.isclose(float(loss.detach()), float(expected.detach()), abs_tol=1e-6)


def test_mixed_precision_does_not_change_it() -> None:
    x, noise = 0.5 + 0.02 * torch.rand(1, 1, 176, 176), 0.002 * torch.randn(1, 1, 176, 176)
    alone = ms_ssim(x, x + noise)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ms_ssim(x, x + noise), alone)
        assert bool(torch.isfinite(similarity_and_error(x.bfloat16(), x)))


def test_five_scales_need_176_voxels() -> None:
    with pytest.raises(ShapeError, match="at least 176 along every axis for 5 scales"):
        ms_ssim(torch.rand(1, 1, 160, 160), torch.rand(1, 1, 160, 160))
    with pytest.raises(InputError, match="1 to 5"):
        ms_ssim(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16), n_scales=6)


def test_the_penalty_is_the_sum_of_the_weights_sizes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3))
    expected = 1e-9 * (network[0].weight.abs().sum() + network[2].weight.abs().sum())
    assert float(l1_penalty(network).detach()) == pytest.approx(float(expected.detach()))
