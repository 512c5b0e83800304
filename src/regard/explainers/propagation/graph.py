"""What a network computed, read from its autograd graph: an operation without a rule is refused by name."""

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from regard.core.errors import CapabilityError

__all__ = ["is_gate", "refuse_unknown"]

# Linear, or one of the inputs is picked: the plain derivative divides relevance in the parts that were added up.
_PLAIN_NAMES = """
AccumulateGrad Add Addmm Addmv Alias AsStrided AvgPool1D AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D
AdaptiveMaxPool1D AdaptiveMaxPool2D AdaptiveMaxPool3D Amax Amin Abs Baddbmm Bmm Broadcast Cat Clone Col2Im
ConstantPadNd Convolution Copy CopySlices Cumsum Detach Diagonal Div Dot Expand FlipBackward Flip Gather Im2Col Index
IndexSelect LeakyRelu Linear Max MaskedFill MaskedSelect MaxPool2DWithIndices MaxPool3DWithIndices MaxPool1D Maximum
Mean Min Minimum MkldnnConvolution MkldnnMaxPool2D MkldnnMaxPool3D Mm Movedim Mul Mv Narrow NativeBatchNorm
CudnnBatchNorm MiopenBatchNorm Neg Permute PixelShuffle PixelUnshuffle PreluKernel Prelu ReflectionPad1D
ReflectionPad2D ReflectionPad3D Relu Repeat RepeatInterleave ReplicationPad1D ReplicationPad2D ReplicationPad3D
ReshapeAlias Roll RreluWithNoise Rsub Scatter ScatterAdd Select Slice SliceScatter SelectScatter Softmax Split
SplitWithSizes Squeeze Stack Std Sub Sum T TakeAlongDim ToCopy Transpose Tril Triu Unbind Unfold UnsafeSplit
UnsafeView Unsqueeze UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D UpsampleNearestExact1D
UpsampleNearestExact2D UpsampleNearestExact3D UpsampleLinear1D UpsampleBilinear2D UpsampleTrilinear3D
UpsampleBicubic2D View Where Zeros LinalgVectorNorm Norm NativeChannelShuffle ChannelShuffle PassBack Gate Clamp
"""
_PLAIN = frozenset(_PLAIN_NAMES.split())
_PRODUCTS = frozenset(["Mul", "Bmm", "Mm", "Mv", "Dot", "Div", "Convolution", "Linear"])
_SHAPES = frozenset(
    ["View", "UnsafeView", "ReshapeAlias", "Expand", "Unsqueeze", "Squeeze", "Permute", "Transpose", "Clone", "T"]
)


def _kind(node: Any) -> str:
    return re.sub(r"(Backward|Backwards)?\d*$", "", node.name().rsplit("::", 1)[-1]).lstrip("_").removeprefix("unsafe_")


def _nodes(output: Tensor) -> Iterator[Any]:
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(n for n, _ in node.next_functions)


def is_gate(x: Tensor) -> bool:
    """Whether a tensor is a sigmoid's output, but for its shape."""
    node: Any = x.grad_fn
    while node is not None and _kind(node) in _SHAPES | {"UpsampleBilinear2D", "UpsampleTrilinear3D"}:
        node = node.next_functions[0][0]
    return node is not None and _kind(node) == "Gate"


def refuse_unknown(output: Tensor, n_products: int) -> None:
    """Refuse what has no rule.

    Parameters
    ----------
    output
        What was computed, with its graph.
    n_products
        Products of two activations that a rule was applied to.

    Raises
    ------
    CapabilityError
        If an operation is not known, or a product was not met.
    """
    met = 0
    for node in _nodes(output):
        kind = _kind(node)
        if kind not in _PLAIN:
            raise CapabilityError(
                f"the operation {node.name()} in the network, for which lrp has no rule",
                "convolutions, linear layers, norms, pooling, attention and common activations",
                "choose integrated-gradients",
            )
        met += kind in _PRODUCTS and sum(n is not None for n, _ in node.next_functions[:2]) > 1
    if met > n_products:
        raise CapabilityError(
            f"{met - n_products} products of two activations that lrp did not meet as calls",
            "a network in plain PyTorch",
            "choose integrated-gradients",
        )
