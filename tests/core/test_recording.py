import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError, UnknownNameError
from regard.core.recording import find_layer, intact, layer_name, replaced_output
from regard.testing import TinyNetwork


class Counting(nn.Module):
    """A network whose buffer changes with each call, also in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.dropout(x).flatten(1).sum(1)


def test_buffers_modes_and_random_state_come_back_after_an_exception() -> None:
    network = Counting().train()
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), intact(network) as plain:
        assert not network.training
        plain(torch.ones(1, 1, 4))
        torch.rand(3)
        raise ZeroDivisionError
    assert network.training
    assert network.dropout.training
    assert network.calls.item() == 0
    assert torch.equal(state, torch.get_rng_state())


def test_works_inside_inference_mode() -> None:
    from regard import Gradient

    network = TinyNetwork((4, 4))
    with torch.inference_mode():
        found = Gradient(network).attribute(torch.rand(1, 1, 4, 4, dtype=torch.float64))
    assert float(found.abs().sum()) > 0


def test_wrappers_are_taken_off() -> None:
    network = TinyNetwork((4, 4))
    assert recording.unwrap(torch.compile(nn.DataParallel(network))) is network


def test_what_a_network_can_do() -> None:
    network = TinyNetwork((4, 4)).eval()
    assert recording.capabilities(network) == {"gradient", "layers"}
    assert recording.capabilities(torch.compile(network)) == {"gradient", "layers"}
    assert recording.capabilities(torch.jit.trace(network, torch.rand(1, 1, 4, 4, dtype=torch.float64))) == {"gradient"}
    assert recording.capabilities(lambda x: x) == {"gradient"}


def resnet() -> nn.Module:
    import monai

    return monai.networks.nets.ResNet(
        "basic", [1, 1, 1, 1], [4, 8, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=1
    ).eval()


def test_the_automatic_layer_is_the_last_with_places() -> None:
    network, x = resnet(), torch.rand(1, 1, 64, 64)
    assert layer_name(network, find_layer(network, None, lambda: network(x))) == "layer4"


def test_the_automatic_layer_of_an_image_network_is_the_deepest() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 3, 3, 2, 1), nn.Upsample(scale_factor=4), nn.Conv2d(3, 1, 1)
    )
    assert layer_name(network, find_layer(network, None, lambda: network(torch.rand(1, 1, 16, 16)))) == "1"


def test_a_layer_by_name_by_module_and_misspelt() -> None:
    network = TinyNetwork((4, 4))
    assert find_layer(network, "second", lambda: None) is network.second
    assert find_layer(network, network.second, lambda: None) is network.second
    with pytest.raises(UnknownNameError, match="did you mean second"):
        find_layer(network, "secnd", lambda: None)
    with pytest.raises(UnknownNameError, match="inside the network"):
        find_layer(network, nn.ReLU(), lambda: None)
    with pytest.raises(CapabilityError, match="no layers"):
        find_layer(lambda x: x, "second", lambda: None)
    with pytest.raises(CapabilityError, match="more than one place"):
        find_layer(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), None, lambda: torch.ones(1, 1))


def test_a_layer_that_runs_twice_or_returns_no_tensor_is_refused() -> None:
    relu = nn.ReLU()
    network = nn.Sequential(relu, relu)
    with pytest.raises(CapabilityError, match="more than once"), replaced_output(relu, lambda t: t):
        network(torch.ones(1, 1, 4))
    pair = nn.LSTM(2, 2)
    with pytest.raises(CapabilityError, match="returns tuple"), replaced_output(pair, lambda t: t):
        pair(torch.ones(1, 1, 2))
    assert not relu._forward_hooks


@pytest.mark.parametrize("name", ["gradient", "integrated-gradients", "grad-ram", "smoothgrad"])
def test_a_network_that_cuts_its_gradient_is_an_error_not_a_map_of_zeros(name: str) -> None:
    from regard.explainers import METHODS

    class Detached(TinyNetwork):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    with pytest.raises(CapabilityError, match="no gradient ties to"):
        METHODS.load(name)(Detached((4, 4))).attribute(torch.rand(1, 1, 4, 4, dtype=torch.float64))
