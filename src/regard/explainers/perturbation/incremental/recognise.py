"""Which local operation a node of a graph is, if it is one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from regard.core.spatial import n_space, space
from regard.explainers.perturbation.incremental.operations import (
    AbstractOperation,
    Averaged,
    Bordered,
    Elementwise,
    Linear,
    Repeated,
    Sliding,
    Spreading,
)
from regard.explainers.perturbation.incremental.trace import Traced, invoke, writes_in_place

__all__ = ["recognise"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_MAXIMA = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEANS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAXIMUM = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEAN = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

_PADS = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}
_ZERO_PADS = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d, 3: nn.ZeroPad3d}

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POINTWISE = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid),
    *(nn.Tanh, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Hardtanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.LogSigmoid, nn.Threshold),
)
_POINTWISE_NAMES = {
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh"),
    *("softplus", "softsign", "tanhshrink", "softshrink", "hardshrink", "hardtanh", "hardswish", "hardsigmoid"),
    *("logsigmoid", "threshold", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"),
    *("abs", "neg", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "pow", "clamp", "clip"),
    *("sin", "cos", "erf", "add", "sub", "mul", "div", "true_divide", "truediv", "maximum", "minimum"),
    *("iadd", "isub", "imul", "itruediv", "clone", "contiguous", "detach"),
}
_JOINED = {"cat", "concat", "concatenate"}


def recognise(
    node: fx.Node, traced: Traced, changed: Sequence[fx.Node], clean: Mapping[fx.Node, Any]
) -> AbstractOperation | None:
    """The local operation of a node, or None when it must be run on whole tensors.

    Parameters
    ----------
    node
        A call.
    traced
        What it belongs to.
    changed
        Its inputs that windows change; all of them known as patches.
    clean
        Values of all its inputs for the unhidden input, a batch of one.
    """
    x = clean[changed[0]]
    if not isinstance(x, Tensor) or n_space(x) not in _CONVOLUTIONS or x.shape[0] != 1:
        return None
    if any(n_space(clean[other]) != n_space(x) or space(clean[other]) != space(x) for other in changed[1:]):
        return None
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        if module._forward_hooks or module._forward_pre_hooks or len(node.args) != 1 or node.kwargs:
            return None
        return _of_module(node, module, traced, x)
    return _of_function(node, traced, changed, clean)


def _is(module: nn.Module, *classes: type[nn.Module]) -> bool:
    """Whether a module is one of the classes itself; what a subclass changes is not known."""
    return type(module) in classes and "forward" not in module.__dict__


def _of_module(node: fx.Node, module: Any, traced: Traced, x: Tensor) -> AbstractOperation | None:
    n = n_space(x)
    (input,) = node.args
    assert isinstance(input, fx.Node)
    if module.training:
        return None
    channels_softmax = _is(module, nn.Softmax, nn.LogSoftmax) and module.dim in (1, 1 - x.ndim)
    normalises = _is(module, *_NORMS) and module.running_mean is not None
    if _is(module, *_POINTWISE) or normalises or channels_softmax:
        return _elementwise(node, traced, (input,), {})
    if _is(module, _PADS[n], _ZERO_PADS[n]):
        return _padded(input, x, module.padding, module.value)
    if _is(module, _CONVOLUTIONS[n]) and module.padding_mode == "zeros":
        names = ("weight", "bias", "stride", "padding", "dilation", "groups")
        return _convolution(input, x, *[getattr(module, name) for name in names])
    if _is(module, _TRANSPOSED[n]):
        names = ("weight", "bias", "stride", "padding", "groups", "dilation")
        return _transposed(input, x, *[getattr(module, name) for name in names])
    if _is(module, _MAXIMA[n]) and not module.return_indices:
        return _maximum(input, x, module.kernel_size, module.stride, module.padding, module.dilation)
    if _is(module, _MEANS[n]):
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        settings: list[Any] = [getattr(module, name, None) for name in names]
        return _mean(input, x, *settings)
    if _is(module, nn.Upsample):
        corners, again = module.align_corners, module.recompute_scale_factor
        return _enlarged(input, x, space(module(x)), module.mode, corners, again)
    return None


def _of_function(
    node: fx.Node, traced: Traced, changed: Sequence[fx.Node], clean: Mapping[fx.Node, Any]
) -> AbstractOperation | None:
    x, n, target = clean[changed[0]], n_space(clean[changed[0]]), node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", "").lstrip("_")
    name = name.rstrip("_")
    constants = {i: clean[i] for i in node.all_input_nodes if i not in changed}
    if name in _POINTWISE_NAMES and _from_torch(target):
        pairs = all(_broadcasts(c, x) for c in constants.values()) and node.args[:1] != ()
        if name == "prelu":
            pairs = node.args[0] is changed[0] and len(changed) == 1
        random = "dropout" in name and _argument(node, 2, "training", True) is not False
        return _elementwise(node, traced, changed, constants) if pairs and not random else None
    if name in _JOINED and _from_torch(target):
        along_channels = _argument(node, 1, "dim", 0) in (1, 1 - x.ndim)
        return _elementwise(node, traced, changed, {}) if along_channels and not constants else None
    if name in ("softmax", "log_softmax") and _from_torch(target):
        along_channels = _argument(node, 1, "dim", None) in (1, 1 - x.ndim)
        return _elementwise(node, traced, changed, constants) if along_channels and not constants else None
    if len(changed) != 1 or not node.args or node.args[0] is not changed[0] or isinstance(target, str):
        return None

    def read(*names: tuple[str, Any]) -> list[Any]:
        found = [_argument(node, place, name, default) for place, (name, default) in enumerate(names, start=1)]
        return [fx.map_arg(v, clean.__getitem__) for v in found]

    source, bias, one, zero = changed[0], ("bias", None), 1, 0
    if target is _CONVOLVE[n]:
        found = read(("weight", None), bias, ("stride", one), ("padding", zero), ("dilation", one), ("groups", one))
        return _convolution(source, x, *found)
    if target is _TRANSPOSE[n]:
        tail = (("stride", one), ("padding", zero), ("output_padding", zero), ("groups", one), ("dilation", one))
        weight, offset, stride, padding, _, groups, dilation = read(("weight", None), bias, *tail)
        return _transposed(source, x, weight, offset, stride, padding, groups, dilation)
    if target is _MAXIMUM[n]:
        found = read(("kernel_size", None), ("stride", None), ("padding", zero), ("dilation", one))
        return _maximum(source, x, *found) if _argument(node, 6, "return_indices", False) is False else None
    if target is _MEAN[n]:
        kernel = (("kernel_size", None), ("stride", None), ("padding", zero))
        counting = (("ceil_mode", False), ("count_include_pad", True), ("divisor_override", None))
        return _mean(source, x, *read(*kernel, *counting))
    if target is functional.interpolate:
        mode, corners = _argument(node, 3, "mode", "nearest"), _argument(node, 4, "align_corners", None)
        again = _argument(node, 5, "recompute_scale_factor", None)
        size = space(invoke(node, traced, clean))
        return None if node.kwargs.get("antialias") else _enlarged(source, x, size, mode, corners, again)
    return None


def _from_torch(target: Any) -> bool:
    if isinstance(target, str):
        return True
    module = getattr(target, "__module__", None) or type(getattr(target, "__self__", None)).__module__
    return module in ("torch", "torch._C._nn", "torch.nn.functional", "_operator", "operator", "builtins") or (
        getattr(torch, getattr(target, "__name__", ""), None) is target
    )


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _broadcasts(constant: Any, x: Tensor) -> bool:
    """Whether a constant is one number, or the same at every place of ``x``."""
    if not isinstance(constant, Tensor):
        return False
    beside_places = constant.shape[max(0, constant.ndim - n_space(x)) :]
    return constant.ndim <= x.ndim and math.prod(beside_places) == 1 and (constant.ndim < x.ndim or len(constant) == 1)


def _elementwise(
    node: fx.Node, traced: Traced, inputs: Sequence[fx.Node], constants: Mapping[fx.Node, Any]
) -> Elementwise:
    in_place = writes_in_place(node, traced)

    def run(patches: Mapping[fx.Node, Tensor]) -> Tensor:
        values = {**constants, **patches}
        first = node.args[0]
        if in_place and isinstance(first, fx.Node):
            values[first] = values[first].clone()
        return invoke(node, traced, values)  # type: ignore[no-any-return]

    return Elementwise(tuple(inputs), run)


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    values = (value,) * n if isinstance(value, int) else tuple(value)
    return values * n if len(values) == 1 else values


def _padded(input: fx.Node, x: Tensor, padding: Sequence[int], value: float) -> AbstractOperation | None:
    n = n_space(x)
    low, high = tuple(padding)[0::2][::-1], tuple(padding)[1::2]
    if min(*low, *high, 0) < 0:
        return None  # it crops
    one = (1,) * n
    return Bordered(input, one, one, low, one, lambda patch: patch, value)


def _convolution(
    input: fx.Node, x: Tensor, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> AbstractOperation | None:
    n = n_space(x)
    kernel, stride, dilation = space(weight), _tuple(stride, n), _tuple(dilation, n)
    if padding == "same":
        low = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    else:
        low = (0,) * n if padding == "valid" else _tuple(padding, n)

    def run(patch: Tensor) -> Tensor:
        return _CONVOLVE[n](patch, weight, bias, stride, 0, dilation, groups)

    return Sliding(input, kernel, stride, low, dilation, run)


def _transposed(
    input: fx.Node, x: Tensor, weight: Any, bias: Any, stride: Any, padding: Any, groups: int, dilation: Any
) -> AbstractOperation | None:
    n = n_space(x)
    stride, padding, dilation = _tuple(stride, n), _tuple(padding, n), _tuple(dilation, n)

    def run(patch: Tensor) -> Tensor:
        return _TRANSPOSE[n](patch, weight, bias, stride, 0, 0, groups, dilation)

    return Spreading(input, space(weight), stride, padding, dilation, run)


def _maximum(
    input: fx.Node, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> AbstractOperation | None:
    n = n_space(x)
    kernel, padding, dilation = _tuple(kernel, n), _tuple(padding, n), _tuple(dilation, n)
    stride = kernel if stride is None or stride == () else _tuple(stride, n)

    def run(patch: Tensor) -> Tensor:
        return _MAXIMUM[n](patch, kernel, stride, 0, dilation)  # type: ignore[no-any-return]

    return Sliding(input, kernel, stride, padding, dilation, run, -math.inf)


def _mean(
    input: fx.Node,
    x: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> AbstractOperation | None:
    n = n_space(x)
    kernel, padding = _tuple(kernel, n), _tuple(padding, n)
    stride = kernel if stride is None or stride == () else _tuple(stride, n)
    factors = []
    for size, k, s, p in zip(space(x), kernel, stride, padding, strict=True):
        start = np.arange(size + 2 * p) * s - p  # of more places than there are
        stop = np.minimum(start + k, size + p)
        counted = stop - start if count_include_pad else np.minimum(stop, size) - np.maximum(start, 0)
        factors.append(torch.from_numpy(k / np.maximum(counted, 1)).to(x))
    if divisor_override:
        factors = [torch.ones_like(f) for f in factors]
        factors[0] *= math.prod(kernel) / divisor_override

    def run(patch: Tensor) -> Tensor:
        return _MEAN[n](patch, kernel, stride)

    return Averaged(Sliding(input, kernel, stride, padding, (1,) * n, run), tuple(factors))


def _enlarged(
    input: fx.Node, x: Tensor, size: Sequence[int], mode: str, corners: bool | None, again: bool | None
) -> AbstractOperation | None:
    n = n_space(x)
    ratio = tuple(after // before for after, before in zip(size, space(x), strict=True))
    whole = all(r * before == after for r, after, before in zip(ratio, size, space(x), strict=True))
    if mode not in ("nearest", "nearest-exact", _LINEAR[n]) or corners or again or not whole:
        return None

    def run(patch: Tensor) -> Tensor:
        return functional.interpolate(patch, scale_factor=[float(r) for r in ratio], mode=mode)

    return (Linear if mode == _LINEAR[n] else Repeated)(input, space(x), ratio, run)
