"""Images go where the network is: in every method and every verb, seen without an accelerator."""

import numpy as np
import pytest
import torch
from torch import nn

from regard.testing.two_devices import ACCELERATOR, DevicesApartError, two_devices


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
