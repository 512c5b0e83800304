"""Tiny networks on which the laws are checked."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Faulty", "TinyNetwork", "TinyTransformer", "TwoInputs", "example", "tiny_network_for"]


class TinyNetwork(nn.Module):
    """Two convolutions, two activations and a linear head on all places; the same weights in 1D, 2D and 3D.

    Parameters
    ----------
    size
        Places per axis. Kernels are 3 wide where an axis has more than one place.
    n_outputs
        Numbers per case.
    in_place
        Whether the activations overwrite their input.
    seed
        Of the weights.
    channels
        Of the input.
    """

    def __init__(
        self, size: Sequence[int], *, n_outputs: int = 1, in_place: bool = False, seed: int = 0, channels: int = 1
    ) -> None:
        super().__init__()
        size = tuple(size)
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(size)]
        kernel = tuple(3 if n > 1 else 1 for n in size)
        padding = tuple(k // 2 for k in kernel)
        self.first = convolution(channels, 4, kernel, padding=padding)  # type: ignore[arg-type]
        self.relu = nn.ReLU(inplace=in_place)
        self.norm = nn.BatchNorm1d(4)
        self.second = convolution(4, 3, kernel, padding=padding)  # type: ignore[arg-type]
        self.last = nn.ReLU(inplace=in_place)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(3 * torch.Size(size).numel(), n_outputs)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            values = torch.randn(parameter.numel(), generator=generator, dtype=torch.float64)
            parameter.data = 0.5 * values.reshape(parameter.shape)
        self.norm.running_mean = torch.linspace(-0.1, 0.1, 4, dtype=torch.float64)
        self.norm.running_var = torch.linspace(0.8, 1.2, 4, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.norm(x.flatten(2)).reshape(x.shape)
        return self.head(self.flatten(self.last(self.second(x))))  # type: ignore[no-any-return]


class TinyTransformer(TinyNetwork):
    """A class token, two blocks of attention among the places, and a linear head on the class token.

    Parameters as `TinyNetwork`, whose first layer makes the tokens; every place is one.
    """

    def __init__(
        self, size: Sequence[int], *, n_outputs: int = 1, in_place: bool = False, seed: int = 0, channels: int = 1
    ) -> None:
        super().__init__(size, n_outputs=n_outputs, in_place=in_place, seed=seed, channels=channels)
        self.token = nn.Parameter(torch.zeros(1, 1, 4, dtype=torch.float64))
        self.blocks = nn.ModuleList([nn.MultiheadAttention(4, 2, batch_first=True) for _ in range(2)])
        self.head = nn.Linear(4, n_outputs)
        del self.second
        generator = torch.Generator().manual_seed(seed)
        for part in (self.blocks, self.head):
            for parameter in part.parameters():
                values = torch.randn(parameter.numel(), generator=generator, dtype=torch.float64)
                parameter.data = 0.5 * values.reshape(parameter.shape)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.relu(self.first(x)).flatten(2))
        x = torch.cat([self.token.expand(len(x), -1, -1), x.transpose(1, 2)], 1)
        for block in self.blocks:
            x = x + block(x, x, x, need_weights=False)[0]
        return self.head(self.last(x[:, 0]))  # type: ignore[no-any-return]


def tiny_network_for(method: Any) -> Callable[..., TinyNetwork]:
    """The network that the laws run a method on: one with attention where the method reads attention."""
    return TinyTransformer if getattr(method, "reads_attention", False) else TinyNetwork


class TwoInputs(nn.Module):
    """Two images in, one number out."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.joined = TinyNetwork(size, channels=2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.joined(torch.cat([first, second], 1))  # type: ignore[no-any-return]


class Faulty(nn.Module):
    """A network that raises at its call number ``at``."""

    def __init__(self, network: nn.Module, at: int) -> None:
        super().__init__()
        self.network, self.at, self.calls = network, at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        output = self.network(x)
        if self.calls >= self.at:
            raise ArithmeticError("a fault on purpose")
        return output  # type: ignore[no-any-return]


def example(size: Sequence[int], n_cases: int = 1, *, channels: int = 1, seed: int = 1) -> Tensor:
    """Smooth random images (batch, channel, \\*space), float64, with a dark border of one voxel."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n_cases, channels, *size, generator=generator, dtype=torch.float64) + 0.2
    for axis, n in enumerate(size, start=2):
        if n > 2:
            x.narrow(axis, 0, 1).zero_()
            x.narrow(axis, n - 1, 1).zero_()
    return x
