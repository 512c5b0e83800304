"""VGG-16 as a feature extractor: cut before its last pooling, mean over space, one dense layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regard.core.errors import InputError
from regard.core.spatial import space_axes

__all__ = ["VGG16", "vgg16"]

_BLOCKS = (2, 2, 3, 3, 3)


class VGG16(nn.Module):
    """The thirteen convolutions of VGG-16, global average pooling, dropout, a dense layer.

    Parameters
    ----------
    channels
        Channels of the input (batch, channels, row, column).
    outputs
        Numbers that come out, (batch, outputs), before their softmax.
    width
        Channels of the first block; 64 as published, and doubled three times.
    dropout
        Probability between the pooled features and the dense layer.

    Notes
    -----
    Parameters are named as torchvision names them, ``features.0.weight`` to ``features.28.bias``, so that the
    convolutions of its ``vgg16`` load by `load_convolutions`.

    Simonyan and Zisserman 2015 (arXiv 1409.1556); cut at block5_conv3 with global average pooling, dropout 0.5 and two
    outputs by Rajaraman et al., Diagnostics 2021 (10.3390/diagnostics11050840).
    """

    def __init__(self, channels: int = 3, outputs: int = 2, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"width={width}", "at least 1")
        layers: list[nn.Module] = []
        before = channels
        for n, convolutions in enumerate(_BLOCKS):
            if n:
                layers.append(nn.MaxPool2d(2, 2))
            after = width * min(2**n, 8)
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(before, outputs)

    def pooled(self, x: Tensor) -> Tensor:
        """Features after global average pooling, (batch, 8 width)."""
        features: Tensor = self.features(x)
        return features.mean(space_axes(features))

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, row, column) to logits (batch, outputs)."""
        return self.classifier(self.dropout(self.pooled(x)))  # type: ignore[no-any-return]

    def load_convolutions(self, state: dict[str, Tensor]) -> Sequence[str]:
        """Take the convolutions of a state dictionary that has torchvision's names; its dense layers are left out.

        Returns
        -------
        sequence of str
            The names that were taken.

        Raises
        ------
        InputError
            If a convolution is missing or has another shape.
        """
        own = {f"features.{n}": t for n, t in self.features.state_dict().items()}
        for name, tensor in own.items():
            if name not in state:
                raise InputError(f"no '{name}' in the weights", "VGG-16 with torchvision's names")
            if state[name].shape != tensor.shape:
                raise InputError(
                    f"{name} of shape {tuple(state[name].shape)}",
                    f"{tuple(tensor.shape)}",
                    "build the network with the width and channels of the weights",
                )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])
        return list(own)


def vgg16(channels: int = 3, outputs: int = 2, width: int = 64, dropout: float = 0.5) -> nn.Module:
    """Build a `VGG16`; parameters as there."""
    return VGG16(channels, outputs, width, dropout)
