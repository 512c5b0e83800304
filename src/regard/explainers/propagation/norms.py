"""Norms as linear maps: what they divide by is held constant, which passes relevance on whole (identity rule).

Achtibat et al. 2024 (arXiv 2402.05602), proposition 3.4.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["NORMS", "Scaled"]

Scaled: TypeAlias = Callable[[Tensor], Tensor]


def _scaled(axes: Sequence[int], eps: float, weight: Tensor | None, centred: bool, shape: Sequence[int] = ()) -> Scaled:
    """(x - mean) / sqrt(var + eps) * weight, the root held constant; over ``axes`` of x, reshaped to ``shape``."""

    def run(x: Tensor) -> Tensor:
        grouped = x.reshape(*shape) if shape else x
        still = grouped.detach()
        still = still - still.mean(tuple(axes), keepdim=True) if centred else still
        root = (still.square().mean(tuple(axes), keepdim=True) + eps).sqrt()
        moved = grouped - grouped.mean(tuple(axes), keepdim=True) if centred else grouped
        made = (moved / root).reshape(x.shape)
        return made if weight is None else made * weight

    return run


def _per_channel(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.reshape(1, -1, *[1] * (x.ndim - 2))


def _layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Scaled:
    return _scaled(range(-len(normalized_shape), 0), eps, weight, centred=True)


def _rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Scaled:
    small = torch.finfo(input.dtype).eps if eps is None else eps
    return _scaled(range(-len(normalized_shape), 0), small, weight, centred=False)


def _group_norm(input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Scaled:
    shape = (input.shape[0], num_groups, -1)
    return _scaled((-1,), eps, _per_channel(weight, input), centred=True, shape=shape)


def _instance_norm(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Scaled | None:
    if not use_input_stats:
        return None
    return _scaled(range(2, input.ndim), eps, _per_channel(weight, input), centred=True)


def _batch_norm(
    input: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Scaled | None:
    if not training:
        return None
    axes = [0, *range(2, input.ndim)]
    return _scaled(axes, eps, _per_channel(weight, input), centred=True)


def _normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Scaled:
    length = torch.linalg.vector_norm(input.detach(), p, dim, keepdim=True).clamp(min=eps)
    return lambda x: x / length


NORMS: dict[str, Callable[..., Scaled | None]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "normalize": _normalize,
}
"""Name of a call, and from its arguments the same with its size held constant; None where no constant depends on x."""
