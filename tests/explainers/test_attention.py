"""Rollouts on transformers as people have them: which grid, which token is read, what is refused."""

import pytest
import torch
from monai.networks.nets import UNETR, SwinUNETR, ViT
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import CapabilityError, ShapeError
from regard.explainers.attention.attention_rollout import AttentionRollout
from regard.explainers.attention.gradient_rollout import GradientRollout
from regard.testing.networks import TinyNetwork, example

BOTH = [AttentionRollout, GradientRollout]


class First(nn.Module):
    """The first of a network's outputs, as numbers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        output = self.network(x)
        return output[0] if isinstance(output, tuple) else output.flatten(1).mean(1)


def vit(*, fused: bool = False, **given) -> nn.Module:
    torch.manual_seed(0)
    knobs = {"img_size": (16, 24), "patch_size": 8, "spatial_dims": 2, "classification": True, "num_classes": 1} | given
    knobs |= {"hidden_size": 12, "mlp_dim": 24, "num_layers": 2, "num_heads": 3, "post_activation": "none"}
    network = First(ViT(in_channels=1, **knobs)).eval()
    for block in network.network.blocks:
        block.attn.use_flash_attention = fused
    return network


class Encoder(nn.Module):
    """`nn.TransformerEncoder` on patches; ``registers`` come between a class token and the patches."""

    def __init__(self, *, registers: int = 0, n_space: int = 2, read: int = 0, batch_first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n_space](1, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.registers = nn.Parameter(torch.randn(1, registers, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.read, self.batch_first = nn.Linear(8, 1), read, batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        if self.registers.shape[1]:
            x = torch.cat([x[:, :1], self.registers.expand(len(x), -1, -1), x[:, 1:]], 1)
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x[:, self.read])


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_vit_of_monai_has_its_grid_and_its_class_token(method: type, embedding: str, fused: bool) -> None:
    network = vit(proj_type=embedding, fused=fused)
    found = method(network).compute(torch.rand(1, 1, 16, 24))
    assert found.notes == {"blocks": 2, "token_grid": "2x3", "further_tokens": 1, "reads": "token 0"}
    assert found.relevance[0].shape == (1, 1, 16, 24)
    assert float(found.relevance[0].std()) > 0


def test_fused_and_written_out_attention_give_one_map() -> None:
    x = torch.rand(1, 1, 16, 24)
    maps = [GradientRollout(vit(fused=fused)).attribute(x) for fused in (False, True)]
    torch.testing.assert_close(*maps)


@pytest.mark.parametrize("method", BOTH)
def test_unetr_in_3d_is_read_by_all_its_tokens(method: type) -> None:
    torch.manual_seed(0)
    network = UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=12, mlp_dim=24, num_heads=3).eval()
    found = method(network).compute(torch.rand(1, 1, 32, 32, 32), lambda y: y[:, 0].flatten(1).mean(1))
    assert found.notes["token_grid"] == "2x2x2"
    assert found.notes["reads"] == "the mean of 8 tokens"
    assert found.notes["leaves_out"] == "what the decoder reads of the image and of earlier blocks"


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("batch_first", [True, False])
def test_register_tokens_are_no_places(method: type, batch_first: bool) -> None:
    """The patch that alone differs is where the map's rows point, whatever comes before it."""
    network = Encoder(registers=3, batch_first=batch_first)
    found = method(network).compute(torch.rand(1, 1, 8, 12))
    assert found.notes["token_grid"] == "2x3"
    assert found.notes["further_tokens"] == 4
    assert found.notes["reads"] == "token 0"


def test_a_token_in_the_middle_is_found_to_be_read() -> None:
    assert GradientRollout(Encoder(read=5)).compute(torch.rand(1, 1, 8, 12)).notes["reads"] == "token 5"


@pytest.mark.parametrize("n_space", [1, 3])
def test_signals_and_volumes(n_space: int) -> None:
    found = AttentionRollout(Encoder(n_space=n_space)).compute(torch.rand(2, 1, *[8] * n_space))
    assert found.notes["token_grid"] == "x".join(["2"] * n_space)


def test_the_layer_runs_its_slow_path_and_gives_what_it_gives() -> None:
    """The fast path of an encoder layer would hide its attention."""
    network, x = Encoder().eval(), torch.rand(1, 1, 8, 12)
    found = AttentionRollout(network).compute(x)
    assert found.notes["blocks"] == 2
    torch.testing.assert_close(found.value, network(x).detach()[:, 0])


class Pointing(nn.Module):
    """One block whose class token attends to the brightest patch, by hand-set weights."""

    def forward(self, x: Tensor) -> Tensor:
        patches = functional.avg_pool2d(x, 4).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.ones_like(patches[:, :1]), patches], 1)
        logits = 20 * tokens @ tokens.transpose(1, 2)
        closed = torch.zeros_like(logits)
        closed[:, :, 0] = -100
        return ((logits + closed).softmax(-1) @ tokens)[:, 0, 0]


@pytest.mark.parametrize("method", BOTH)
def test_a_network_that_points_at_a_patch_is_shown_to(method: type) -> None:
    x = torch.zeros(1, 1, 8, 12)
    x[..., 4:8, 8:12] = 1
    with pytest.raises(CapabilityError, match="grid=14x14"):
        method(Pointing()).attribute(x[..., :11])
    found = method(Pointing(), grid=(2, 3)).attribute(x)
    assert torch.nonzero(found[0, 0] == found.max()).float().mean(0).tolist() == [6.5, 10.5]


def test_a_grid_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(ShapeError, match="grid=5x5 for 7 tokens"):
        AttentionRollout(Encoder(), grid=5).attribute(torch.rand(1, 1, 8, 12))


@pytest.mark.parametrize("method", BOTH)
def test_windows_of_swin_are_refused(method: type) -> None:
    network = First(SwinUNETR(1, 1, feature_size=12, spatial_dims=2)).eval()
    with pytest.raises(CapabilityError, match="in windows"):
        method(network).attribute(torch.rand(1, 1, 64, 64))


@pytest.mark.parametrize("method", BOTH)
def test_a_network_without_attention_is_refused(method: type) -> None:
    with pytest.raises(CapabilityError, match="no attention was met; expected .*; choose"):
        method(TinyNetwork((8, 9))).attribute(example((8, 9)))


def test_a_softmax_that_multiplies_nothing_is_no_attention() -> None:
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.softmax(-1) * x).flatten(1).sum(1)

    with pytest.raises(CapabilityError, match="no attention was met"):
        AttentionRollout(Gate()).attribute(torch.rand(1, 1, 4, 4))


def test_parallel_branches_and_cross_attention_are_refused() -> None:
    class Branches(nn.Module):
        def __init__(self, keys: int) -> None:
            super().__init__()
            self.keys = keys

        def forward(self, x: Tensor) -> Tensor:
            t = functional.avg_pool2d(x, 2).flatten(2).transpose(1, 2)
            one = (t @ t.transpose(1, 2)).softmax(-1) @ t
            other = (-t @ t[:, : self.keys].transpose(1, 2)).softmax(-1) @ t[:, : self.keys]
            return (one + other).flatten(1).sum(1)

    with pytest.raises(CapabilityError, match="parallel branches"):
        AttentionRollout(Branches(4)).attribute(torch.rand(1, 1, 4, 4))
    with pytest.raises(CapabilityError, match="not from tokens to the same tokens"):
        AttentionRollout(Branches(2)).attribute(torch.rand(1, 1, 4, 4))


def test_slices_folded_into_the_batch_are_refused() -> None:
    class Folded(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            n, c, i, j, k = x.shape
            return super().forward(x.permute(0, 4, 1, 2, 3).reshape(n * k, c, i, j)).reshape(n, k).mean(1)

    with pytest.raises(CapabilityError, match="slice by slice"):
        AttentionRollout(Folded()).attribute(torch.rand(1, 1, 8, 12, 3))


def test_a_vector_beside_the_image_is_blank() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = Encoder()

        def forward(self, x: Tensor, v: Tensor) -> Tensor:
            return self.image(x) + v.sum(1, keepdim=True)

    image, vector = GradientRollout(Both()).attribute((torch.rand(1, 1, 8, 12), torch.rand(1, 3)))
    assert float(image.std()) > 0
    assert bool(torch.isnan(vector).all())
    assert vector.shape == (1, 3)
