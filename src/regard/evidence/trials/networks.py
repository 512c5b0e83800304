"""Networks of trials: hand-set ones, and small ones that are trained in the trial itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core import randomness
from regard.core.spatial import blur

__all__ = ["HAND_SET", "TRAINED", "Classes", "ImageOutput", "Linear", "Saturating", "Small", "Spots", "place", "train"]


def place(size: Sequence[int], seed: int, name: str, draw: str, *, irregular: bool) -> Tensor:
    """A place of the image, (\\*size), weights of 0 to about 1: a smooth spot, or an irregular region of some."""
    centre, scale = (
        randomness.uniform((len(size),), seed, name, f"{draw}/at"),
        0.28 + 0.14 * float(randomness.uniform((1,), seed, name, f"{draw}/size")[0]),
    )
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    square = sum((a - 1.1 * (float(c) - 0.5)).square() for a, c in zip(axes, centre, strict=True))
    if not irregular:
        return torch.exp(-torch.as_tensor(square) / (2 * (0.6 * scale) ** 2)).where(
            torch.as_tensor(square) < scale**2 * 2, 0
        )
    noise = blur(randomness.normal(torch.empty(1, 1, *size), seed, name, f"{draw}/shape"), 1.2)[0, 0]
    inside = torch.as_tensor(square).sqrt() + 0.5 * noise / noise.std() * 0.3 < 1.25 * scale
    strength = 0.6 + 0.8 * randomness.uniform(tuple(size), seed, name, f"{draw}/strength")
    found: Tensor = inside * strength
    return found if bool(found.any()) else (torch.as_tensor(square) < scale**2).float()


class Linear(nn.Module):
    """Sum over places of weight times intensity, and a constant."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight[None, None].clone())
        self.bias = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1, keepdim=True) + self.bias


class Spots(nn.Module):
    """A convolution that finds bright and dark spots above a level, ReLU, and a weighted sum of places."""

    def __init__(self, weight: Tensor, level: float) -> None:
        super().__init__()
        n = weight.ndim
        spot = blur(functional.pad(torch.ones(1, 1, *[1] * n), [2] * (2 * n)), 0.8)
        self.kernel = nn.Parameter(torch.cat([spot, -spot]))
        self.bias = nn.Parameter(torch.tensor([-level, level]))
        self.weight = nn.Parameter(torch.stack([weight, -0.5 * weight])[None].clone())

    def forward(self, x: Tensor) -> Tensor:
        convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
        found = functional.relu(convolve(x, self.kernel, self.bias, padding=2))
        return (found * self.weight).flatten(1).sum(1, keepdim=True)


class Saturating(nn.Module):
    """Weighted sum of places of a smooth function that saturates at bright intensities."""

    def __init__(self, weight: Tensor, level: float, width: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight[None, None].clone())
        self.level, self.width = level, width

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * torch.tanh((x - self.level) / (2 * self.width))).flatten(1).sum(1, keepdim=True)


class Classes(nn.Module):
    """Three logits, each of a place of its own."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack(list(weights))[None].clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(2).sum(2)


class ImageOutput(nn.Module):
    """An image for an image: a small convolution, a bend, and a gain by place; its channels are one."""

    def __init__(self, gain: Tensor, level: float) -> None:
        super().__init__()
        n = gain.ndim
        self.kernel = nn.Parameter(blur(functional.pad(torch.ones(1, 1, *[1] * n), [2] * (2 * n)), 0.7))
        self.gain = nn.Parameter(gain[None, None].clone())
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
        smooth = convolve(x, self.kernel, padding=2)
        return self.gain * (smooth + 0.3 * functional.relu(smooth - self.level))


class Small(nn.Module):
    """Two convolutions, pooling to four cells an axis, and a linear head: for numbers or classes."""

    def __init__(self, n_space: int, n_outputs: int) -> None:
        super().__init__()
        kind, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if n_space == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
        cells = 4**n_space
        self.layers = nn.Sequential(
            kind(1, 8, 3, padding=1), nn.ReLU(), kind(8, 8, 3, padding=1, stride=2), nn.ReLU(), pool(4), nn.Flatten(),
            nn.Linear(8 * cells, 24), nn.ReLU(), nn.Linear(24, n_outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class SmallImage(nn.Module):
    """Three convolutions, image to image."""

    def __init__(self, n_space: int) -> None:
        super().__init__()
        kind = nn.Conv2d if n_space == 2 else nn.Conv3d
        self.layers = nn.Sequential(
            kind(1, 8, 3, padding=1), nn.ReLU(), kind(8, 8, 3, padding=1), nn.ReLU(), kind(8, 1, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


HAND_SET = ("linear", "spots", "saturating", "classes", "image")
"""Networks whose weights are set."""

TRAINED = ("trained regressor", "trained classifier", "trained image")
"""Networks that are trained."""


def train(network: nn.Module, x: Tensor, y: Tensor, *, seed: int, n_steps: int = 250) -> nn.Module:
    """Train on images (n, 1, \\*space) and labels: numbers (n, 1), classes (n,) int64, or images like ``x``."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
                module.reset_parameters()
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(n_steps):
            rows = torch.randint(len(x), (32,))
            made = network(x[rows])
            loss = (
                functional.cross_entropy(made, y[rows])
                if y.dtype == torch.int64
                else functional.mse_loss(made, y[rows])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval().requires_grad_(False)
