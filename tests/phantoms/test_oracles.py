"""Networks set by hand: their closed forms against autograd and against the methods."""

import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import ShapeError
from regard.explainers.cam.grad_ramp import GradRAMP
from regard.explainers.gradient.gradient import Gradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.explainers.perturbation.occlusion import Occlusion
from regard.phantoms.oracles import BilinearOracle, LinearOracle, PooledOracle, region_mean


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(9,), (6, 7), (4, 5, 6)])
def test_gradients_are_those_of_autograd(shape: tuple[int, ...]) -> None:
    weights = [image(*shape, seed=n)[0] for n in (1, 2)]
    x = image(*shape)
    for oracle in (LinearOracle(weights[0], 2.0), BilinearOracle(*weights), PooledOracle(0.2)):
        leaf = x.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(oracle(leaf).sum(), leaf)
        assert torch.allclose(oracle.gradient(x), wanted, atol=1e-6)
        assert torch.allclose(Gradient(oracle).attribute(x), wanted, atol=1e-6)


def test_contributions_are_integrated_gradients() -> None:
    x, reference = image(6, 7), image(6, 7, seed=5)
    for oracle in (
        LinearOracle(image(6, 7, seed=1)[0]),
        BilinearOracle(image(6, 7, seed=1)[0], image(6, 7, seed=2)[0]),
    ):
        known = oracle.contribution(x, reference)
        assert float(known.sum()) == pytest.approx(float(oracle(x) - oracle(reference)), rel=1e-4)
        found = IntegratedGradients(oracle).attribute(x, reference=reference)
        assert torch.allclose(found, known, atol=1e-4)


def test_occlusion_sums_what_the_window_holds() -> None:
    oracle, x = LinearOracle(image(6, 6, seed=1)[0]), image(6, 6)
    found = Occlusion(oracle, window=2, stride=2).attribute(x, reference=torch.zeros_like(x))
    whole = oracle.contribution(x, torch.zeros_like(x))[0, 0]
    blocks = whole.reshape(3, 2, 3, 2).sum((1, 3))
    each = found[0, 0].reshape(3, 2, 3, 2)
    assert torch.allclose(each, each[:, :1, :, :1].expand_as(each))
    ratio = each[:, 0, :, 0] / blocks
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-4)


def test_pooled_oracle_is_its_own_map() -> None:
    oracle, x = PooledOracle(0.2), image(6, 6)
    assert float(oracle.contribution(x).sum()) == pytest.approx(float(oracle(x)), rel=1e-5)
    found = GradRAMP(oracle, layer="features").attribute(x)
    assert torch.allclose(found, oracle.contribution(x), atol=1e-6)


def test_region_mean_reads_a_signal_under_a_suppressor() -> None:
    inside, beside = torch.zeros(4, 4), torch.zeros(4, 4)
    inside[:2, :2], beside[3] = 1, 1
    oracle = region_mean(inside, beside)
    assert isinstance(oracle, nn.Module)
    x = (0.7 * inside + 5.0 * (inside + beside))[None, None]
    assert float(oracle(x)) == pytest.approx(0.7, abs=1e-5)
    with pytest.raises(ShapeError, match="1, 1, 5, 5.*batch.*1, 4, 4"):
        oracle(torch.zeros(1, 1, 5, 5))
