"""A network along a sequence of inputs that differ in a few boxes: each step computes what changed since the last."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from regard.core.explainer import Query
from regard.core.spatial import space
from regard.explainers.perturbation.incremental.engine import program_of
from regard.explainers.perturbation.incremental.program import Kind, Program
from regard.explainers.perturbation.incremental.regions import Boxes, Integers, Placed, Source, slices
from regard.explainers.perturbation.incremental.trace import UnsupportedGraphError, invoke

__all__ = ["Walk", "prepare_walk"]

logger = logging.getLogger(__name__)

_LEAST = 2.0
"""Times fewer operations than whole passes: below it the plain loop, which takes several steps at once, is as good."""

_FULL = 0.7
"""Share of a tensor from which all of it is computed."""

_LOOKED_AT = 8
"""Steps whose cost is forecast."""


class Walk:
    """The tensors of a network for the present input of a sequence.

    Parameters
    ----------
    program
        The network, read on the first input.
    x
        That input, (1, channel, \\*space).

    Notes
    -----
    Every value is computed by the network's own operations from values that are up to date, so that nothing adds up
    along the way: after any number of steps the tensors are those of a pass over the present input, to rounding.
    """

    def __init__(self, program: Program, x: Tensor) -> None:
        self.program = program
        self._clean = {n: s.clean for n, s in program.steps.items() if s.kind in (Kind.INPUT, Kind.PATCH)}
        (self._input,) = [n for n, s in program.steps.items() if s.kind is Kind.INPUT]
        self._clean[self._input] = x
        self._now: dict[fx.Node, Tensor] = {}

    def begin(self) -> None:
        """Go back to the first input."""
        for node, clean in self._clean.items():
            if clean is not None:
                if node in self._now:
                    self._now[node].copy_(clean)
                else:
                    self._now[node] = clean.clone()

    def operations(self, boxes: Sequence[tuple[slice, ...]]) -> float:
        """Floating-point operations of a step that changes these boxes."""
        reached = self._reached(boxes)
        total = 0.0
        for node, step in self.program.steps.items():
            if step.operation is None or step.like is None:
                total += step.flops
                continue
            done = sum(step.operation.computed(placed) * len(placed.start) for placed in reached[node])
            total += step.flops * done / math.prod(space(step.like))
        return total

    @torch.no_grad()
    def move(self, x: Tensor, boxes: Sequence[tuple[slice, ...]]) -> Any:
        """The network's output for the next input.

        Parameters
        ----------
        x
            It, (1, channel, \\*space).
        boxes
            Half-open ranges along the axes outside which it is the present input.
        """
        reached = self._reached(boxes)
        patches: dict[fx.Node, list[Tensor]] = {}
        whole: dict[fx.Node, Any] = {}
        steps = self.program.steps

        def value(node: fx.Node) -> Any:
            return steps[node].clean if steps[node].kind is Kind.CONSTANT else whole.get(node, self._now.get(node))

        def shaped(node: fx.Node) -> Any:
            like = steps[node].like
            return like if steps[node].kind in (Kind.INPUT, Kind.PATCH) and like is not None else value(node)

        for node, step in steps.items():
            if step.kind is Kind.INPUT:
                for box in boxes:
                    place = (slice(None), slice(None), *box)
                    self._now[node][place] = x[place]
            elif step.kind is Kind.PATCH:
                assert step.operation is not None
                patches[node] = []
                for n, placed in enumerate(reached[node]):
                    sources = {i: self._source(i, patches, n, placed) for i in node.all_input_nodes if i in reached}
                    patches[node].append(step.operation.compute(sources, placed))
                if node in self._now:
                    self._write(node, reached[node], patches[node])
            elif step.kind is not Kind.CONSTANT:
                whole[node] = invoke(node, self.program.traced, shaped if step.kind is Kind.SHAPE else value)
            for done in step.last:
                patches.pop(done, None)
                whole.pop(done, None)
        return whole[node]

    def _source(self, node: fx.Node, patches: dict[fx.Node, list[Tensor]], n: int, placed: Placed) -> Source:
        """A tensor as it is now; of one that is not kept, the patch that has just been computed in the same place."""
        now = self._now.get(node)
        if now is None:
            return Source(patches[node][n], placed, None)
        nowhere = Placed(np.zeros_like(placed.start), (0,) * placed.start.shape[1])
        return Source(now, nowhere, now)

    def _write(self, node: fx.Node, groups: Sequence[Placed], patches: Sequence[Tensor]) -> None:
        for placed, patch in zip(groups, patches, strict=True):
            for place, values in zip(slices(placed.start, placed.stop), patch, strict=True):
                self._now[node][0][place] = values

    def _reached(self, boxes: Sequence[tuple[slice, ...]]) -> dict[fx.Node, list[Placed]]:
        """Where each tensor changes: boxes of one size in each group."""
        reached: dict[fx.Node, list[Placed]] = {}
        for node, step in self.program.steps.items():
            if step.kind is Kind.INPUT:
                corners = np.asarray([[(s.start, s.stop) for s in box] for box in boxes], dtype=np.int64)
                reached[node] = _groups(Boxes(corners[..., 0], corners[..., 1]), space(self._clean[self._input]))
            elif step.kind is Kind.PATCH:
                assert step.operation is not None
                assert step.like is not None
                inputs = [i for i in node.all_input_nodes if i in reached]
                if not step.operation.reads_around and len(inputs) == 1:
                    reached[node] = reached[inputs[0]]
                    continue
                each = [_together(reached[i]) for i in inputs]
                # Of several inputs one at a time: what one reaches is no reason to compute between it and another's.
                found = [
                    step.operation.reach([b if k == n else _nothing_like(b) for n in range(len(each))])
                    for k, b in enumerate(each)
                ]
                start, stop = (np.concatenate([getattr(f, end) for f in found]) for end in ("start", "stop"))
                reached[node] = _groups(Boxes(start, stop).within(space(step.like)), space(step.like))
        return reached


def _nothing_like(boxes: Boxes) -> Boxes:
    """As many empty boxes."""
    return Boxes(np.zeros_like(boxes.start), np.zeros_like(boxes.start))


def _together(groups: Sequence[Placed]) -> Boxes:
    return Boxes(np.concatenate([g.start for g in groups]), np.concatenate([g.stop for g in groups]))


def _groups(boxes: Boxes, size: Sequence[int]) -> list[Placed]:
    """Boxes merged where that costs nothing, those of one size together; all of a tensor where they fill most of it."""
    start, stop = _merged(boxes.start, boxes.stop)
    everything = np.asarray(size, dtype=np.int64)
    if (stop - start).prod(1).sum() >= _FULL * everything.prod():
        return [Placed(np.zeros((1, len(size)), dtype=np.int64), tuple(size))]
    sizes = stop - start
    groups = []
    for one in np.unique(sizes, axis=0):
        groups.append(Placed(start[(sizes == one).all(1)], tuple(one.tolist())))
    return groups


def _merged(start: Integers, stop: Integers) -> tuple[Integers, Integers]:
    """Pairs of boxes become their hull, the best pair first, as long as the hull is no larger than the two."""
    keep = (stop > start).all(1)
    if not keep.any():
        # Nothing is reached (a stride that steps over it): one place is computed, so that there is something.
        return np.zeros_like(start[:1]), np.ones_like(start[:1])
    start, stop = start[keep], stop[keep]
    while len(start) > 1:
        low, high = np.minimum(start[:, None], start[None]), np.maximum(stop[:, None], stop[None])
        volume = (stop - start).prod(1)
        gain = volume[:, None] + volume[None] - (high - low).prod(-1)
        np.fill_diagonal(gain, np.iinfo(np.int64).min)
        a, b = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[a, b] < 0:
            break
        rest = np.delete(np.arange(len(start)), [a, b])
        start = np.concatenate([start[rest], low[a, b][None]])
        stop = np.concatenate([stop[rest], high[a, b][None]])
    return start, stop


def prepare_walk(query: Query, steps: Sequence[Sequence[tuple[slice, ...]]], value: float) -> Walk | None:
    """A walk for a sequence of inputs, or None where the plain loop is to run.

    Parameters
    ----------
    query
        Network, first input and target.
    steps
        The boxes that some typical steps change.
    value
        The target's value of the first input, which the traced network must give as well.
    """
    try:
        program = program_of(query, value)
    except UnsupportedGraphError as reason:
        logger.info("a sequence runs the whole network at every step: %s", reason)
        return None
    walk = Walk(program, query.inputs.tensors[0])
    some = [steps[k] for k in np.linspace(0, len(steps) - 1, min(_LOOKED_AT, len(steps))).round().astype(int)]
    fewer = len(some) * program.flops / max(1.0, sum(walk.operations(boxes) for boxes in some))
    logger.info("a sequence takes %.1f times fewer operations step by step", fewer)
    return walk if fewer >= _LEAST else None
