"""Images go where the network is: in every method and every verb, seen without an accelerator."""

import numpy as np
import pytest
import torch
from torch import nn

from regard.explainers import METHODS
from regard.testing.networks import tiny_network_for
from regard.testing.two_devices import ACCELERATOR, DevicesApartError, two_devices

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


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()


def test_the_recorder_sees_an_image_left_behind() -> None:
    with two_devices() as devices:
        network = small().to(ACCELERATOR)
        image = torch.rand(1, 1, 8, 8)
        assert image.device != ACCELERATOR
        assert next(network.parameters()).device == ACCELERATOR
        with pytest.raises(DevicesApartError, match="conv2d"):
            network(image)
        output = network(image.to(next(network.parameters()).device))
        assert output.device == ACCELERATOR
        with pytest.raises(DevicesApartError, match="numpy"):
            output.detach().numpy()
        assert output.detach().cpu().numpy().shape == (1, 2)
        with pytest.raises(DevicesApartError):
            output + torch.from_numpy(np.ones((1, 2), np.float32))
        assert devices.n_there > 0


def test_the_recorder_sees_a_network_left_behind() -> None:
    with two_devices():
        network = small()
        with pytest.raises(DevicesApartError):
            network(torch.rand(1, 1, 8, 8, device=ACCELERATOR))


def test_what_a_real_accelerator_takes_passes() -> None:
    with two_devices():
        network, image = small().to(ACCELERATOR), torch.rand(1, 1, 8, 8).to(ACCELERATOR).requires_grad_()
        value = network(image)[0, 0]
        (gradient,) = torch.autograd.grad(value, [image])
        assert gradient.device == ACCELERATOR
        assert (value * torch.tensor(2.0)).device == ACCELERATOR
        assert image[0, 0, torch.tensor([1, 2])].device == ACCELERATOR
        optimiser = torch.optim.AdamW(network.parameters())
        network(image).sum().backward()
        optimiser.step()
        network.load_state_dict(small().state_dict())
        assert next(network.parameters()).device == ACCELERATOR
        network(image)
        assert torch.zeros_like(image).device == ACCELERATOR
        assert image.new_zeros(3).device == ACCELERATOR


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
