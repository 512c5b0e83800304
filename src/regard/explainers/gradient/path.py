"""The derivative summed along a way through the inputs, in a memory that the number of steps does not change."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import CapabilityError
from regard.core.explainer import Query
from regard.core.extent import slabs
from regard.explainers.gradient.checkpointing import Checkpoint, checkpointed

__all__ = ["Add", "Place", "along_path", "between", "times_difference"]

logger = logging.getLogger(__name__)

Place = Callable[[int], Sequence[Tensor]]
"""Step number -> position, one tensor (1, channel, \\*space) of the input's type per input, of nobody else's."""

Add = Callable[[int, Sequence[Tensor], Sequence[Tensor]], None]
"""Adds to totals, (1, channel, \\*space) float64 per input: step number, totals, the gradients at that step."""


def along_path(
    query: Query, n_steps: int, place: Place, add_to: Add, label: str, checkpoint: Checkpoint = "auto"
) -> tuple[Tensor, ...]:
    """What ``add_to`` makes of the derivatives at all steps, one total (1, channel, \\*space), float64, per input.

    Beside what the network keeps for its gradient there are the position, the gradient and the total. When a single
    step does not fit the memory, the rest is done with parts of the network run again (`checkpointed`).
    """
    totals = tuple(torch.zeros_like(x, dtype=torch.float64) for x in query.inputs.tensors)
    done = 0

    def evaluate(items: range) -> tuple[Tensor, ...]:
        positions = [place(step) for step in items]
        joined = positions[0] if len(items) == 1 else [torch.cat(parts) for parts in zip(*positions, strict=True)]
        del positions
        return query.gradient(joined, owned=True)[1]

    def add(items: range, gradients: tuple[Tensor, ...]) -> None:
        nonlocal done
        for n, step in enumerate(range(done, done + len(items))):
            add_to(step, totals, [gradient[n : n + 1] for gradient in gradients])
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


def between(first: Tensor, last: Tensor, share: float) -> Tensor:
    """``first + share * (last - first)``, computed in double, of the type of ``last``."""
    found = torch.empty_like(last, memory_format=torch.contiguous_format)
    for part in slabs(last):
        start = first[part].double()
        found[part] = start + share * (last[part].double() - start)
    return found


def times_difference(total: Tensor, first: Tensor, last: Tensor) -> None:
    """Multiply ``total`` (float64) by ``last - first``, in place."""
    for part in slabs(last):
        total[part] *= last[part].double() - first[part].double()
