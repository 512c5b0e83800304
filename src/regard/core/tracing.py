"""What every tensor of one forward pass is: where it comes from, and what its axes are.

A torch function mode watches the pass: it computes nothing and changes nothing. Of each tensor it keeps which of the
marked sources (inputs, layers) it was computed from, what its axes stand for (`regard.core.axes`), and which tensors it
is only another form of (a sigmoid, an interpolation).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from regard.core.axes import UNKNOWN, Axes, of_input
from regard.core.axis_rules import axes_after

__all__ = ["Traced", "Tracing", "followed", "tensors_in"]


class Traced(NamedTuple):
    """What is known of a tensor.

    Parameters
    ----------
    sources
        Bits of the sources that it was computed from.
    axes
        What its axes are; None where nothing is known.
    forms
        The tensors, by number, that it is only another form of, itself included.
    """

    sources: int
    axes: Axes | None
    forms: frozenset[int]


NOTHING = Traced(0, None, frozenset())

_MADE_LIKE = ("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like")
"""What takes only the shape of its argument."""

_NEW = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")

_FORMS = frozenset(
    (
        "sigmoid", "softmax", "log_softmax", "logsigmoid", "tanh", "clamp", "interpolate", "upsample", "squeeze",
        "unsqueeze", "reshape", "view", "view_as", "reshape_as", "flatten", "getitem", "stack", "cat", "contiguous",
        "clone", "to", "float", "double", "half", "permute", "transpose", "detach", "type", "alias", "argmax",
    )
)  # fmt: skip
"""What gives only another form of its argument."""


def tensors_in(values: object) -> list[Tensor]:
    """All tensors of nested tuples, lists and dicts."""
    if isinstance(values, Tensor):
        return [values]
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


class Tracing(TorchFunctionMode):
    """Within this context every tensor that a network computes is followed.

    Sources are numbered by the caller: bit n of `Traced.sources` is set in all that was computed from source n.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: Any = WeakTensorKeyDictionary()
        self._n_forms = 0

    def of(self, t: Tensor) -> Traced:
        """What is known of a tensor."""
        known: Traced = self._known.get(t, NOTHING)
        base = t._base if t._is_view() else None
        if base is not None:
            known = known._replace(sources=known.sources | self._known.get(base, NOTHING).sources)
        return known

    def mark(self, t: Tensor, source: int, *, alone: bool = False) -> None:
        """Say that a tensor is source number ``source``; ``alone``: and comes from no other."""
        known = self.of(t)
        before = 0 if alone else known.sources
        self._known[t] = known._replace(sources=before | (1 << source), forms=known.forms or self._form())

    def mark_inputs(self, tensors: Sequence[Tensor]) -> None:
        """Say which tensors are the inputs (batch, channel, \\*space): sources 0, 1, ..."""
        for n, t in enumerate(tensors):
            self._known[t] = Traced(1 << n, of_input(t.shape), self._form())

    def pass_through(self, given: object, output: object) -> None:
        """Follow what runs unseen, such as a scripted module: its outputs come from all that it was given."""
        sources = 0
        for t in tensors_in(given):
            sources |= self.of(t).sources
        for t in tensors_in(output):
            known = self.of(t)
            self._known[t] = known._replace(sources=known.sources | sources, forms=known.forms or self._form())

    def alike(self, tensors: Iterable[Tensor]) -> frozenset[int]:
        """Numbers of all that ``tensors`` are only other forms of."""
        found: frozenset[int] = frozenset()
        for t in tensors:
            found |= self.of(t).forms
        return found

    def _form(self) -> frozenset[int]:
        self._n_forms += 1
        return frozenset((self._n_forms,))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        given = [] if name in _QUIET else tensors_in((args, kwargs))
        versions = [t._version if not t.is_inference() else 0 for t in given]
        out = func(*args, **kwargs)
        if not given or name in _MADE_LIKE or name in _NEW:
            return out
        results = tensors_in(out)
        written = [t for t, v in zip(given, versions, strict=True) if not t.is_inference() and t._version != v]
        if not results and not written:
            return out
        known = [self.of(t) for t in given]
        sources = 0
        for k in known:
            sources |= k.sources
        if not sources:
            return out
        forms = frozenset().union(*(k.forms for k in known)) if name in _FORMS else frozenset()
        laid = axes_after(name, args, kwargs, [(t, k.axes) for t, k in zip(given, known, strict=True)], out, results)
        for t, axes in zip(results, laid, strict=True):
            self._known[t] = Traced(sources, axes, forms | self._form())
        for t in written:
            mine = {id(r) for r in results}
            if id(t) not in mine:
                self._known[t] = Traced(sources, _filled(self.of(t).axes, known, t, given), self._form())
            if t._is_view() and t._base is not None:
                base = self._known.get(t._base, NOTHING)
                self._known[t._base] = base._replace(sources=base.sources | sources, forms=self._form())
        return out


def _filled(own: Axes | None, known: Sequence[Traced], t: Tensor, given: Sequence[Tensor]) -> Axes | None:
    """Axes of a tensor that something was written to: its own, or those of what has its shape."""
    if own is not None and any(a is not UNKNOWN for a in own):
        return own
    for k, other in zip(known, given, strict=True):
        if other is not t and other.shape == t.shape and k.axes is not None:
            return k.axes
    return own


_QUIET = frozenset(
    {"size", "dim", "get shape", "get dtype", "get device", "get is_nested", "get requires_grad", "numel"}
)


def _name(func: Any) -> str:
    """A function's name, without the marks of in-place and of operators; ``get NAME`` for properties."""
    name = str(getattr(func, "__name__", ""))
    if name == "__get__":
        return f"get {getattr(getattr(func, '__self__', None), '__name__', '')}"
    bare = name.strip("_")
    return _OPERATORS.get(bare, bare)


_OPERATORS = {
    "iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "imul": "mul", "rmul": "mul", "truediv": "div",
    "itruediv": "div", "rtruediv": "div", "rmatmul": "matmul", "multiply": "mul", "divide": "div", "subtract": "sub",
    "true_divide": "div", "swapaxes": "transpose", "swapdims": "transpose", "moveaxis": "movedim",
    "concat": "cat", "concatenate": "cat", "_softmax": "softmax", "hardtanh": "clamp",
}  # fmt: skip


@contextmanager
def followed(network: object, tracing: Tracing) -> Iterator[None]:
    """Within this context scripted parts of a network, whose operations are not seen, are followed as one."""
    scripted = isinstance(network, nn.Module) and any(isinstance(m, torch.jit.ScriptModule) for m in network.modules())

    def note(m: nn.Module, args: object, output: object) -> None:
        if isinstance(m, torch.jit.ScriptModule):
            tracing.pass_through(args, output)

    # A scripted module takes no hook of its own.
    handle = torch.nn.modules.module.register_module_forward_hook(note) if scripted else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
