"""Denoisers of low-dose CT: CNN-10, RED-CNN and the generator of WGAN-VGG; one channel in, one out, of any size."""

import torch
from torch import Tensor, nn

__all__ = [
    "CNN10",
    "REDCNN",
    "Rescaled",
    "WGANGenerator",
    "cnn10",
    "redcnn",
    "start_at_identity",
    "wgan_generator",
]


class CNN10(nn.Module):
    """Three convolutions, 9, 3 and 5 wide, with ReLU between.

    Notes
    -----
    Chen et al., Biomedical Optics Express 2017; widths as in ldct-benchmark.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, 1, 5, padding=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, 1, row, column) to the same."""
        return self.layers(x)  # type: ignore[no-any-return]


class REDCNN(nn.Module):
    """Residual encoder and decoder: five convolutions, five transposed ones, three sums over their heads.

    Without a ReLU at the end, as standardised images have values below 0. Also the generator of DU-GAN.

    Parameters
    ----------
    width
        Channels.

    Notes
    -----
    Chen et al., IEEE Transactions on Medical Imaging 2017; Huang et al. (DU-GAN), IEEE TIM 2022.
    """

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(1 if n == 0 else width, width, 5) for n in range(5))
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, 1 if n == 4 else width, 5) for n in range(5))

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, 1, row, column) to the same; at least 21 pixels a side."""
        kept = [x]
        for n, layer in enumerate(self.down):
            x = torch.relu(layer(x))
            if n in (1, 3):
                kept.append(x)
        for n, layer in enumerate(self.up):
            x = layer(x)
            if n in (0, 2, 4):
                x = x + kept.pop()
            if n < 4:
                x = torch.relu(x)
        return x


class WGANGenerator(nn.Module):
    """Eight convolutions 3 wide with ReLU between; none at the end, as standardised images have values below 0.

    Notes
    -----
    Yang et al. (WGAN-VGG), IEEE Transactions on Medical Imaging 2018.
    """

    def __init__(self, width: int = 32, n_layers: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for n in range(n_layers):
            last = n == n_layers - 1
            self.layers.append(nn.Conv2d(1 if n == 0 else width, 1 if last else width, 3, padding=1))
            if not last:
                self.layers.append(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, 1, row, column) to the same."""
        return self.layers(x)  # type: ignore[no-any-return]


@torch.no_grad()
def start_at_identity(network: nn.Module) -> None:
    """Set the weights of an untrained `CNN10`, `REDCNN` or `WGANGenerator` so that it gives its input back.

    Ours: a short training then goes into the noise and not into finding the image again. Two channels carry the image
    and its negative past each ReLU; the last layer begins with nothing else.
    """
    if isinstance(network, REDCNN):
        for tensor in network.up[-1].parameters():
            tensor.zero_()
        return
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for n, layer in enumerate(layers):
        middle = tuple(k // 2 for k in layer.kernel_size)
        weight, bias = layer.weight, layer.bias
        assert bias is not None
        last = n == len(layers) - 1
        carried = 1 if last else 2
        weight[:carried] = 0
        bias[:carried] = 0
        for sign, channel in ((1.0, 0), (-1.0, 1)):
            if n == 0:
                weight[(channel, 0, *middle)] = sign
            elif last:
                weight[(0, channel, *middle)] = sign
            else:
                weight[(channel, channel, *middle)] = 1.0


class Rescaled(nn.Module):
    """A network on standardised images whose output is brought back to a unit: ``network(x) deviation + mean``.

    Parameters
    ----------
    network
        Standardised images to standardised images.
    mean, deviation
        Of the training images, in their unit.
    """

    def __init__(self, network: nn.Module, mean: float, deviation: float) -> None:
        super().__init__()
        self.network, self.mean, self.deviation = network, mean, deviation

    def forward(self, x: Tensor) -> Tensor:
        """Standardised image (batch, 1, row, column) to one in the unit."""
        return self.network(x) * self.deviation + self.mean  # type: ignore[no-any-return]


def cnn10(width: int = 64, mean: float = 0.0, deviation: float = 1.0) -> nn.Module:
    """Build a `CNN10`, `Rescaled` where ``mean`` or ``deviation`` are given; parameters as there."""
    return _rescaled(CNN10(width), mean, deviation)


def redcnn(width: int = 96, mean: float = 0.0, deviation: float = 1.0) -> nn.Module:
    """Build a `REDCNN`, `Rescaled` where ``mean`` or ``deviation`` are given; parameters as there."""
    return _rescaled(REDCNN(width), mean, deviation)


def wgan_generator(width: int = 32, n_layers: int = 8, mean: float = 0.0, deviation: float = 1.0) -> nn.Module:
    """Build a `WGANGenerator`, `Rescaled` where ``mean`` or ``deviation`` are given; parameters as there."""
    return _rescaled(WGANGenerator(width, n_layers), mean, deviation)


def _rescaled(network: nn.Module, mean: float, deviation: float) -> nn.Module:
    return network if (mean, deviation) == (0.0, 1.0) else Rescaled(network, mean, deviation)
