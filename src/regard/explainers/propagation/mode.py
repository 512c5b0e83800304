"""Layer-wise relevance propagation as another backward pass: each call of the network gets the rule of its kind."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from regard.core.errors import CapabilityError
from regard.explainers.elementary import ElementaryMode
from regard.explainers.propagation.graph import is_gate
from regard.explainers.propagation.norms import NORMS
from regard.explainers.propagation.rules import Rule, divide, halve, pass_back, pass_whole

__all__ = ["RelevanceMode"]

_LAYERS = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
)
# fmt: off
_WHOLE = frozenset([
    "gelu", "silu", "tanh", "tanh_", "elu", "elu_", "selu", "selu_", "celu", "celu_", "mish", "softplus", "softsign",
    "hardswish", "hardtanh", "hardtanh_", "relu6", "clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max", "clip",
    "hardshrink", "softshrink", "tanhshrink", "threshold", "threshold_", "square", "sqrt", "pow", "__pow__",
    "logsigmoid",
])
# fmt: on
_GATES = frozenset(["sigmoid", "sigmoid_", "hardsigmoid"])
_PRODUCTS = frozenset(["mul", "__mul__", "__rmul__", "multiply", "mul_", "__imul__", "multiply_"])
_QUOTIENTS = frozenset(
    ["div", "__truediv__", "true_divide", "divide", "div_", "__itruediv__", "__rtruediv__", "__div__", "__rdiv__"]
)
_MATRIX = frozenset(["matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "dot", "einsum"])
_SCALES = frozenset(["rsqrt", "reciprocal"])
_REFUSED = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"])
_SUMS = frozenset(["addmm", "baddbmm", "addbmm", "addcmul", "glu"])


def _carries(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


class RelevanceMode(ElementaryMode):
    """Within this context the backward pass of what is computed carries relevance instead of the derivative.

    No module is touched. Values are those of the network itself.

    Parameters
    ----------
    rule, epsilon, gamma
        As in `divide`.
    """

    def __init__(self, rule: Rule, epsilon: float, gamma: float) -> None:
        super().__init__()
        self.rule, self.epsilon, self.gamma = rule, 0.0 if rule == "0" else epsilon, gamma
        self.n_products = 0

    def met(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        args = list(args)
        if name in _LAYERS:
            return self._layer(func, args, kwargs)
        if name in _WHOLE or name in _GATES:
            return self._elementwise(func, name, args, kwargs)
        if name in _PRODUCTS or name in _QUOTIENTS:
            return self._product(func, name, args, kwargs)
        if name in _MATRIX:
            return self._matrix(func, name, args, kwargs)
        if name in NORMS:
            return _norm(func, name, args, kwargs)
        if name in _SCALES:
            # What an activation is divided by is held constant, as a norm's size is.
            return func(*[a.detach() if isinstance(a, Tensor) else a for a in args], **kwargs)
        if name in _REFUSED:
            raise CapabilityError(
                f"the operation {name} in the network, for which lrp has no rule",
                "convolutions, linear layers, norms, pooling, attention and common activations",
                "choose integrated-gradients",
            )
        if name in _SUMS:
            with self:
                return _written_out(name, args, kwargs)
        return func(*args, **kwargs)

    def _divided(self, run: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return divide(run, x, weight, bias, self.rule, self.epsilon, self.gamma)

    def _halved(self, product: Tensor) -> Tensor:
        self.n_products += 1
        return halve(product, self.epsilon)

    def _layer(self, func: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        for name in ("input", "weight", "bias")[len(args) :]:
            args.append(kwargs.pop(name, None))
        x, weight, bias, *rest = args
        if not _carries(x):
            if _carries(weight) or _carries(bias):
                raise CapabilityError(
                    "a layer whose weights depend on the input and whose input does not",
                    "weights that are constant",
                    "choose integrated-gradients",
                )
            return func(x, weight, bias, *rest, **kwargs)
        if _carries(weight):
            return self._halved(func(x, weight, bias, *rest, **kwargs))
        return self._divided(lambda a, w, b: func(a, w, b, *rest, **kwargs), x, weight, bias)

    def _elementwise(self, func: Callable[..., Any], name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs.pop("input")
        rest = args[1:]
        if not _carries(x):
            return func(x, *rest, **kwargs)
        if any(_carries(r) for r in [*rest, *kwargs.values()]):
            return func(x, *rest, **kwargs)
        if name in ("pow", "__pow__") and rest and not isinstance(rest[0], Tensor) and rest[0] < 0:
            return func(x.detach(), *rest, **kwargs)
        before = x.clone()
        value = func(x.detach().clone(), *rest, **kwargs)
        made = pass_whole(before, value, gate=name in _GATES)
        in_place = name.endswith("_") and not name.endswith("__")
        in_place = in_place or kwargs.get("inplace") is True or any(r is True for r in rest)
        return x.copy_(made) if in_place else made

    def _product(self, func: Callable[..., Any], name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        a, b = args[0], args[1] if len(args) > 1 else kwargs.pop("other")
        rest = args[2:]
        quotient = name in _QUOTIENTS
        if quotient:
            upside_down = name in ("__rtruediv__", "__rdiv__")
            if upside_down and isinstance(a, Tensor):
                return func(a.detach(), b, *rest, **kwargs)
            b = b.detach() if isinstance(b, Tensor) else b
            return func(a, b, *rest, **kwargs)
        if not (_carries(a) and _carries(b)):
            return func(a, b, *rest, **kwargs)
        in_place = name in ("mul_", "__imul__", "multiply_")
        if is_gate(a) != is_gate(b):
            # The signal takes all; the gate is held constant.
            signal, gate = (b, a.detach()) if is_gate(a) else (a, b.detach())
            made = signal * gate
        else:
            made = self._halved(a * b)
        return a.copy_(made) if in_place else made

    def _matrix(self, func: Callable[..., Any], name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        front = args[:1] if name == "einsum" else []
        operands = args[1:] if name == "einsum" else args
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = list(operands[0])
        for key in ("other", "mat2", "vec", "tensor"):
            if len(operands) < 2 and key in kwargs:
                operands.append(kwargs.pop(key))
        carrying = [n for n, t in enumerate(operands) if _carries(t)]
        if not carrying:
            return func(*args, **kwargs)
        if len(operands) == 1:
            return func(*front, *operands, **kwargs)
        if len(operands) > 2:
            raise CapabilityError(
                f"an einsum of {len(operands)} tensors", "two at a time", "choose integrated-gradients"
            )
        if len(carrying) > 1:
            return self._halved(func(*front, *operands, **kwargs))

        def run(x: Tensor, weight: Tensor, _: Tensor | None) -> Tensor:
            pair = (x, weight) if carrying[0] == 0 else (weight, x)
            made: Tensor = func(*front, *pair, **kwargs)
            return made

        return self._divided(run, operands[carrying[0]], operands[1 - carrying[0]], None)


def _norm(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A norm whose size is held constant (identity rule), so that relevance passes as through a scale."""
    x = args[0] if args else kwargs["input"]
    held = NORMS[name](*args, **kwargs) if _carries(x) else None
    if held is None:
        return func(*args, **kwargs)
    fixed = [a.detach() if isinstance(a, Tensor) else a for a in args]
    named = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kwargs.items()}
    return pass_back(held(x), func(*fixed, **named), None)


def _written_out(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """Sums and products in one call, as the elementary calls that they stand for."""
    if name == "glu":
        axis = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        signal, gate = args[0].chunk(2, axis)
        return signal * torch.sigmoid(gate)  # type: ignore[no-any-return]
    start, a, b = args[:3]
    if name == "addcmul":
        return start + kwargs.get("value", 1) * (a * b)  # type: ignore[no-any-return]
    made = torch.matmul(a, b)
    made = made.sum(0) if name == "addbmm" else made
    return kwargs.get("beta", 1) * start + kwargs.get("alpha", 1) * made  # type: ignore[no-any-return]
