"""A conditional invertible network: latents to a standard normal, given what the output fixes.

Every layer maps (batch, dim) and a condition to (batch, dim) and the logarithm of its Jacobian's determinant (batch,),
and back. Eulig et al. 2025, after Rombach et al. 2020; the invertible LeakyReLU's determinant, which their code returns
as 0, is counted here, or left out with ``published=True``.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regard.core.errors import ShapeError

__all__ = ["ActNorm", "AffineCoupling", "ConditionEmbedder", "ConditionalINN", "InvertibleLeakyReLU", "Permutation"]


class ActNorm(nn.Module):
    """A scale and a shift for each number, set by the first batch so that its result has mean 0 and variance 1.

    Parameters
    ----------
    dim
        Numbers, or channels of an image (batch, dim, \\*space).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.started: Tensor
        self.register_buffer("started", torch.tensor(False))

    def _start(self, x: Tensor) -> None:
        if self.training and not bool(self.started) and len(x) > 1:
            with torch.no_grad():
                values = x.transpose(0, 1).flatten(1)
                self.log_scale.copy_(-values.std(1).clamp_min(1e-6).log())
                self.shift.copy_(-values.mean(1) * self.log_scale.exp())
                self.started.fill_(True)

    def _shaped(self, values: Tensor, x: Tensor) -> Tensor:
        return values.reshape(1, -1, *[1] * (x.ndim - 2))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale and shift."""
        self._start(x)
        places = math.prod(x.shape[2:])
        found = x * self._shaped(self.log_scale.exp(), x) + self._shaped(self.shift, x)
        return found, (self.log_scale.sum() * places).expand(len(x))

    def inverse(self, v: Tensor, condition: Tensor | None = None) -> Tensor:
        """Undo it."""
        return (v - self._shaped(self.shift, v)) * self._shaped((-self.log_scale).exp(), v)


class InvertibleLeakyReLU(nn.Module):
    """Negative numbers times a slope.

    Parameters
    ----------
    slope
        Above 0.
    published
        Count the determinant as 1, as the published code does: what is then maximised is not the likelihood.
    """

    def __init__(self, slope: float = 0.9, *, published: bool = False) -> None:
        super().__init__()
        self.slope, self.published = slope, published

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply it."""
        below = x < 0
        counted = 0.0 if self.published else math.log(self.slope)
        return torch.where(below, self.slope * x, x), counted * below.to(x).sum(1)

    def inverse(self, v: Tensor, condition: Tensor | None = None) -> Tensor:
        """Undo it."""
        return torch.where(v < 0, v / self.slope, v)


class AffineCoupling(nn.Module):
    """One half times ``exp(s)`` plus t, both made of the other half and the condition; tanh bounds s.

    Parameters
    ----------
    dim
        Numbers.
    n_condition
        Numbers of the condition.
    width, depth
        Of the networks for s and t: hidden layers beyond the first.
    swap
        Change the first half instead of the second.
    """

    def __init__(self, dim: int, n_condition: int, width: int = 1024, depth: int = 2, *, swap: bool = False) -> None:
        super().__init__()
        self.first = dim // 2
        self.swap = swap
        kept, changed = (dim - self.first, self.first) if swap else (self.first, dim - self.first)
        self.scale = _mlp(kept + n_condition, changed, width, depth, bounded=True)
        self.shift = _mlp(kept + n_condition, changed, width, depth, bounded=False)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x[:, : self.first], x[:, self.first :]
        return (b, a) if self.swap else (a, b)

    def _joined(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.swap else [kept, changed], 1)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Change one half."""
        kept, changed = self._split(x)
        given = torch.cat([kept, condition], 1)
        scale = self.scale(given)
        return self._joined(kept, changed * scale.exp() + self.shift(given)), scale.sum(1)

    def inverse(self, v: Tensor, condition: Tensor) -> Tensor:
        """Undo it."""
        kept, changed = self._split(v)
        given = torch.cat([kept, condition], 1)
        return self._joined(kept, (changed - self.shift(given)) * (-self.scale(given)).exp())


class Permutation(nn.Module):
    """A fixed random order of the numbers, drawn from ``seed``."""

    def __init__(self, dim: int, seed: int) -> None:
        super().__init__()
        self.order: Tensor
        self.register_buffer("order", torch.randperm(dim, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reorder."""
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, v: Tensor, condition: Tensor | None = None) -> Tensor:
        """Undo it."""
        return v[:, self.order.argsort()]


class ConditionEmbedder(nn.Module):
    """An image as numbers: convolutions that halve it, with ActNorm and LeakyReLU, and one over what is left.

    Parameters
    ----------
    size
        Side of the image, a multiple of ``2 ** len(widths)``.
    channels
        Channels of the image.
    widths
        Channels of each halving.
    out
        Numbers that come out.
    """

    def __init__(
        self, size: int, channels: int = 1, widths: Sequence[int] = (64, 128, 256, 512), out: int = 256
    ) -> None:
        super().__init__()
        left = size // 2 ** len(widths)
        if left < 1 or left * 2 ** len(widths) != size:
            raise ShapeError(f"an image of {size} pixels for {len(widths)} halvings", "one that they divide")
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for before, after in zip((channels, *widths), widths, strict=False):
            self.convolutions.append(nn.Conv2d(before, after, 4, 2, 1))
            self.norms.append(ActNorm(after))
        self.last = nn.Conv2d(widths[-1], out, left)

    def forward(self, y: Tensor) -> Tensor:
        """Image (batch, channels, size, size) to (batch, out)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y, _ = norm(convolution(y))
            y = nn.functional.leaky_relu(y, 0.2)
        return self.last(y).flatten(1)  # type: ignore[no-any-return]


class ConditionalINN(nn.Module):
    """Blocks of ActNorm, invertible LeakyReLU, two affine couplings and a fixed permutation.

    Parameters
    ----------
    dim
        Numbers of a latent.
    n_condition
        Numbers of the embedded condition.
    n_blocks
        Number of blocks.
    width, depth
        Of the couplings' networks.
    slope
        Of the LeakyReLU; 1 leaves it out.
    published
        Leave the LeakyReLU's determinant out of the objective, as the published code does.
    seed
        Of the permutations.
    """

    def __init__(
        self,
        dim: int = 256,
        n_condition: int = 256,
        n_blocks: int = 12,
        width: int = 1024,
        depth: int = 2,
        *,
        slope: float = 0.9,
        published: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList()
        for n in range(n_blocks):
            self.layers.append(ActNorm(dim))
            if slope != 1:
                self.layers.append(InvertibleLeakyReLU(slope, published=published))
            self.layers.append(AffineCoupling(dim, n_condition, width, depth))
            self.layers.append(AffineCoupling(dim, n_condition, width, depth, swap=True))
            self.layers.append(Permutation(dim, seed + n))

    def forward(self, z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (batch, dim) to what the condition does not fix, with the log-determinant (batch,)."""
        total = z.new_zeros(len(z))
        for layer in self.layers:
            z, counted = layer(z, condition)
            total = total + counted
        return z, total

    def inverse(self, v: Tensor, condition: Tensor) -> Tensor:
        """Standard normal numbers (batch, dim) to latents."""
        for layer in reversed(self.layers):
            v = layer.inverse(v, condition)  # type: ignore[operator]
        return v

    def loss(self, z: Tensor, condition: Tensor) -> Tensor:
        """Mean of ``|v|^2 / 2`` less the log-determinant: the negative log-likelihood but for a constant."""
        v, total = self(z, condition)
        return (0.5 * v.square().sum(1) - total).mean()


def _mlp(before: int, after: int, width: int, depth: int, *, bounded: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(before, width), nn.LeakyReLU(0.01)]
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.LeakyReLU(0.01)]
    layers.append(nn.Linear(width, after))
    return nn.Sequential(*layers, *([nn.Tanh()] if bounded else []))
