"""What people do to networks: wrapped, frozen, quantised, exported, reused, overwritten, left half configured."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .stand_ins import Hybrid, seeded


def convolutional(*, in_place: bool = False, channels: int = 1, outputs: int = 1) -> nn.Sequential:
    """Two convolutions, pooling, a linear head."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(in_place), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(in_place),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, outputs),
    )  # fmt: skip


class Normed(nn.Module):
    """Spectral or weight norm on each layer, as `torch.nn.utils.parametrizations` has them."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        network = convolutional()
        for layer in network:
            if hasattr(layer, "weight"):
                norm(layer)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Dropping(nn.Module):
    """Dropout forced on in evaluation (Monte-Carlo dropout)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = convolutional()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.network[:-1]:
            x = layer(x)
        return self.network[-1](functional.dropout(x, 0.5, training=True))


class Functional(nn.Module):
    """Activations and pooling as functions, one convolution used twice, a skip connection that is added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.head = nn.Conv2d(4, 5, 3, 2, 1), nn.Linear(5, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        for _ in range(2):
            y = self.again(x)
            y += x
            x = functional.relu(y)
        x = functional.relu_(self.last(x))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class OneReLU(nn.Module):
    """One rectifier module that is called after each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 1)
        self.act = nn.ReLU(inplace=True)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.b(self.act(self.a(x)))).mean((2, 3)))


class Checkpointed(nn.Module):
    """The encoder keeps its input only and runs again in the backward pass."""

    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.use_reentrant = use_reentrant
        self.encoder = convolutional()[:4]
        self.head = nn.Linear(6, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        y = checkpoint(self.encoder, x, use_reentrant=self.use_reentrant)
        return self.head(y.mean((2, 3)))


class Squeezed(nn.Module):
    """Three scores, and a ``squeeze()`` that takes the batch axis too where there is one case."""

    def __init__(self) -> None:
        super().__init__()
        self.network = convolutional(outputs=3)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).squeeze()


class GatedRecurrent(nn.Module):
    """A signal's samples through a GRU, the last state to a number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 6, 5, 2, 2)
        self.gru, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(torch.relu(self.stem(x)).transpose(1, 2))
        return self.head(states[:, -1])


class ImageAndTable(nn.Module):
    """An image, and age and sex beside it: two units a year."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = convolutional()[:4], nn.Linear(6, 1)
        seeded(self)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        return self.head(self.encoder(image).mean((2, 3))) + 2 * table[:, :1] - table[:, 1:]


class OneEncoder(nn.Module):
    """Two images through one encoder (siamese), and the difference of what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = convolutional()[:4], nn.Linear(6, 1)
        seeded(self)

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        return self.head(self.encoder(now).mean((2, 3)) - self.encoder(before).mean((2, 3)))


class Dead(nn.Module):
    """A rectifier that is never active: the output is the bias of its head."""

    def __init__(self) -> None:
        super().__init__()
        self.network = convolutional()
        seeded(self)
        self.network[2].weight.data.zero_()
        self.network[2].bias.data.fill_(-1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Instances(nn.Module):
    """nnU-Net's shape: instance norm, leaky ReLU in place, strided convolutions, a head at each size."""

    def __init__(self, n_axes: int = 3) -> None:
        super().__init__()
        conv, up, norm = {
            2: (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d),
            3: (nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d),
        }[n_axes]

        def block(a: int, b: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                conv(a, b, 3, stride, 1), norm(b, affine=True), nn.LeakyReLU(0.01, True),
                conv(b, b, 3, 1, 1), norm(b, affine=True), nn.LeakyReLU(0.01, True),
            )  # fmt: skip

        self.encoder = nn.ModuleList([block(1, 4, 1), block(4, 6, 2), block(6, 8, 2)])
        self.up = nn.ModuleList([up(8, 6, 2, 2), up(6, 4, 2, 2)])
        self.decoder = nn.ModuleList([block(12, 6, 1), block(8, 4, 1)])
        self.heads = nn.ModuleList([conv(6, 2, 1), conv(4, 2, 1)])
        seeded(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        outputs = []
        for n, (up, stage, head) in enumerate(zip(self.up, self.decoder, self.heads)):
            x = stage(torch.cat([up(x), skips[1 - n]], 1))
            outputs.append(head(x))
        return outputs[::-1]


class MixesCases(nn.Module):
    """Batch norm that keeps no statistics: a case's output depends on what stands beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, 2, 1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.last, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.last(torch.relu(self.norm(self.first(x))))).mean((2, 3)))


class MixedUp(Hybrid):
    """Tokens batch first, given to layers that expect them token first."""

    def __init__(self) -> None:
        super().__init__(batch_first=True)
        layer = nn.TransformerEncoderLayer(8, 2, 16)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        seeded(self)


def scripted() -> nn.Module:
    """A TorchScript program, by tracing its Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(seeded(convolutional()))  # type: ignore[no-any-return]


def exported() -> nn.Module:
    """A program of `torch.export`, for one case."""
    example = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    return torch.export.export(seeded(convolutional()), (example,)).module()


def quantised() -> nn.Module:
    """Linear layers in int8 (`quantize_dynamic`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = seeded(convolutional()).float()
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})  # type: ignore[no-any-return]


def partly_compiled(*, call: bool) -> nn.Module:
    """An encoder inside that is compiled, by the function or by the module's own ``compile()``."""
    network = nn.Sequential(convolutional()[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1))
    seeded(network)
    if call:
        network[0] = torch.compile(network[0], backend="eager")
    else:
        network[0].compile(backend="eager")
    return network


def of_inference_mode() -> nn.Module:
    """Weights that were made in inference mode."""
    with torch.inference_mode():
        return seeded(convolutional())


def frozen() -> nn.Module:
    """No parameter asks for a gradient."""
    network = seeded(convolutional())
    return network.requires_grad_(False)
