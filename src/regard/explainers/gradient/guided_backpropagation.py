"""The derivative with negative signals stopped at every rectifier."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.plainly import without_checkpoints
from regard.core.quantity import Promise, Quantity, Sign

__all__ = ["GuidedBackpropagation"]

logger = logging.getLogger(__name__)

_RELU = {functional.relu, torch.relu, Tensor.relu}
_RELU_IN_PLACE = {functional.relu_, torch.relu_, Tensor.relu_}
_HARDTANH = {functional.hardtanh, functional.relu6}


class _GuidedRectifier(torch.autograd.Function):
    """Clamp to [0, ceiling]; backward only what is positive, where the input was between the two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        # An operation without a derivative sends nothing back; as a tensor of zeros it would pass for a gradient.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward((x > 0) & (x < ceiling))
        return x.clamp(min=0, max=ceiling)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (passed,), (gradient,) = ctx.saved_tensors, gradients
        return None if gradient is None else gradient.clamp(min=0) * passed, None


class _Guided(TorchFunctionMode):
    """Within this context every rectifier is guided (module, function, method, in place or not), no module touched."""

    def __init__(self) -> None:
        super().__init__()
        self.n_guided = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        found = self._rectifier(func, args, kwargs)
        if found is None:
            return func(*args, **kwargs)
        ceiling, in_place = found
        x: Tensor = args[0] if args else kwargs["input"]
        self.n_guided += 1
        y = _GuidedRectifier.apply(x, ceiling)
        return x.copy_(y) if in_place else y

    @staticmethod
    def _rectifier(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[float, bool] | None:
        """Ceiling, and whether the input is overwritten; None for any other function."""
        if func in _RELU:
            return torch.inf, bool(args[1] if len(args) > 1 else kwargs.get("inplace", False))
        if func in _RELU_IN_PLACE:
            return torch.inf, True
        if func not in _HARDTANH:
            return None
        names = ("min_val", "max_val", "inplace") if func is functional.hardtanh else ("inplace",)
        given = {**dict(zip(names, args[1:], strict=False)), **kwargs}
        low = given.get("min_val", -1.0 if func is functional.hardtanh else 0.0)
        high = given.get("max_val", 1.0 if func is functional.hardtanh else 6.0)
        return (high, bool(given.get("inplace", False))) if low == 0 else None


class GuidedBackpropagation(AbstractExplainer):
    """Derivative in which every rectifier (ReLU, ReLU6) passes back positive signals only.

    The map keeps its channels, (batch, channel, \\*space). It is a score: largely a picture of the image's edges, since
    what lowers the output is stopped on its way; a negative number is not a negative derivative. Rectifiers are met as
    the network calls them, so that reused, functional and in-place ones count too; scripted networks hide theirs.

    Notes
    -----
    Springenberg et al. 2015 (arXiv 1412.6806), section 3.4; Nie, Zhang and Patel 2018 (arXiv 1805.07039) on what it
    shows. The published form is the largest absolute value over the channels.
    """

    without_space = "a derivative for each feature, with negative signals stopped"
    quantity = Quantity.SCORE
    sign = Sign.UNSIGNED
    cases_together = True
    breaks = {Promise.COMPLETE: "signals that lower the output are stopped, so that nothing adds up to it"}

    def _attribute(self, query: Query) -> Attribution:
        # A checkpoint would run its part again outside of what guides it.
        with _Guided() as guided, without_checkpoints():
            value, gradients = query.gradient(query.inputs.tensors)
        if not guided.n_guided:
            logger.warning("guided backpropagation met no ReLU in the network; the map is the plain gradient")
        if self.form == "published":
            gradients = tuple(g.abs().amax(1, keepdim=True) for g in gradients)
        return Attribution(gradients, value, notes={"n_guided": guided.n_guided})
