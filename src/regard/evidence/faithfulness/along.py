"""f while parts are filled one after the other: step by step where that is cheaper than whole passes."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from scipy import ndimage
from torch import Tensor

from regard.core import batching, recording
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.evidence.faithfulness.removal import values_without
from regard.evidence.measure import Exhibit
from regard.explainers.perturbation.incremental.sequence import Walk, prepare_walk

__all__ = ["values_along"]

logger = logging.getLogger(__name__)

LARGE = 2**14
"""Values of an image from which it pays to look at what a step changes."""

_AGREE = 1e-4
"""Of the range of f along the first sequence: how far step by step may be from a whole pass before it is given up."""


@dataclass
class _Way:
    """How sequences of a case are run: a walk, and whether it has been checked; or whole passes, where it is None."""

    walk: Walk | None
    checked: bool = False


def values_along(
    exhibit: Exhibit, fill: Tensor, numbers: Tensor, orders: Sequence[Tensor], counts: Tensor, value: float, label: str
) -> Tensor:
    """Output after each of some numbers of parts has been filled, for several orders, (order, count) float64.

    Parameters
    ----------
    exhibit
        The case.
    fill
        The filling (1, channel, \\*space).
    numbers
        Number of the part of each voxel, (\\*space), on the CPU.
    orders
        Numbers of the parts, (n_parts,), in the order in which they are filled.
    counts
        How many parts are filled at each place where f is wanted, (count,), increasing.
    value
        f(x).
    label
        What progress is reported as.
    """
    way = _way(exhibit, numbers, orders[0], counts, value)
    if way.walk is not None:
        along = _walked(exhibit, way.walk, fill, numbers, orders, counts, label)
        if way.checked or _agrees(exhibit, fill, numbers, orders[0], counts, along[0], value):
            way.checked = True
            return along
        way.walk = None
    gone = []
    for order in orders:
        place = torch.empty(len(order), dtype=torch.int64)
        place[order] = torch.arange(len(order))
        gone.append(place < counts[:, None])
    return values_without(exhibit, fill, numbers, torch.cat(gone), label).reshape(len(orders), len(counts))


def _steps(order: Tensor, counts: Tensor) -> list[list[int]]:
    """The parts that each step fills."""
    cuts = [0, *counts.tolist()]
    return [order[a:b].tolist() for a, b in pairwise(cuts)]


def _boxes(numbers: Tensor) -> list[tuple[slice, ...]]:
    """The smallest box that holds each part."""
    return list(ndimage.find_objects(numbers.numpy() + 1))


def _way(exhibit: Exhibit, numbers: Tensor, order: Tensor, counts: Tensor, value: float) -> _Way:
    """How sequences of this case and this cut are run: decided once."""
    about = f"way/{exhibit.number('cut', numbers)}/{len(counts)}"

    def make() -> _Way:
        if exhibit.x.numel() < LARGE or not len(counts):
            return _Way(None)
        boxes = _boxes(numbers)
        query = Query(recording.unwrap(exhibit.network), Inputs.of(exhibit.x), exhibit.target, batch_size=1)
        with recording.intact(exhibit.network):
            return _Way(prepare_walk(query, [[boxes[n] for n in step] for step in _steps(order, counts)], value))

    return exhibit.keep(about, make)


def _walked(
    exhibit: Exhibit, walk: Walk, fill: Tensor, numbers: Tensor, orders: Sequence[Tensor], counts: Tensor, label: str
) -> Tensor:
    x, device_numbers, boxes = exhibit.x, numbers.to(exhibit.x.device), _boxes(numbers)
    query = Query(recording.unwrap(exhibit.network), Inputs.of(x), exhibit.target, batch_size=1)
    found = torch.empty(len(orders), len(counts), dtype=torch.float64)
    steps = [step for order in orders for step in _steps(order, counts)]
    now = x.clone()

    def evaluate(items: range) -> Tensor:
        (item,) = items
        if item % len(counts) == 0:
            now.copy_(x)
            walk.begin()
        changed = [boxes[part] for part in steps[item]]
        for part, box in zip(steps[item], changed, strict=True):
            place = (slice(None), slice(None), *box)
            now[place] = torch.where(device_numbers[box] == part, fill[place], now[place])
        return query.value(walk.move(now, changed), 1).detach().reshape(1)

    def add(items: range, values: Tensor) -> None:
        found.view(-1)[items.start] = float(values.double())

    with recording.intact(exhibit.network), torch.no_grad():
        batching.run(evaluate, len(steps), add, batch_size=1, label=label)
    return found


def _agrees(
    exhibit: Exhibit, fill: Tensor, numbers: Tensor, order: Tensor, counts: Tensor, along: Tensor, value: float
) -> bool:
    """Whether the first and the last step of a sequence are what whole passes give."""
    some = [0, len(counts) - 1]
    place = torch.empty(len(order), dtype=torch.int64)
    place[order] = torch.arange(len(order))
    whole = values_without(exhibit, fill, numbers, place < counts[some, None], "checking")
    extent = max(float(along.max()), value) - min(float(along.min()), value)
    allowed = _AGREE * extent + 1000 * torch.finfo(exhibit.x.dtype).eps * max(abs(value), float(whole.abs().max()))
    off = float((along[some] - whole).abs().max())
    if math.isfinite(off) and off <= allowed:
        return True
    logger.warning("step by step the network is off by %.3g (%.3g allowed); whole passes are run", off, allowed)
    return False
