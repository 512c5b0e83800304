"""The Simple Fully Convolutional Network."""

from collections.abc import Sequence

from torch import Tensor, nn

from regard.core.errors import ShapeError
from regard.models.zoo.layers import layer

__all__ = ["SFCN", "sfcn"]


class SFCN(nn.Module):
    """Blocks of convolution, batch norm, pooling and ReLU, averaged over space; no dense layer.

    Every block but the last is a 3-wide convolution and halves the image; the last is 1 wide and keeps it.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes, 1 to 3.
    channels
        Channels of the input (batch, channels, \\*space).
    outputs
        Numbers that come out, (batch, outputs): one for regression, or scores of soft bins before their softmax.
    widths
        Channels of each block.
    dropout
        Before the last layer.

    Notes
    -----
    Peng, Gong, Beckmann, Vedaldi and Smith, Medical Image Analysis 2021 (brain age, 40 bins). Modules are named as
    there, so that the published weights fit; their log-softmax is left to the target (`Expectation`).
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        channels: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 256, 64),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ShapeError(f"widths={tuple(widths)}", "at least two blocks")
        conv, norm, pool = (layer(n, spatial_dims) for n in ("Conv", "BatchNorm", "MaxPool"))
        self.feature_extractor = nn.Sequential()
        for n, (before, width) in enumerate(zip((channels, *widths), widths, strict=False)):
            last = n == len(widths) - 1
            steps = [conv(before, width, 1 if last else 3, padding=0 if last else 1), norm(width)]
            steps += [] if last else [pool(2)]
            self.feature_extractor.add_module(f"conv_{n}", nn.Sequential(*steps, nn.ReLU()))
        self.classifier = nn.Sequential()
        self.classifier.add_module("average_pool", layer("AdaptiveAvgPool", spatial_dims)(1))
        self.classifier.add_module("dropout", nn.Dropout(dropout))
        self.classifier.add_module(f"conv_{len(widths)}", conv(widths[-1], outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, \\*space) to (batch, outputs)."""
        return self.classifier(self.feature_extractor(x)).flatten(1)  # type: ignore[no-any-return]


def sfcn(
    spatial_dims: int = 3,
    channels: int = 1,
    outputs: int = 1,
    widths: Sequence[int] = (32, 64, 128, 256, 256, 64),
    dropout: float = 0.5,
) -> nn.Module:
    """Build an `SFCN`; parameters as there."""
    return SFCN(spatial_dims, channels, outputs, widths, dropout)
