"""A network run window by window: MONAI's stitching, gradients through the overlap, only the windows that matter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.inferers import sliding_window_inference
from safetensors.torch import save_file
from torch import Tensor, nn

import regard
from regard.core.errors import CapabilityError, CardError, InputError, ShapeError
from regard.models import ModelCard, SlidingWindow, load_model, write_card
from regard.models.card import validate_card
from regard.testing.networks import example


class Small(nn.Module):
    """Two convolutions with places of their own: what a window gives depends on where it lies."""

    def __init__(self, n: int, channels: int = 2) -> None:
        super().__init__()
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n]
        self.first, self.relu = convolution(1, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.second = convolution(4, channels, 3, padding=1)
        self.n_windows = 0
        self.n_gradients = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_windows += x.shape[0]
        self.n_gradients += int(torch.is_grad_enabled()) * x.shape[0]
        return self.second(self.relu(self.first(x))) * x.mean(tuple(range(1, x.ndim)), keepdim=True)


def small(n: int, channels: int = 2) -> Small:
    torch.manual_seed(0)
    return Small(n, channels).double().eval()


SIZES = {"1D": (23,), "2D": (17, 20), "3D": (11, 9, 10), "smaller than a window": (6, 20), "one window": (8, 8)}


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("name", SIZES)
def test_the_output_is_monais(name: str, overlap: float, blend: Any) -> None:
    size = SIZES[name]
    network, x = small(len(size)), example(size, 2)
    with torch.no_grad():
        expected = sliding_window_inference(x, [8] * len(size), 1, network, overlap, blend)
        for at_once in (1, 3):
            found = SlidingWindow(network, 8, overlap=overlap, blend=blend, windows_at_once=at_once)(x)
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def plainly_stitched(network: nn.Module, x: Tensor, window: int, step: int) -> Tensor:
    """Constant weights and all windows in one graph: the literal form, for images that windows fit exactly."""
    total, count = 0, torch.zeros(x.shape[2:], dtype=x.dtype)
    for i in range(0, x.shape[2] - window + 1, step):
        for j in range(0, x.shape[3] - window + 1, step):
            around = (j, x.shape[3] - j - window, i, x.shape[2] - i - window)
            given = network(x[:, :, i : i + window, j : j + window])
            total = total + nn.functional.pad(given, around)
            count[i : i + window, j : j + window] += 1
    return total / count


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_are_those_through_the_whole_stitched_output(frozen: bool) -> None:
    network = small(2).requires_grad_(not frozen)
    sliding = SlidingWindow(network, 8, overlap=0.5, blend="constant")
    weights = torch.randn(2, 2, 20, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values, gradients = [], []
    for run in (sliding, lambda t: plainly_stitched(network, t, 8, 4)):
        x = example((20, 16), 2).requires_grad_()
        value = (run(x).square() * weights).sum()
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, x)[0])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-13)


def test_weights_can_still_be_trained() -> None:
    network = small(2)
    sliding = SlidingWindow(network, 8, overlap=0.5, blend="constant")
    x = example((16, 16))
    sliding(x.requires_grad_()).square().sum().backward()
    found = {k: p.grad.clone() for k, p in network.named_parameters()}
    network.zero_grad()
    plainly_stitched(network, example((16, 16)), 8, 4).square().sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "input-x-gradient", "smoothgrad"])
def test_methods_see_through_the_overlap(method: str) -> None:
    """A region that three windows share, by every gradient method, as through the literal stitching."""
    from regard.explainers.spec import parse_methods

    network, x = small(2), example((20, 16))
    region = torch.zeros(20, 16)
    region[5:7, 6:10] = 1

    def target(output: Tensor) -> Tensor:
        return (output[:, 1] * region).flatten(1).sum(1)

    class Literal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, t: Tensor) -> Tensor:
            return plainly_stitched(self.network, t, 8, 4)

    spec = parse_methods([f"{method}:n_steps=4" if method == "integrated-gradients" else method])[0]
    sliding = SlidingWindow(network, 8, overlap=0.5, blend="constant")
    found = spec.build(sliding).attribute(x, target)
    torch.testing.assert_close(found, spec.build(Literal()).attribute(x, target), rtol=1e-5, atol=1e-9)
    assert float(found[..., 3, 6].abs().max()) > 0
    assert float(found[..., 12:, :].abs().max()) == 0


def test_a_gradient_runs_only_the_windows_that_the_target_depends_on() -> None:
    """Five rows and four columns of windows without overlap; a target in one of them."""
    network, x = small(2).requires_grad_(False), example((40, 32)).requires_grad_()
    value = SlidingWindow(network, 8, overlap=0.0)(x)[:, 0, 9, 9].sum()
    assert (network.n_windows, network.n_gradients) == (20, 0)
    torch.autograd.grad(value, x)
    assert (network.n_windows, network.n_gradients) == (21, 1)


def test_the_memory_of_a_gradient_is_that_of_one_window() -> None:
    """What is kept between forward and backward: the windows themselves, and nothing of the layers inside."""
    network = small(2).requires_grad_(False)

    def kept(run: Any) -> int:
        total = 0

        def pack(t: Tensor) -> Tensor:
            nonlocal total
            total += t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            run(example((40, 40)).requires_grad_())
        return total

    sliding = SlidingWindow(network, 8, overlap=0.5, blend="constant")
    # For each of 81 windows its input, its weights and the weights of the blend; then the division.
    assert kept(sliding) <= 81 * 2 * 64 + 3 * 2 * 40 * 40
    assert kept(lambda x: plainly_stitched(network, x, 8, 4)) > 5 * 81 * 64


@pytest.mark.parametrize("size", [(17, 20), (11, 9, 10), (6, 20)])
def test_around_an_image_only_touched_windows_run_and_the_answer_is_the_same(size: tuple[int, ...]) -> None:
    network, x = small(len(size)), example(size)
    sliding = SlidingWindow(network, 8, overlap=0.5)
    near = sliding.around(x)
    images = x.repeat(3, *[1] * (x.ndim - 1))
    images[(1, 0, *[slice(1, 3)] * len(size))] = 0
    images[(2, 0, *[slice(n - 2, n) for n in size])] += 1
    with torch.no_grad():
        expected = torch.cat([sliding(image[None]) for image in images])
    network.n_windows = 0
    found = near(images)
    assert torch.equal(found, expected)
    assert network.n_windows < 2 * len(sliding._cut(x)[1])
    assert torch.equal(near(x), expected[:1])


def test_occlusion_runs_only_touched_windows() -> None:
    network, x = small(2), example((40, 32))

    def target(output: Tensor) -> Tensor:
        return output[:, 0, 9, 9]

    sliding = SlidingWindow(network, 8, overlap=0.0)
    found = regard.Occlusion(sliding, window=4, stride=4).attribute(x, target)
    assert network.n_windows == 20 + 20 + 80  # the value, the clean windows, and one for each of 80 hidden places
    expected = regard.Occlusion(lambda t: sliding(t), window=4, stride=4).attribute(x, target)
    torch.testing.assert_close(found, expected)
    assert float(found[..., 8:16, 8:16].abs().max()) > 0
    assert float(found[..., 16:, :].abs().max()) == 0


def test_what_it_cannot_do_is_one_sentence() -> None:
    x = example((20, 16))
    for bad in ({"roi": 0}, {"roi": ()}, {"roi": 8, "overlap": 1.0}, {"roi": 8, "blend": "max"}):
        with pytest.raises(InputError):
            SlidingWindow(small(2), **bad)
    with pytest.raises(InputError, match="windows_at_once"):
        SlidingWindow(small(2), 8, windows_at_once=0)
    with pytest.raises(ShapeError, match="for an image of"):
        SlidingWindow(small(2), (8, 8, 8))(x)
    with pytest.raises(ShapeError, match="for a window of"):
        SlidingWindow(lambda t: t.flatten(1).sum(1), 8)(x)
    with pytest.raises(CapabilityError, match="runs more than once"):
        regard.GradCAM(SlidingWindow(small(2), 8), layer="network.first").attribute(x, lambda y: y[:, 0, 3, 3])
    one = regard.GradCAM(SlidingWindow(small(2), 32), layer="network.first").attribute(x, lambda y: y[:, 0, 3, 3])
    assert one.shape == x.shape


NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
"""


def card(**changes: Any) -> ModelCard:
    content: dict[str, Any] = {
        "name": "windows",
        "factory": "network.py:build",
        "weights": "weights.safetensors",
        "inputs": [{"orientation": "PL"}],
        "output": {"kind": "segmentation", "names": ["background", "bone"], "grid": "input"},
        "sliding_window": {"roi": [8, 8], "overlap": 0.5},
    }
    return validate_card({**content, **changes})


def test_a_card_says_that_a_network_runs_in_windows(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    plain = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    save_file(plain.state_dict(), tmp_path / "weights.safetensors")
    write_card(card(), tmp_path / "card.yaml")
    model = load_model(tmp_path, trust=True)
    x = example((17, 20)).float()
    with torch.no_grad():
        torch.testing.assert_close(model(x), SlidingWindow(plain, (8, 8))(x))
    assert model.capabilities == {"gradient", "layers"}
    scan = regard.Volume(x[0, :, :, :, None], torch.eye(4).numpy())
    region = torch.zeros(1, 17, 20, 1)
    region[0, 5:8, 6:9] = 1
    found = regard.explain(model, scan, "integrated-gradients", target=lambda y: y[:, 1, 5:8, 6:9].flatten(1).mean(1))
    assert abs(found.completeness_error) < 0.02 * abs(found.prediction) + 1e-3


def test_a_card_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    save_file(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).state_dict(), tmp_path / "weights.safetensors")
    write_card(card(sliding_window={"roi": [8, 8, 8]}), tmp_path / "card.yaml")
    with pytest.raises(CardError, match="one number for each of its 2 axes"):
        load_model(tmp_path, trust=True)
    with pytest.raises(CardError, match=r"sliding_window\.overlap"):
        card(sliding_window={"roi": [8, 8], "overlap": 1})


def test_a_bundles_inferer_says_how_windows_are_joined() -> None:
    from regard.models.bundle_card import card_of_bundle

    patch = {"spatial_shape": [8, 8, 8], "num_channels": 1, "is_patch_data": True}
    output = {"type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "spleen"}}
    metadata = {"network_data_format": {"inputs": {"image": patch}, "outputs": {"pred": output}}}
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": "@roi", "overlap": 0.25, "mode": "gaussian"}
    found, doubts = card_of_bundle("b", metadata, {"inferer": inferer, "roi": [8, 8, 8]})
    assert found.sliding_window is not None
    assert (found.sliding_window.roi, found.sliding_window.overlap) == ((8, 8, 8), 0.25)
    assert "joined" not in doubts[0]
    for unknown in ({}, {"inferer": {**inferer, "roi_size": "$[8] * 3"}}, {"inferer": {"_target_": "SimpleInferer"}}):
        found, doubts = card_of_bundle("b", metadata, unknown)
        assert found.sliding_window is None
        assert "how patches of 8 x 8 x 8 voxels are joined" in doubts[0]
