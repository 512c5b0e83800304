"""Rectifiers with their corner rounded off, so that second derivatives exist: for the steps of an attack alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from regard.explainers.knobs import real

__all__ = ["Softened"]

_RELU = {functional.relu, torch.relu, Tensor.relu}
_RELU_IN_PLACE = {functional.relu_, torch.relu_, Tensor.relu_}
_CLIPPED = {functional.hardtanh, functional.relu6}


class Softened(TorchFunctionMode):
    """Within this context every rectifier is ``softplus(beta x) / beta``; no module is touched.

    ReLU, ReLU6, hard tanh and leaky ReLU are met as the network calls them: as modules, functions and methods, in place
    or not. Scripted parts hide theirs. Leaving the context is all that it takes to have the network as it was, also
    after an exception.

    Parameters
    ----------
    beta
        How sharp the corner is; larger is nearer to the ReLU. At 0 it is off by ``log 2 / beta``.

    Attributes
    ----------
    n_softened
        Rectifiers met so far.

    Notes
    -----
    Dombrowski et al. 2019 (arXiv 1906.07983), section 4: the ReLU's second derivative is 0, so that the gradient of a
    map that is itself a gradient does not show how the map moves.
    """

    def __init__(self, beta: float = 30.0) -> None:
        super().__init__()
        self.beta = real("beta", beta, 0)
        self.n_softened = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        known = _rectifier(func, args, kwargs)
        if known is None:
            return func(*args, **kwargs)
        low, high, slope, in_place = known
        x: Tensor = args[0] if args else kwargs["input"]
        self.n_softened += 1
        y = self._soft(x - low) + low
        if high is not None:
            y = y - self._soft(x - high)
        if slope:
            y = slope * x + (1 - slope) * y
        return x.copy_(y) if in_place else y

    def _soft(self, x: Tensor) -> Tensor:
        return functional.softplus(x, self.beta)


def _rectifier(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[float, float | None, float, bool] | None:
    """Lower corner, upper corner, slope below, and whether the input is overwritten; None for any other function."""
    if func in _RELU:
        return 0.0, None, 0.0, bool(args[1] if len(args) > 1 else kwargs.get("inplace", False))
    if func in _RELU_IN_PLACE:
        return 0.0, None, 0.0, True
    if func is functional.leaky_relu:
        given = {**dict(zip(("negative_slope", "inplace"), args[1:], strict=False)), **kwargs}
        return 0.0, None, float(given.get("negative_slope", 0.01)), bool(given.get("inplace", False))
    if func not in _CLIPPED:
        return None
    names = ("min_val", "max_val", "inplace") if func is functional.hardtanh else ("inplace",)
    given = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    low = float(given.get("min_val", -1.0 if func is functional.hardtanh else 0.0))
    high = float(given.get("max_val", 1.0 if func is functional.hardtanh else 6.0))
    return low, high, 0.0, bool(given.get("inplace", False))
