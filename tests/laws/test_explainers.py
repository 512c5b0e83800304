"""Every registered method keeps every law that it promises."""

import pytest
import torch

from regard.core.quantity import Promise
from regard.explainers import METHODS
from regard.testing import LAWS, check, promised_laws
from regard.testing.networks import tiny_network_for

QUICK = {
    "integrated-gradients": {"n_steps": 8},
    "expected-gradients": {"n_samples": 16},
    "smoothgrad": {"n_samples": 16},
    "lam": {"n_steps": 6},
    "occlusion": {"window": 3},
    "rise": {"n_masks": 64},
    "lime": {"n_segments": 6, "n_samples": 48},
    "noise-map": {"n_steps": 8},
    "shapley-exact": {"n_parts": 4},
    "kernel-shap": {"n_parts": 6, "n_samples": 60},
    "shapley": {"n_samples": 4, "n_segments": 6},
}
PAIRS = [(name, law) for name in METHODS for law in promised_laws(METHODS.load(name))]


@pytest.mark.parametrize(("name", "law"), PAIRS, ids=["-".join(p).replace(" ", "-") for p in PAIRS])
def test_law(name: str, law: str) -> None:
    check(law, METHODS.load(name), QUICK.get(name))


@pytest.mark.parametrize("name", list(METHODS))
def test_table_tells_the_truth(name: str) -> None:
    assert METHODS.entry(name)[2] == METHODS.load(name).quantity.value


@pytest.mark.parametrize("name", list(METHODS))
def test_promises_not_made_have_a_reason(name: str) -> None:
    for promise, reason in METHODS.load(name).breaks.items():
        assert promise in Promise
        assert promise in LAWS
        assert len(reason) > 10


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", list(METHODS))
def test_cuda_gives_what_the_cpu_gives(name: str) -> None:
    network, x = tiny_network_for(METHODS.load(name))((8, 9)), torch.rand(2, 1, 8, 9, dtype=torch.float64)
    knobs = QUICK.get(name, {})
    on_cpu = METHODS.load(name)(network, **knobs).attribute(x, seed=1)
    on_cuda = METHODS.load(name)(network.cuda(), **knobs).attribute(x.cuda(), seed=1)
    assert on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-4, atol=1e-6)
