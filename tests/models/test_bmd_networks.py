"""The networks of the bone density study: sizes, layers, padding, cards."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from regard.core.errors import InputError, ShapeError
from regard.core.target import Output
from regard.explainers.perturbation.occlusion import Occlusion
from regard.models import load_model
from regard.models.zoo import ZOO
from regard.models.zoo.same_padding import halved, same_conv


def test_parameters_of_the_published_network() -> None:
    """Kang 2023: 1,614,273 trainable values, 1,616,801 with the statistics of batch norm."""
    network = ZOO.load("bmd-resnet22")()
    trainable = sum(p.numel() for p in network.parameters())
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert (trainable, trainable + statistics) == (1_614_273, 1_616_801)


def test_stages_of_the_published_network() -> None:
    network = ZOO.load("bmd-resnet22")().eval()
    seen: dict[str, tuple[int, ...]] = {}
    wanted = {"stem", "stages.0", "stages.1", "stages.2", "stages.3", "head.conv"}
    for name, module in network.named_modules():
        if name in wanted:
            module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, tuple(o.shape[1:])))
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 256, 256)).shape == (2, 1)
    assert seen == {
        "stem": (16, 128, 128),
        "stages.0": (16, 64, 64),
        "stages.1": (32, 32, 32),
        "stages.2": (64, 16, 16),
        "stages.3": (128, 8, 8),
        "head.conv": (16, 8, 8),
    }
    assert network.head.dense.in_features == 1024


def test_the_hooked_layer_has_both_signs() -> None:
    network = ZOO.load("bmd-resnet22")((64, 64)).eval()
    found = []
    network.head.conv.register_forward_hook(lambda m, i, o: found.append(o.detach()))
    network(torch.rand(1, 1, 64, 64))
    assert float(found[0].min()) < 0 < float(found[0].max())


@pytest.mark.parametrize("shape", [(64,), (96, 64), (50, 34), (32, 32, 16)])
def test_any_number_of_axes_and_size(shape: tuple[int, ...]) -> None:
    network = ZOO.load("bmd-resnet22")(shape).eval()
    assert network(torch.rand(2, 1, *shape)).shape == (2, 1)
    with pytest.raises(ShapeError):
        ZOO.load("bmd-resnet22")((8, 8, 8, 8))


@pytest.mark.parametrize(("n", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 3, 1), (8, 1, 2), (9, 1, 2)])
def test_padding_is_keras_same(n: int, kernel: int, stride: int) -> None:
    """Cell i of Keras' "same" sees the voxels from i * stride - floor(padding / 2) on, literally."""
    made = same_conv((n,), 1, 1, kernel, stride)
    x = torch.randn(1, 1, n)
    cells = -(-n // stride)
    before = max((cells - 1) * stride + kernel - n, 0) // 2
    wide = functional.pad(x, (before, kernel + stride))
    weight, bias = made.conv.weight[0, 0], made.conv.bias[0]
    literal = torch.stack([(wide[0, 0, i * stride : i * stride + kernel] * weight).sum() + bias for i in range(cells)])
    assert torch.allclose(made(x)[0, 0], literal, atol=1e-6)
    assert halved((n,)) == (-(-n // 2),)


@pytest.mark.parametrize("encoder", ["plain", "resnet101"])
def test_unet_gives_scores_on_the_input_grid(encoder: str) -> None:
    network = ZOO.load("bmd-unet")(outputs=2, widths=(8, 8, 16, 16), encoder=encoder).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 64, 96)).shape == (1, 2, 64, 96)
    with pytest.raises(ShapeError, match="multiples of 32"):
        network(torch.rand(1, 1, 50, 64))
    with pytest.raises(InputError, match="plain or resnet101"):
        ZOO.load("bmd-unet")(encoder="vgg")


def test_resnet101_encoder_has_its_bottlenecks() -> None:
    network = ZOO.load("bmd-unet")(widths=(8, 8, 8, 8), encoder="resnet101")
    assert [len(stage) for stage in network.encoder] == [1, 3, 4, 23]


def test_a_card_loads_without_trust(tmp_path: Path) -> None:
    network = ZOO.load("bmd-resnet22")((32, 32))
    save_file(dict(network.state_dict()), tmp_path / "weights.safetensors")
    (tmp_path / "card.yaml").write_text(
        "schema: regard.card/1\nname: bmd\nzoo: bmd-resnet22\nkwargs: {shape: [32, 32]}\nweights: weights.safetensors\n"
        "layer: head.conv\ninputs: [{name: image, orientation: PL, shape: [32, 32], fit: crop-pad, unit: HU}]\n"
        "output: {kind: regression, names: [bmd], units: [g/cm2]}\n"
    )
    model = load_model(tmp_path)
    x = torch.rand(1, 1, 32, 32)
    assert torch.equal(model(x), network.eval()(x))


@pytest.mark.parametrize("name", ["bmd-resnet22", "bmd-unet"])
def test_occlusion_runs_them_incrementally_and_exactly(name: str) -> None:
    """Every layer is known to the engine, so that a window of a large picture costs a part of a forward pass."""
    torch.manual_seed(0)
    made = {"bmd-resnet22": lambda: ZOO.load(name)((64, 96)), "bmd-unet": lambda: ZOO.load(name)(widths=(4, 4, 8, 8))}
    network = made[name]().double().eval()
    x = torch.rand(1, 1, 64, 96, dtype=torch.float64)
    target = Output(0) if name == "bmd-resnet22" else lambda y: y[:, 0, 20:30, 20:30].mean((1, 2))
    found, plain = (
        Occlusion(network, window=8, stride=8, incremental=mode).compute(x, target) for mode in ("always", "never")
    )
    difference = (found.relevance[0] - plain.relevance[0]).abs().max()
    assert float(difference) <= 1e-6 * float(plain.relevance[0].abs().max())
    assert found.notes["operations"] > 1.2 and "operations" not in plain.notes
