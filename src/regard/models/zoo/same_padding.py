"""Convolutions that pad as Keras does with ``padding="same"``."""

from collections.abc import Sequence

from torch import nn

from regard.models.zoo.layers import layer

__all__ = ["halved", "same_conv"]


def halved(shape: Sequence[int]) -> tuple[int, ...]:
    """Cells along each axis after a stride of 2 with ``padding="same"``."""
    return tuple(-(-n // 2) for n in shape)


def same_conv(shape: Sequence[int], before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution whose output has ``ceil(n / stride)`` cells along an axis of n voxels.

    With stride 2 and an even axis the one voxel of padding lies at the end, where Keras puts it; torch's ``padding=1``
    would put it at the start and move every cell of a deep layer by a voxel for each halving.

    Parameters
    ----------
    shape
        Voxels of the input (\\*space): its padding is fixed when it is built.
    before, after
        Channels of the input (batch, before, \\*space) and of the output.
    kernel, stride
        Of the convolution, along every axis.
    """
    padding: list[int] = []
    for n in reversed(shape):
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        padding += [total // 2, total - total // 2]
    steps = nn.Sequential()
    if any(padding):
        steps.add_module("pad", layer("ConstantPad", len(shape))(tuple(padding), 0.0))
    steps.add_module("conv", layer("Conv", len(shape))(before, after, kernel, stride=stride))
    return steps
