"""Critics of adversarial denoisers: that of WGAN-VGG, and a U-Net that judges the whole image and every pixel."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["UNetDiscriminator", "WGANCritic", "sobel"]


class WGANCritic(nn.Module):
    """Six convolutions of 64 to 256 channels, every other one halving the image, and two linear layers.

    Parameters
    ----------
    size
        Side of the square patches that it judges, a multiple of 8.
    widths
        Channels of each pair of convolutions.
    hidden
        Width of the first linear layer.

    Notes
    -----
    Yang et al., IEEE Transactions on Medical Imaging 2018. Convolutions are padded, so that a patch is halved exactly.
    """

    def __init__(self, size: int = 64, widths: tuple[int, int, int] = (64, 128, 256), hidden: int = 1024) -> None:
        super().__init__()
        self.features = nn.Sequential()
        before = 1
        for width in widths:
            for stride in (1, 2):
                self.features.extend([nn.Conv2d(before, width, 3, stride, 1), nn.LeakyReLU(0.2)])
                before = width
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(before * (size // 8) ** 2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Patches (batch, 1, size, size) to scores (batch, 1)."""
        return self.head(self.features(x))  # type: ignore[no-any-return]


class UNetDiscriminator(nn.Module):
    """A U-Net whose encoder judges the image and whose decoder judges each pixel, with spectral normalisation.

    DU-GAN has two: one sees the image, one its Sobel gradient (`sobel`). The publication's widths are not known here;
    these are ours.

    Parameters
    ----------
    width
        Channels of the first block; they double at each of the ``depth`` halvings.
    depth
        Number of halvings.

    Notes
    -----
    Huang et al., IEEE Transactions on Instrumentation and Measurement 2022; after Schoenfeld et al., CVPR 2020.
    """

    def __init__(self, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(depth + 1)]

        def conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Module:
            return spectral_norm(nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2))

        self.first = conv(1, widths[0], 3)
        self.down = nn.ModuleList(conv(a, b, 4, 2) for a, b in pairwise(widths))
        self.score = nn.Linear(widths[-1], 1)
        self.up = nn.ModuleList(conv(b + a, a, 3) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.last = conv(widths[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (batch, 1, row, column) to a score each (batch, 1) and one for every pixel (batch, 1, row, column)."""
        x = functional.leaky_relu(self.first(x), 0.2)
        kept = []
        for layer in self.down:
            kept.append(x)
            x = functional.leaky_relu(layer(x), 0.2)
        score = self.score(x.mean((2, 3)))
        for layer in self.up:
            skip = kept.pop()
            x = functional.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = functional.leaky_relu(layer(torch.cat([x, skip], 1)), 0.2)
        return score, self.last(x)


def sobel(x: Tensor) -> Tensor:
    """Size of the Sobel gradient of an image (batch, 1, row, column), per pixel."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(x) / 8
    both = torch.stack([kernel, kernel.T])[:, None]
    found = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), both)
    return (found.square().sum(1, keepdim=True) + 1e-12).sqrt()
