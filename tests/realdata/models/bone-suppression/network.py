"""Convolutional autoencoder that takes the ribs out of a frontal chest radiograph.

The network is the "Kalisz AE" of xKev1n/xU-NetFullSharp (MIT), trained in Keras at 512x512.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

GREY_LEVELS = 255.0


class BoneSuppressionNetwork(nn.Module):
    """Radiograph (N, 1, 512, 512) scaled to 0..1 in, soft-tissue image in grey levels 0..255 out.

    The height and the width of the image have to be multiples of 8.
    """

    def __init__(self) -> None:
        super().__init__()
        encoder = ((1, 32, 1), (32, 32, 2), (32, 48, 2), (48, 48, 2))
        decoder = ((48, 48, 2), (48, 48, 2), (48, 32, 2), (32, 32, 1))
        self.enc = nn.ModuleList(nn.Conv2d(inputs, outputs, 4, stride) for inputs, outputs, stride in encoder)
        self.enc_activation = nn.ModuleList(nn.ReLU() for _ in encoder)
        self.dec = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 4, stride, padding=1) for inputs, outputs, stride in decoder
        )
        self.dec_activation = nn.ModuleList(nn.ReLU() for _ in decoder)
        self.out = nn.Conv2d(32, 1, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the soft-tissue image."""
        hidden = image
        for convolution, activation in zip(self.enc, self.enc_activation, strict=True):
            # TensorFlow pads an even kernel by one before and two after at stride 1, one on each side at stride 2.
            after = 2 if convolution.stride == (1, 1) else 1
            hidden = activation(convolution(functional.pad(hidden, (1, after, 1, after))))
        for convolution, activation in zip(self.dec, self.dec_activation, strict=True):
            rows, columns = (size * step for size, step in zip(hidden.shape[-2:], convolution.stride, strict=True))
            hidden = activation(convolution(hidden)[..., :rows, :columns])
        # Back to the unit of the image, which the sigmoid leaves at 0..1.
        return GREY_LEVELS * self.sigmoid(self.out(hidden))


def build() -> nn.Module:
    """Build the network without weights.

    Returns
    -------
    nn.Module
        The network.
    """
    return BoneSuppressionNetwork()
