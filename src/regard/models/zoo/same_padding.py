"""Convolutions that pad as Keras does with ``padding="same"``."""

from torch import Tensor, nn
from torch.nn import functional

from regard.models.zoo.layers import layer

__all__ = ["SameConv"]


class SameConv(nn.Module):
    """A convolution whose output has ``ceil(n / stride)`` cells along an axis of n voxels.

    With stride 2 and an even axis the one voxel of padding lies at the end, where Keras puts it; torch's ``padding=1``
    would put it at the start and move every cell of a deep layer by a voxel for each halving.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes, 1 to 3.
    before, after
        Channels of the input (batch, before, \\*space) and of the output.
    kernel, stride
        Of the convolution, along every axis.
    """

    def __init__(self, spatial_dims: int, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = layer("Conv", spatial_dims)(before, after, kernel, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, before, \\*space) to (batch, after, \\*space / stride)."""
        padding: list[int] = []
        for n in reversed(x.shape[2:]):
            total = max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0)
            padding += [total // 2, total - total // 2]
        return self.conv(functional.pad(x, padding) if any(padding) else x)  # type: ignore[no-any-return]
