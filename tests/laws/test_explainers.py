"""Every registered method keeps every law that it promises."""

import pytest
import torch

from regard.core.quantity import Promise
from regard.explainers import METHODS
from regard.testing import LAWS, check, promised_laws
from regard.testing.networks import tiny_network_for
from regard.testing.two_devices import ACCELERATOR, two_devices

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


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_works_where_its_network_is(name: str) -> None:
    method, knobs = METHODS.load(name), QUICK.get(name, {})
    network, x = tiny_network_for(method)((8, 9)), torch.rand(2, 1, 8, 9, dtype=torch.float64)
    at_home = method(network, **knobs).attribute(x, seed=1)
    with two_devices() as devices:
        network.to(ACCELERATOR)
        made = method(network, **knobs).attribute(x.to(ACCELERATOR), seed=1)
        assert made.device == ACCELERATOR
        assert devices.n_there > 10
        torch.testing.assert_close(made.cpu(), at_home, rtol=1e-6, atol=1e-9)
        # An image that stayed behind is fetched, and its map brought back.
        left = method(network, **knobs).attribute(torch.rand(2, 1, 8, 9, dtype=torch.float64), seed=1)
        assert left.device != ACCELERATOR
