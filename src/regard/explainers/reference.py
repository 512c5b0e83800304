"""The reference that a contribution is counted from, when none is given, and what remains of it."""

import torch
from torch import Tensor

from regard.core.explainer import Query
from regard.core.inputs import Inputs

__all__ = ["compared_with", "darkest", "remainder", "value_at"]


def darkest(inputs: Inputs) -> tuple[Tensor, ...]:
    """Each case's own smallest value per channel, as wide as the inputs: air, or the background."""
    made = []
    for x in inputs.tensors:
        lowest = x.reshape(*x.shape[:2], -1).amin(-1)
        made.append(lowest.reshape(*lowest.shape, *[1] * (x.ndim - 2)).expand_as(x))
    return tuple(made)


def compared_with(query: Query) -> tuple[tuple[Tensor, ...], str]:
    """The reference that was given, or the darkest value; with words for it."""
    if query.reference is not None:
        return query.reference, "given"
    return darkest(query.inputs), "each case's own smallest value, per channel"


@torch.no_grad()
def value_at(query: Query, reference: tuple[Tensor, ...]) -> Tensor:
    """The target's value (batch,) at the reference."""
    return query.score([r.clone() for r in reference]).detach()


def remainder(maps: tuple[Tensor, ...], value: Tensor, reference_value: Tensor) -> Tensor:
    """Sum of the maps as they are handed out (float32) minus f(x) - f(reference), (batch,), float64."""
    total = torch.stack([m.float().double().flatten(1).sum(1) for m in maps]).sum(0)
    return total - (value.double() - reference_value.double()).to(total.device)
