"""The networks of rib suppression and of tuberculosis, layer by layer."""

import pytest
import torch
from torch import nn

from regard.core.errors import InputError
from regard.models.zoo import ZOO
from regard.models.zoo.bone_suppression import ae_bs, convnet_bs, resnet_bs, rl_bs
from regard.models.zoo.vgg import vgg16


@pytest.mark.parametrize(
    ("name", "n"), [("ae-bs", 128_961), ("convnet-bs", 1_577_089), ("rl-bs", 1_578_177), ("resnet-bs", 1_219_841)]
)
def test_parameters_are_as_many_as_published(name: str, n: int) -> None:
    assert sum(p.numel() for p in ZOO.load(name)().parameters()) == n


@pytest.mark.parametrize("build", [ae_bs, convnet_bs, rl_bs, resnet_bs])
def test_an_image_gives_an_image_of_its_size(build) -> None:
    small = (
        {"widths": (2, 3, 4, 3, 2)} if build is ae_bs else {} if build is not resnet_bs else {"width": 4, "blocks": 2}
    )
    network = build(**small).eval()
    x = torch.rand(2, 1, 16, 12)
    y = network(x)
    assert y.shape == x.shape
    if build in (ae_bs, convnet_bs):
        assert float(y.min()) > 0 and float(y.max()) < 1


def test_the_fourth_layer_of_rl_bs_is_dilated_and_the_input_is_added() -> None:
    network = rl_bs(widths=(2, 2, 2, 2, 2, 2, 2)).eval()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.dilation[0] for m in convolutions] == [1, 1, 1, 2, 1, 1, 1, 1]
    for p in network.parameters():
        p.data.zero_()
    x = torch.rand(1, 1, 8, 8)
    assert torch.equal(network(x), x)


def test_blocks_of_resnet_bs_are_scaled_and_the_first_convolution_is_added() -> None:
    network = resnet_bs(width=3, blocks=2).double().eval()
    x = torch.rand(1, 1, 9, 9, dtype=torch.float64)
    first = network.first(x)
    h = first
    for block in network.blocks:
        h = h + 0.1 * block.main[2](torch.relu(block.main[0](h)))
    torch.testing.assert_close(network(x), network.last(network.after(h) + first))


def test_vgg16_has_the_published_convolutions_and_torchvisions_names() -> None:
    network = vgg16()
    convolutions = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(convolutions) == [f"features.{n}" for n in numbers]
    assert [m.out_channels for m in convolutions.values()] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert sum(p.numel() for p in network.features.parameters()) == 14_714_688
    x = torch.rand(2, 3, 32, 32)
    pooled = network.eval().pooled(x)
    assert pooled.shape == (2, 512)
    torch.testing.assert_close(network(x), network.classifier(network.features(x).mean((2, 3))))


def test_vgg16_takes_the_convolutions_of_a_state_dictionary() -> None:
    other, network = vgg16(width=4), vgg16(width=4)
    state = {**other.state_dict(), "classifier.0.weight": torch.zeros(3)}
    assert len(network.load_convolutions(state)) == 26
    assert all(
        torch.equal(a, b) for a, b in zip(network.features.parameters(), other.features.parameters(), strict=True)
    )
    with pytest.raises(InputError, match=r"features.0.weight of shape .*expected \(8, 3, 3, 3\)"):
        vgg16(width=8).load_convolutions(state)
    with pytest.raises(InputError, match="torchvision's names"):
        network.load_convolutions({})
