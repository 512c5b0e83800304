"""LRP on other people's layers: conservation, gradient x input, gates, in-place calls, and what is refused."""

import pytest
import torch
from monai.networks.nets import AttentionUnet, DenseNet121, HighResNet, SegResNet, UNet, ViT
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import CapabilityError, InputError
from regard.explainers.gradient.input_x_gradient import InputXGradient
from regard.explainers.propagation.graph import refuse_unknown
from regard.explainers.propagation.lrp import LRP
from regard.testing.networks import TinyNetwork, example


def mean(output) -> Tensor:
    return (output[0] if isinstance(output, tuple) else output).flatten(1).mean(1)


class Residual(nn.Module):
    """Bias-free: a sum, pooling of both kinds, upsampling, a transposed convolution, a norm, an activation."""

    def __init__(self, n: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[n - 1]
        transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[n - 1]
        self.a, self.b = convolution(1, 4, 3, padding=1, bias=False), convolution(4, 4, 3, padding=1, bias=False)
        self.up = transposed(4, 3, 2, 2, bias=False)
        self.largest = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[n - 1](2)
        self.mean = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[n - 1](2)
        self.norm, self.head = nn.GroupNorm(2, 4, affine=False), nn.LazyLinear(1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.norm(self.a(x)))
        x = self.largest(x + functional.relu(self.b(x)))
        x = functional.interpolate(self.mean(self.up(x)), scale_factor=2)
        return self.head(torch.cat([x, 2 * x], 1).flatten(1))


@pytest.mark.parametrize("rule", ["epsilon", "0", "gamma"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_without_biases_everything_is_handed_on(n: int, rule: str) -> None:
    x = torch.randn(1, 1, *[8] * n, dtype=torch.float64)
    network = Residual(n).double()
    network(x)
    found = LRP(network, rule=rule, epsilon=0.0).compute(x)
    assert float(found.relevance[0].double().sum()) == pytest.approx(float(found.value), rel=1e-5)
    assert abs(found.notes["absorbed_share"]) < 1e-5
    assert float(found.relevance[0].std()) > 0


def test_what_biases_take_is_told() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()
    network[1].weight.data.fill_(1.0)
    network[1].bias.data.fill_(6.0)
    found = LRP(network).compute(torch.ones(1, 1, 4, dtype=torch.float64))
    assert found.relevance[0].flatten().tolist() == pytest.approx([1] * 4, rel=1e-5)
    assert found.notes["absorbed"] == pytest.approx(6, rel=1e-5)
    assert found.notes["absorbed_share"] == pytest.approx(0.6, rel=1e-5)


RELU_NETS = {
    "tiny": lambda: (TinyNetwork((8, 9), in_place=True), (8, 9)),
    "densenet": lambda: (DenseNet121(2, 1, 2), (32, 32)),
    "highres": lambda: (HighResNet(2, 1, 1, acti_type=("relu", {"inplace": True})), (16, 16)),
}


@pytest.mark.parametrize("name", RELU_NETS)
def test_the_zero_rule_is_gradient_times_input_on_networks_of_relus(name: str) -> None:
    network, size = RELU_NETS[name]()
    network, x = network.double().eval(), example(size)
    expected = InputXGradient(network).attribute(x, mean)
    torch.testing.assert_close(LRP(network, rule=0).attribute(x, mean), expected, rtol=1e-9, atol=0)


OTHERS = {
    "unet": lambda: (UNet(3, 1, 1, (4, 8), (2,), num_res_units=1), (8, 8, 8)),
    "segresnet": lambda: (SegResNet(2, 8, 1, 1), (16, 16)),
    "attention-unet": lambda: (AttentionUnet(2, 1, 1, (8, 16), (2,)), (16, 16)),
    "vit": lambda: (ViT(1, (16, 16), (8, 8), 12, 24, 2, 3, classification=True, spatial_dims=2), (16, 16)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_monai_keep_their_value_and_give_a_finite_map(name: str) -> None:
    torch.manual_seed(0)
    network, size = OTHERS[name]()
    network, x = network.eval(), torch.rand(1, 1, *size)
    with torch.no_grad():
        value = mean(network(x))
    found = LRP(network).compute(x, mean)
    torch.testing.assert_close(found.value, value)
    assert bool(torch.isfinite(found.relevance[0]).all())
    assert float(found.relevance[0].std()) > 0
    left = float(found.value) - float(found.relevance[0].double().sum())
    assert found.notes["absorbed"] == pytest.approx(left, abs=1e-5)


def test_a_signal_takes_all_of_its_gate() -> None:
    """x sigmoid(w . x), as squeeze-and-excitation and swish by hand do: x gets everything."""

    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            gate = torch.sigmoid(x.sum((2,), keepdim=True) + 1)
            return (x * gate.expand_as(x)).flatten(1).sum(1)

    x = torch.tensor([[[1.0, -2.0, 4.0]]], dtype=torch.float64)
    found = LRP(Gated(), epsilon=0.0).attribute(x)
    torch.testing.assert_close(found.double(), x * torch.sigmoid(x.sum() + 1), rtol=1e-6, atol=0)


def test_factors_of_a_product_get_half_each() -> None:
    a, b = torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 5.0)
    for function in (lambda s, t: s * t, lambda s, t: s.matmul(t), lambda s, t: torch.einsum("bij,bjk->bik", s, t)):
        found = LRP(lambda s, t, f=function: f(s, t).flatten(1).sum(1), epsilon=0.0).attribute((a, b))
        assert [float(m) for m in found] == [7.5, 7.5]


@pytest.mark.parametrize(
    "activation",
    [nn.SiLU(inplace=True), nn.Hardswish(inplace=True), nn.ELU(inplace=True), nn.ReLU6(inplace=True), nn.Hardtanh()],
    ids=lambda m: type(m).__name__,
)
def test_in_place_activations_pass_relevance_on_whole(activation: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5, bias=False), activation, nn.Linear(5, 1, bias=False)).double()
    x = torch.randn(1, 1, 6, dtype=torch.float64) * 3
    expected = network(x).detach()
    found = LRP(network, epsilon=0.0).compute(x)
    torch.testing.assert_close(found.value, expected[:, 0])
    assert float(found.relevance[0].double().sum()) == pytest.approx(float(expected), rel=1e-6)


class Calls(nn.Module):
    """A network that is one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x).flatten(1).sum(1)


PLACES = torch.rand(1, 4, 4, 2)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (
            lambda x: functional.grid_sample(x, PLACES, align_corners=False),
            "Grid",
        ),
        (torch.exp, "Exp"),
        (lambda x: x.log_softmax(-1), "LogSoftmax"),
        (lambda x: torch.fft.rfft(x).abs(), "Fft"),
        (lambda x: nn.GRU(4, 3)(x[:, 0])[0], "gru"),
        (lambda x: torch.cos(x), "Cos"),
        (lambda x: functional.conv2d(torch.ones(1, 1, 5, 5), x), "weights depend on the input"),
    ],
    ids=["grid_sample", "exp", "log_softmax", "fft", "gru", "cos", "dynamic"],
)
def test_what_has_no_rule_is_refused_by_name(function, named: str) -> None:
    with pytest.raises(CapabilityError, match=f"{named}.*; expected .*; choose integrated-gradients"):
        LRP(Calls(function)).attribute(torch.rand(1, 1, 4, 4))


def test_a_product_that_no_call_showed_is_refused() -> None:
    a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    refuse_unknown((a * b).sum(), 1)
    with pytest.raises(CapabilityError, match="1 products of two activations that lrp did not meet"):
        refuse_unknown((a * b).sum(), 0)


def test_scripted_parts_and_checkpointed_ones_are_refused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)))
    with pytest.raises(CapabilityError, match="a scripted part"):
        LRP(nn.Sequential(scripted)).attribute(torch.rand(1, 1, 4, 4))
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU())
    for reentrant in (False, True):
        run = Calls(lambda x, r=reentrant: torch.utils.checkpoint.checkpoint(inner, x, use_reentrant=r))
        with pytest.raises(CapabilityError, match="choose integrated-gradients"):
            LRP(run).attribute(torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize("knobs", [{"rule": "alpha"}, {"rule": 1}, {"epsilon": -1.0}, {"gamma": -0.5}])
def test_a_wrong_knob_is_one_sentence(knobs: dict) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(knobs))}=.*; expected .*"):
        LRP(TinyNetwork((8, 9)), **knobs)
