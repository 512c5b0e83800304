"""One input, several or named ones, in one form."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from regard.core.errors import ShapeError

__all__ = ["InputLike", "Inputs"]

InputLike: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""One input tensor (batch, channel, \\*space), a sequence of them, or a mapping of named ones."""


def _named(x: Tensor) -> str:
    """Shape of an empty input, with the axis that is empty in words."""
    axis = next(n for n, size in enumerate(x.shape) if size == 0)
    what = ("no case", "no channel")[axis] if axis < 2 else f"no place along spatial axis {axis - 2}"
    return f"of shape {tuple(x.shape)}, with {what}"


@dataclass(frozen=True)
class Inputs:
    """The input tensors of a batch of cases, and how the network takes them.

    Parameters
    ----------
    tensors
        Each (batch, channel, \\*space).
    names
        Keyword of each, or None when they are positional.
    lone
        Whether the user gave a bare tensor.
    """

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] | None = None
    lone: bool = True

    @classmethod
    def of(cls, inputs: InputLike) -> "Inputs":
        """Read what a user gave.

        Raises
        ------
        ShapeError
            If there is no tensor, a tensor has no batch and channel axes or is empty, the batches differ, or a value
            is not finite.
        """
        if isinstance(inputs, Tensor):
            read = cls((inputs,))
        elif isinstance(inputs, Mapping):
            read = cls(tuple(inputs.values()), tuple(inputs), lone=False)
        else:
            read = cls(tuple(inputs), lone=False)
        if not read.tensors:
            raise ShapeError("no input", "at least one tensor (batch, channel, *space)")
        for x in read.tensors:
            if not isinstance(x, Tensor) or x.ndim < 2 or not x.is_floating_point():
                got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise ShapeError(
                    f"an input {got}",
                    "a floating-point tensor (batch, channel, *space)",
                    "add the missing axes with x[None], and convert whole numbers with x.float()",
                )
            if x.numel() == 0:
                raise ShapeError(f"an input {_named(x)}", "at least one along every axis", "give one that is not empty")
            if x.shape[0] != read.tensors[0].shape[0]:
                raise ShapeError(
                    f"inputs of {read.tensors[0].shape[0]} and {x.shape[0]} cases", "as many in each", "pair them"
                )
            if not bool(torch.isfinite(x).all()):
                raise ShapeError(
                    f"{int((~torch.isfinite(x)).sum())} NaN or infinite values in an input of {tuple(x.shape)}",
                    "finite values",
                    "fill them first",
                )
        clean = tuple(x.detach().clone() if x.is_inference() else x.detach() for x in read.tensors)
        return cls(clean, read.names, read.lone)

    @property
    def n_cases(self) -> int:
        """Number of cases in the batch."""
        return int(self.tensors[0].shape[0])

    def rebuild(self, tensors: Sequence[Tensor]) -> Any:
        """Give ``tensors`` the structure that the user gave: a bare tensor, a tuple or a dict."""
        if self.names is not None:
            return dict(zip(self.names, tensors, strict=True))
        return tensors[0] if self.lone else tuple(tensors)

    def call(self, network: Callable[..., object], tensors: Sequence[Tensor]) -> object:
        """Call the network with ``tensors`` as it takes them."""
        if self.names is not None:
            return network(**dict(zip(self.names, tensors, strict=True)))
        return network(*tensors)

    def to(self, device: torch.device | None) -> "Inputs":
        """The same inputs on a device: themselves where they are there already, or where none is named.

        Nothing goes to or from a device without memory (``meta``).
        """
        if device is None or device.type == "meta" or any(x.is_meta for x in self.tensors):
            return self
        if all(x.device == device for x in self.tensors):
            return self
        return Inputs(tuple(x.to(device) for x in self.tensors), self.names, self.lone)

    def case(self, n: int) -> "Inputs":
        """Case ``n`` alone, as a batch of one."""
        return Inputs(tuple(x[n : n + 1] for x in self.tensors), self.names, self.lone)

    def like(self, values: Any, what: str) -> tuple[Tensor, ...]:
        """Read ``values`` (a number, a tensor, or the inputs' structure) as one tensor per input, of its shape.

        None for one of several inputs says that it has no ``what`` of its own: its tensor is NaN everywhere.

        Raises
        ------
        ShapeError
            If something does not broadcast to the inputs.
        """
        if isinstance(values, (int, float)):
            return tuple(torch.full_like(x, float(values)) for x in self.tensors)
        if isinstance(values, Mapping):
            if set(values) != set(self.names or ()):
                raise ShapeError(f"a {what} for {sorted(values)}", f"one for each of {list(self.names or ())}")
            parts: list[Any] = [values[name] for name in self.names or ()]
        else:
            parts = [values] if isinstance(values, Tensor) else list(values)
        if len(parts) != len(self.tensors):
            raise ShapeError(f"{len(parts)} tensors as {what}", f"{len(self.tensors)}, one per input")
        fitted = []
        for part, x in zip(parts, self.tensors, strict=True):
            part = torch.as_tensor(math.nan if part is None else part, dtype=x.dtype, device=x.device)
            try:
                fitted.append(part.detach().broadcast_to(x.shape))
            except RuntimeError as error:
                raise ShapeError(f"a {what} of shape {tuple(part.shape)}", f"the input's, {tuple(x.shape)}") from error
        return tuple(fitted)

    def places(self, mask: Any) -> tuple[Tensor, ...]:
        """Read a mask (one tensor, or the inputs' structure) as bool (batch, 1, \\*space) for each input.

        Raises
        ------
        ShapeError
            If something does not broadcast to that, or a case has no place in it.
        """
        if isinstance(mask, Mapping):
            parts: list[Any] = [mask[name] for name in self.names or () if name in mask]
        else:
            parts = [mask] if isinstance(mask, Tensor) else list(mask)
        if len(parts) != len(self.tensors):
            raise ShapeError(f"{len(parts)} masks", f"{len(self.tensors)}, one per input")
        fitted = []
        for part, x in zip(parts, self.tensors, strict=True):
            wanted = (x.shape[0], 1, *x.shape[2:])
            try:
                inside = (torch.as_tensor(part, device=x.device) > 0.5).broadcast_to(wanted)
            except RuntimeError as error:
                raise ShapeError(f"a mask of shape {tuple(part.shape)}", f"one that broadcasts to {wanted}") from error
            if not bool(inside.flatten(1).any(1).all()):
                raise ShapeError(f"a mask of shape {tuple(part.shape)} with no place in it", "some place in each case")
            fitted.append(inside)
        return tuple(fitted)
