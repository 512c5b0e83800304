"""The derivative summed along a way through the inputs, in a memory that the number of steps does not change."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import CapabilityError
from regard.core.explainer import Query
from regard.explainers.gradient.checkpointing import Checkpoint, checkpointed

__all__ = ["Place", "along_path"]

logger = logging.getLogger(__name__)

Place = Callable[[int], tuple[Sequence[Tensor], Sequence[Tensor]]]
"""Step number -> position and displacement, one tensor (1, channel, \\*space) per input each."""


def along_path(
    query: Query, n_steps: int, place: Place, label: str, checkpoint: Checkpoint = "auto"
) -> tuple[Tensor, ...]:
    """Sum of displacement times derivative over the steps, one map (1, channel, \\*space), float64, per input.

    When a single step does not fit the memory, the rest is done with parts of the network run again (`checkpointed`).
    """
    totals = tuple(torch.zeros_like(x, dtype=torch.float64) for x in query.inputs.tensors)
    done = 0

    def evaluate(items: range) -> tuple[list[Sequence[Tensor]], tuple[Tensor, ...]]:
        positions, displacements = zip(*[place(step) for step in items], strict=True)
        joined = [torch.cat(parts).to(x) for parts, x in zip(zip(*positions), query.inputs.tensors, strict=True)]
        return list(displacements), query.gradient(joined)[1]

    def add(items: range, result: tuple[list[Sequence[Tensor]], tuple[Tensor, ...]]) -> None:
        nonlocal done
        displacements, gradients = result
        for n in range(len(items)):
            for total, displacement, gradient in zip(totals, displacements[n], gradients, strict=True):
                total += displacement * gradient[n : n + 1].double()
        done += len(items)

    def rest() -> None:
        start = done
        at_once = query.items_at_once(n_steps - start, backward=True)
        batching.run(
            lambda items: evaluate(range(start + items.start, start + items.stop)),
            n_steps - start,
            add,
            batch_size=at_once,
            label=label,
        )

    if checkpoint == "always":
        with checkpointed(query):
            rest()
        return totals
    try:
        rest()
    except (RuntimeError, MemoryError) as error:
        if checkpoint == "never" or not batching.is_out_of_memory(error):
            raise
        logger.warning("out of memory at one image; going on with parts of the network run again")
    if done < n_steps:
        with checkpointed(query) as parts:
            if not parts:
                raise CapabilityError(
                    f"no memory for the gradient of one input of {tuple(query.inputs.tensors[0].shape)}",
                    "more memory, or a network with parts that can run again",
                    "choose a smaller image or a perturbation method",
                )
            rest()
    return totals
