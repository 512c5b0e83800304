"""Two residual dense networks in a row that take the noise out of a low-dose CT slice.

The network is the "TS_DenseNet" of BennyZhang-Codes/LDCT-denoising-with-Deep-Learning-and-Dicom-Viewer (MIT).
Its tensors have names with hyphens, hence the modules are added by name.
"""

from __future__ import annotations

import torch
from torch import nn

# Mean and standard deviation of the training slices in HU: (0.1225 * 4096 - 1024, 0.1188 * 4096).
MEAN_HU = -522.24
DEVIATION_HU = 486.6048

BLOCKS: tuple[int, ...] = (4, 8, 4)
GROWTH = 16
WIDTH = 64


class DenseLayer(nn.Sequential):
    """Two convolutions whose output is appended to the channels of the input.

    Parameters
    ----------
    inputs : int
        Number of input channels.
    index : int
        Position in its block, from 1; part of the names of the tensors.
    """

    def __init__(self, inputs: int, index: int) -> None:
        super().__init__()
        self.add_module(f"conv{index}-1", nn.Conv2d(inputs, WIDTH, 1))
        self.add_module(f"norm{index}-1", nn.BatchNorm2d(WIDTH))
        self.add_module(f"relu{index}-1", nn.ReLU())
        self.add_module(f"conv{index}-2", nn.Conv2d(WIDTH, GROWTH, 3, padding=1))
        self.add_module(f"norm{index}-2", nn.BatchNorm2d(GROWTH))
        self.add_module(f"relu{index}-2", nn.ReLU())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the new channels and append them."""
        return torch.cat([image, super().forward(image)], dim=1)


class ResidualDenseNetwork(nn.Module):
    """Standardised slice in, the same slice less the noise that the network found out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv-input", nn.Conv2d(1, WIDTH, 3, padding=1))
        self.features.add_module("norm-input", nn.BatchNorm2d(WIDTH))
        self.features.add_module("relu-input", nn.ReLU())
        channels = WIDTH
        for number, layers in enumerate(BLOCKS, start=1):
            block = nn.Sequential()
            for index in range(1, layers + 1):
                block.add_module(f"denselayer-{index}", DenseLayer(channels, index))
                channels += GROWTH
            self.features.add_module(f"denseblock-{number}", block)
            if number < len(BLOCKS):
                transition = nn.Sequential()
                transition.add_module("conv-trans", nn.Conv2d(channels, channels // 2, 1))
                transition.add_module("norm-trans", nn.BatchNorm2d(channels // 2))
                transition.add_module("relu-trans", nn.ReLU())
                self.features.add_module(f"transition-{number}", transition)
                channels //= 2
        self.features.add_module("conv1-output", nn.Conv2d(channels, channels // 2, 3, padding=1))
        self.features.add_module("norm-output", nn.BatchNorm2d(channels // 2))
        self.features.add_module("relu-output", nn.ReLU())
        self.features.add_module("conv2-output", nn.Conv2d(channels // 2, 1, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Take the noise off the slice."""
        return image - self.features(image)


class DenoisingNetwork(nn.Module):
    """Slice (N, 1, height, width), standardised with MEAN_HU and DEVIATION_HU, in; denoised slice in HU out."""

    def __init__(self) -> None:
        super().__init__()
        self.F = ResidualDenseNetwork()
        self.S = ResidualDenseNetwork()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the denoised slice."""
        # Back to the unit of the image.
        return self.S(self.F(image)) * DEVIATION_HU + MEAN_HU


def build() -> nn.Module:
    """Build the network without weights.

    Returns
    -------
    nn.Module
        The network.
    """
    return DenoisingNetwork()
