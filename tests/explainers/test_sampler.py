"""Conditional invertible network and autoencoder: exact determinants, inverses, a known conditional Gaussian."""

import math

import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import ShapeError
from regard.explainers.generative.conditional_inn import (
    ActNorm,
    AffineCoupling,
    ConditionalINN,
    ConditionEmbedder,
    InvertibleLeakyReLU,
    Permutation,
)
from regard.explainers.generative.conditional_vae import ConditionalVAE, vae_loss
from regard.explainers.generative.jacobian import principal_angles


def act_norm() -> ActNorm:
    layer = ActNorm(7)
    nn.init.normal_(layer.log_scale)
    nn.init.normal_(layer.shift)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        act_norm(),
        InvertibleLeakyReLU(0.9),
        AffineCoupling(7, 3, 16),
        AffineCoupling(7, 3, 16, swap=True),
        Permutation(7, 0),
        ConditionalINN(7, 3, 3, 16),
    ],
    ids=lambda m: type(m).__name__,
)
def test_the_log_determinant_is_that_of_the_jacobian(layer: nn.Module) -> None:
    layer = layer.double().eval()
    z = torch.randn(4, 7, dtype=torch.float64)
    condition = torch.randn(4, 3, dtype=torch.float64)
    v, counted = layer(z, condition)
    for k in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, k=k: layer(one, condition[k : k + 1])[0][0], z[k : k + 1]
        )
        exact = torch.linalg.slogdet(jacobian[:, 0])[1]
        assert float(counted[k]) == pytest.approx(float(exact), abs=1e-10)
    assert torch.allclose(layer.inverse(v, condition), z, atol=1e-10)


def test_the_published_objective_leaves_the_leaky_relu_out() -> None:
    z = -torch.rand(2, 5)
    assert torch.equal(InvertibleLeakyReLU(0.9, published=True)(z)[1], torch.zeros(2))
    assert torch.allclose(InvertibleLeakyReLU(0.9)(z)[1], torch.full((2,), 5 * math.log(0.9)))
    torch.manual_seed(0)
    exact, published = ConditionalINN(6, 2, 2, 8), ConditionalINN(6, 2, 2, 8, published=True)
    published.load_state_dict(exact.state_dict())
    z, c = torch.randn(3, 6), torch.randn(3, 2)
    assert torch.equal(exact.eval()(z, c)[0], published.eval()(z, c)[0])
    assert not torch.allclose(exact(z, c)[1], published(z, c)[1])


def test_actnorm_starts_from_its_first_batch() -> None:
    layer = ActNorm(3).train()
    x = 5 + 3 * torch.randn(200, 3, 4, 4)
    found, counted = layer(x)
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.transpose(0, 1).flatten(1).std(1), torch.ones(3), atol=1e-4)
    assert float(counted[0]) == pytest.approx(16 * float(layer.log_scale.sum()), rel=1e-5)
    before = layer.shift.clone()
    layer(x + 9)
    assert torch.equal(layer.shift, before)


def test_sizes_of_the_published_network() -> None:
    """12 blocks on 256 numbers: couplings of 384 to 1024 three times to 128, for s and for t."""
    network = ConditionalINN()
    mlp = (384 * 1024 + 1024) + 2 * (1024 * 1024 + 1024) + (1024 * 128 + 128)
    assert sum(p.numel() for p in network.parameters()) == 12 * (2 * 256 + 2 * 2 * mlp)
    embedder = ConditionEmbedder(128)
    convolutions = sum(a * b * 16 + b for a, b in ((1, 64), (64, 128), (128, 256), (256, 512)))
    expected = convolutions + 2 * (64 + 128 + 256 + 512) + 512 * 256 * 64 + 256
    assert sum(p.numel() for p in embedder.parameters()) == expected
    assert embedder(torch.randn(2, 1, 128, 128)).shape == (2, 256)


@pytest.mark.slow
def test_the_invertible_network_learns_a_known_conditional_gaussian() -> None:
    """c ~ N(0, I) of 8 coefficients, y = A c + noise: mean, eigenvalues, principal angles and leakage."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    matrix = torch.linalg.qr(torch.randn(8, 3, generator=generator))[0].T
    deviation = 0.3
    network = ConditionalINN(8, 3, 4, 48, 1).train()
    n_steps = 1500
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    for _ in range(n_steps):
        c = torch.randn(256, 8, generator=generator)
        y = c @ matrix.T + deviation * torch.randn(256, 3, generator=generator)
        optimiser.zero_grad()
        network.loss(c, y).backward()
        optimiser.step()
        schedule.step()
    network.eval()
    y = torch.tensor([[0.8, -0.5, 0.3]])
    precision = torch.eye(8) + matrix.T @ matrix / deviation**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ matrix.T @ y[0] / deviation**2
    with torch.no_grad():
        found = network.inverse(torch.randn(4000, 8, generator=generator), y.expand(4000, 3))
    assert float((found.mean(0) - mean).norm()) < 0.15
    values, vectors = torch.linalg.eigh(torch.cov(found.T))
    exact, _ = torch.linalg.eigh(covariance)
    # Three directions that y fixes (variance 0.083), five that it leaves (1).
    assert torch.allclose(values[:3], exact[:3], rtol=0.35)
    assert torch.allclose(values[3:], exact[3:], rtol=0.2)
    assert float(principal_angles(vectors[:, :3].T, matrix).max()) < 0.15
    reference = mean
    leakage = ((found - reference) @ matrix.T).norm(dim=1) / (found - reference).norm(dim=1)
    draws = reference + torch.randn(4000, 8, generator=generator) @ torch.linalg.cholesky(covariance).T
    ideal = ((draws - reference) @ matrix.T).norm(dim=1) / (draws - reference).norm(dim=1)
    assert float(leakage.median()) == pytest.approx(float(ideal.median()), rel=0.25)


def test_the_autoencoder_keeps_shapes_and_uses_both_inputs() -> None:
    torch.manual_seed(0)
    vae = ConditionalVAE(16, 12, (8, 6), 4)
    x, y = torch.randn(2, 3, 1, 16, 16)
    mean, log_variance = vae.encode(x, y)
    assert mean.shape == log_variance.shape == (3, 12)
    assert vae.decode(mean, y).shape == x.shape
    vae.eval()
    z = torch.randn(1, 12, requires_grad=True)
    (slope,) = torch.autograd.grad(vae.decode(z, y[:1]).square().sum(), z)
    assert bool((slope != 0).all())
    assert not torch.allclose(vae.decode(z, y[:1]), vae.decode(z, y[1:2]))
    with pytest.raises(ShapeError, match="20 pixels"):
        ConditionalVAE(20, 12, (8, 6), 4)


def test_the_loss_of_the_autoencoder_is_its_formula() -> None:
    torch.manual_seed(0)
    vae = ConditionalVAE(16, 12, (8, 6), 4).eval()
    x, y = torch.randn(2, 3, 1, 16, 16)
    noise = torch.randn(3, 12)
    mean, log_variance = vae.encode(x, y)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)

    def error(draw: Tensor) -> Tensor:
        return (vae.decode(draw, y) - x).abs().sum((1, 2, 3))

    expected = (error(mean + noise * posterior.scale) + 0.5 * divergence).mean()
    assert float(vae_loss(vae, x, y, noise, weight_kl=0.5)) == pytest.approx(float(expected), rel=1e-5)
