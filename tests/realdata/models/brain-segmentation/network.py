"""MeshNet that segments a T1-weighted head into 18 classes.

The network is "model18cls" of neuroneural/brainchop, ported to niivue/niivue-brainchop (MIT).
"""

from __future__ import annotations

import torch
from torch import nn

DILATIONS: tuple[int, ...] = (1, 2, 4, 8, 16, 8, 4, 2, 1)


class MeshNet(nn.Module):
    """Head (N, 1, *space) of 1 mm voxels scaled to 0..1 in, logits (N, classes, *space) out.

    Parameters
    ----------
    channels : int
        Width of the hidden layers.
    classes : int
        Number of classes, the background among them.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        inputs = 1
        for index, dilation in enumerate(DILATIONS):
            convolution = nn.Conv3d(inputs, channels, 3, padding=dilation, dilation=dilation)
            self.add_module(f"conv{index}", convolution)
            self.add_module(f"activation{index}", nn.ELU())
            inputs = channels
        self.add_module(f"conv{len(DILATIONS)}", nn.Conv3d(channels, classes, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        hidden = image
        for module in self.children():
            hidden = module(hidden)
        return hidden


def build(channels: int = 21, classes: int = 18) -> nn.Module:
    """Build the network without weights.

    Parameters
    ----------
    channels : int
        Width of the hidden layers.
    classes : int
        Number of classes, the background among them.

    Returns
    -------
    nn.Module
        The network.
    """
    return MeshNet(channels, classes)
