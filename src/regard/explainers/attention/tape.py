"""The attention probabilities of a forward pass, as they are used, and where its tokens come from."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from regard.explainers.elementary import ElementaryMode

__all__ = ["AttentionTape"]

# fmt: off
_SAME_WEIGHTS = frozenset([
    "dropout", "to", "type_as", "float", "double", "half", "bfloat16",
    "contiguous", "clone", "reshape", "view", "flatten", "unflatten", "permute",
])
# fmt: on
_PRODUCTS = frozenset(["matmul", "__matmul__", "bmm", "einsum"])
_CONVOLUTIONS = frozenset(["conv1d", "conv2d", "conv3d"])
_JOINS = frozenset(["cat", "concat", "concatenate"])


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            flat.append(value)
        elif isinstance(value, (list, tuple)):
            flat.extend(_tensors(value))
    return flat


class AttentionTape(ElementaryMode):
    """Within this context attention is noted: a softmax over the last axis that then multiplies something.

    Attributes
    ----------
    probabilities
        What attention multiplied with, in order, each (..., token, token), with its graph.
    other
        Shapes of attention that does not go from all tokens to all tokens.
    convolutions
        Places of the output of each convolution before the first attention.
    decoded
        Whether a convolution follows attention, as in a decoder.
    joins
        What was joined before the first attention, as the lengths along the axis of joining.
    """

    def __init__(self) -> None:
        super().__init__()
        self.probabilities: list[Tensor] = []
        self.other: list[tuple[int, ...]] = []
        self.convolutions: list[tuple[int, ...]] = []
        self.joins: list[tuple[int, ...]] = []
        self.decoded = False
        self._made: dict[int, Tensor] = {}
        # Numbers of objects are given out again when they die: they live as long as the tape.
        self._kept: list[Tensor] = []

    def met(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name in _PRODUCTS:
            self._used(_tensors([args, list(kwargs.values())]))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._note(name, args, kwargs, result)
        return result

    def _used(self, operands: Sequence[Tensor]) -> None:
        for operand in operands:
            weights = self._made.get(id(operand))
            if weights is None or any(weights is p for p in self.probabilities):
                continue
            if weights.ndim > 2 and weights.shape[-1] == weights.shape[-2]:
                self.probabilities.append(weights)
            else:
                self.other.append(tuple(weights.shape))

    def _note(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Tensor) -> None:
        if name in ("softmax", "_softmax"):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if result.ndim > 2 and axis in (-1, result.ndim - 1):
                self._mark(result, result)
        elif name in _SAME_WEIGHTS:
            operand = args[0] if args else kwargs.get("input")
            weights = self._made.get(id(operand))
            if weights is not None:
                self._mark(result, weights)
        elif name in _CONVOLUTIONS:
            self.decoded = bool(self.probabilities)
            if not self.decoded:
                self.convolutions.append(tuple(result.shape[2:]))
        elif not self.probabilities and name in _JOINS:
            parts = _tensors(args[:1] or [kwargs.get("tensors")])
            axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
            self.joins.append(tuple(p.shape[axis] for p in parts))

    def _mark(self, result: Tensor, weights: Tensor) -> None:
        self._made[id(result)] = weights
        self._kept.append(result)
