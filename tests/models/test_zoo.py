"""The networks of the zoo, by name."""

import subprocess
import sys

import pytest
import torch

from regard.core.errors import InputError, ShapeError
from regard.models.zoo import ZOO
from regard.models.zoo.from_monai import resnet18, unet
from regard.models.zoo.sfcn import sfcn
from regard.models.zoo.small import small_regressor
from regard.models.zoo.unoise import UNoise, unoise_large, unoise_medium, unoise_small, unoise_utility


def test_the_list_loads_no_torch() -> None:
    code = (
        "import sys; from regard.models.zoo import ZOO; assert len(ZOO.names()) > 3; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ZOO.names())
def test_every_entry_has_a_line_and_builds(name: str) -> None:
    assert len(ZOO.entry(name)) == 3
    assert isinstance(ZOO.load(name)(), torch.nn.Module)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_sfcn_is_the_published_sequence_for_any_number_of_axes(axes: int) -> None:
    network = sfcn(axes, channels=2, outputs=5, widths=(3, 4, 6)).eval()
    x = torch.randn(2, 2, *[16] * axes)
    names = [n for n, _ in network.named_modules() if n.count(".") == 1]
    assert names == [
        *(f"feature_extractor.conv_{n}" for n in range(3)),
        "classifier.average_pool",
        "classifier.dropout",
        "classifier.conv_3",
    ]
    for n, block in enumerate(network.feature_extractor):
        kinds = [type(m).__name__ for m in block]
        assert kinds == [f"Conv{axes}d", f"BatchNorm{axes}d", *([f"MaxPool{axes}d"] if n < 2 else []), "ReLU"]
        assert block[0].kernel_size == ((3,) if n < 2 else (1,)) * axes
    features = network.feature_extractor(x)
    assert features.shape == (2, 6, *[4] * axes)
    head = network.classifier.conv_3
    expected = features.flatten(2).mean(2) @ head.weight.reshape(5, 6).T + head.bias
    assert torch.allclose(network(x), expected, atol=1e-6)


def test_sfcn_has_the_published_widths() -> None:
    network = sfcn(outputs=40)
    assert sum(p.numel() for p in network.parameters()) == sum(
        a * b * k + b + 2 * b
        for a, b, k in zip((1, 32, 64, 128, 256, 256), (32, 64, 128, 256, 256, 64), (27,) * 5 + (1,), strict=True)
    ) + (64 * 40 + 40)
    with pytest.raises(ShapeError, match="1, 2 or 3"):
        sfcn(4)
    with pytest.raises(ShapeError, match="two blocks"):
        sfcn(widths=(3,))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_small_regressors_heads(axes: int) -> None:
    x = torch.randn(2, 1, *[16] * axes)
    pooled = small_regressor(axes, widths=(2, 3)).eval()
    features = pooled.features(x)
    assert torch.allclose(pooled(x), pooled.head(features.flatten(2).mean(2)), atol=1e-6)
    flat = small_regressor(axes, widths=(2, 3), head="flatten", cells=4, outputs=2).eval()
    assert torch.allclose(flat(x), flat.head(flat.features(x).flatten(1)), atol=1e-6)
    assert not torch.allclose(flat(x), flat(x.flip(2)), atol=1e-6)
    with pytest.raises(InputError, match="pool or flatten"):
        small_regressor(head="mean")  # type: ignore[arg-type]


def test_networks_of_monai() -> None:
    assert resnet18(2, outputs=3).eval()(torch.randn(1, 1, 32, 32)).shape == (1, 3)
    network = unet(2, outputs=2, widths=(4, 8, 16)).eval()
    assert network(torch.randn(1, 1, 16, 16)).shape == (1, 2, 16, 16)


def test_u_noise_has_the_published_numbers_of_parameters() -> None:
    def n_parameters(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    counts = {build: n_parameters(build()) for build in (unoise_small, unoise_medium, unoise_large, unoise_utility)}
    assert list(counts.values())[:3] == [28_529, 130_577, 537_425]
    assert round(counts[unoise_utility] / 1e6) in (34, 35)
    assert n_parameters(UNoise(2, 3, 1, 16, 3)) == 130_577


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_u_noise_keeps_any_size(axes: int) -> None:
    torch.manual_seed(0)
    network = UNoise(axes, 2, 1, 4, 3).eval()
    x = torch.randn(1, 2, *(11, 9, 6)[:axes])
    assert network(x).shape == (1, 1, *x.shape[2:])
    whole = torch.randn(1, 2, *(12, 8, 8)[:axes])
    # Of a size that needs no padding, the edge is what the convolutions make of it.
    part = whole[(slice(None), slice(None), *[slice(0, n - 1) for n in whole.shape[2:]])]
    assert network(whole).shape == (1, 1, *whole.shape[2:])
    assert network(part).shape == (1, 1, *part.shape[2:])
    with pytest.raises(InputError, match="depth=0"):
        UNoise(axes, depth=0)
