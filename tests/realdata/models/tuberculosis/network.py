"""MobileNetV2 that grades a frontal chest radiograph for tuberculosis.

The network is that of alvinchow97/tb-xray-analysis (MIT), with batch normalisation already folded into the
convolutions, so every convolution has a bias and nothing in between needs statistics.
"""

from __future__ import annotations

import torch
from torch import nn

# (channels out, expansion of the channels in, stride) of the 17 inverted residual blocks.
BLOCKS: tuple[tuple[int, int, int], ...] = (
    (16, 1, 1),
    *((24, 6, stride) for stride in (2, 1)),
    *((32, 6, stride) for stride in (2, 1, 1)),
    *((64, 6, stride) for stride in (2, 1, 1, 1)),
    *((96, 6, stride) for stride in (1, 1, 1)),
    *((160, 6, stride) for stride in (2, 1, 1)),
    (320, 6, 1),
)


def padding(stride: int) -> nn.ZeroPad2d:
    """Zero padding of a 3x3 convolution in the manner of TensorFlow.

    Parameters
    ----------
    stride : int
        Stride of the convolution that follows.

    Returns
    -------
    nn.ZeroPad2d
        One pixel all around for stride 1, one at the right and the bottom only for stride 2.
    """
    return nn.ZeroPad2d(1) if stride == 1 else nn.ZeroPad2d((0, 1, 0, 1))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; add the input where the shapes allow it.

    Parameters
    ----------
    inputs, outputs : int
        Number of channels.
    expansion : int
        Factor by which the channels grow in between; 1 leaves the expansion out.
    stride : int
        Stride of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and inputs == outputs
        if self.expands:
            self.expand = nn.Conv2d(inputs, width, 1)
            self.expand_activation = nn.ReLU6()
        self.depthwise_padding = padding(stride)
        self.depthwise = nn.Conv2d(width, width, 3, stride=stride, groups=width)
        self.depthwise_activation = nn.ReLU6()
        self.project = nn.Conv2d(width, outputs, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the feature maps of the block."""
        hidden = self.expand_activation(self.expand(image)) if self.expands else image
        hidden = self.depthwise_activation(self.depthwise(self.depthwise_padding(hidden)))
        hidden = self.project(hidden)
        return image + hidden if self.adds else hidden


class TuberculosisNetwork(nn.Module):
    """Radiograph (N, 3, 224, 224) scaled to -1..1 in, logit (N, 1) of tuberculosis out.

    The last feature map, 1280 channels of 7x7 after its activation, is the output of the module ``features``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem_padding = padding(2)
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.stem_activation = nn.ReLU6()
        channels = 32
        for index, (outputs, expansion, stride) in enumerate(BLOCKS):
            self.add_module(f"block{index}", InvertedResidual(channels, outputs, expansion, stride))
            channels = outputs
        self.last = nn.Conv2d(channels, 1280, 1)
        self.features = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(1280, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the logit, before the sigmoid."""
        hidden = self.stem_activation(self.stem(self.stem_padding(image)))
        for index in range(len(BLOCKS)):
            hidden = self.get_submodule(f"block{index}")(hidden)
        return self.fc(self.flatten(self.pool(self.features(self.last(hidden)))))


def build() -> nn.Module:
    """Build the network without weights.

    Returns
    -------
    nn.Module
        The network.
    """
    return TuberculosisNetwork()
