"""The derivative summed along a way through the inputs, in a memory that the number of steps does not change."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regard.core import batching
from regard.core.explainer import Query

__all__ = ["Place", "along_path"]

Place = Callable[[int], tuple[Sequence[Tensor], Sequence[Tensor]]]
"""Step number -> position and displacement, one tensor (1, channel, \\*space) per input each."""


def along_path(query: Query, n_steps: int, place: Place, label: str) -> tuple[Tensor, ...]:
    """Sum of displacement times derivative over the steps, one map (1, channel, \\*space), float64, per input."""
    totals = tuple(torch.zeros_like(x, dtype=torch.float64) for x in query.inputs.tensors)

    def evaluate(items: range) -> tuple[list[Sequence[Tensor]], tuple[Tensor, ...]]:
        positions, displacements = zip(*[place(step) for step in items], strict=True)
        joined = [torch.cat(parts).to(x) for parts, x in zip(zip(*positions), query.inputs.tensors, strict=True)]
        return list(displacements), query.gradient(joined)[1]

    def add(items: range, result: tuple[list[Sequence[Tensor]], tuple[Tensor, ...]]) -> None:
        displacements, gradients = result
        for n in range(len(items)):
            for total, displacement, gradient in zip(totals, displacements[n], gradients, strict=True):
                total += displacement * gradient[n : n + 1].double()

    batching.run(evaluate, n_steps, add, batch_size=query.items_at_once(n_steps), label=label)
    return totals
