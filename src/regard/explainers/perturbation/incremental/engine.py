"""Running windows through a network, each only as far as it reaches."""

import logging
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, fx

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import Query
from regard.core.spatial import n_space, space
from regard.explainers.perturbation.incremental.program import Kind, Program, read_program
from regard.explainers.perturbation.incremental.regions import Boxes, Placed, Source
from regard.explainers.perturbation.incremental.trace import UnsupportedGraphError, invoke, trace

__all__ = ["Engine", "Incremental", "prepare", "program_of"]

logger = logging.getLogger(__name__)

Incremental: TypeAlias = Literal["auto", "never", "always"]
"""``"auto"`` where it saves operations, ``"always"`` or an error, ``"never"``."""

_LEAST = 1.5
_CLEAN_MIB = 4096.0
_BATCH_VALUES = 2**21  # in the largest tensor of a batch


class Engine:
    """Evaluates a network with windows of its input hidden, computing only what each window changes.

    Parameters
    ----------
    program
        The network, read on the unhidden input.
    boxes
        The windows, all of one size.
    batch_size
        Windows at once.

    Attributes
    ----------
    order
        Numbers of the windows in the order in which they are best run: neighbours in it reach alike.
    operations
        Of a whole forward pass for every window, over those that are done here: at most so many times faster.
    bound
        The same if every window had a batch of its own, with boxes no larger than its own.
    """

    def __init__(self, program: Program, boxes: Sequence[tuple[slice, ...]], batch_size: int | None = None) -> None:
        self.program = program
        corners = [[(part.start, part.stop) for part in box] for box in boxes]
        ends = np.asarray(corners, dtype=np.int64)
        self._reach: dict[fx.Node, Boxes] = {}
        for node, step in program.steps.items():
            if step.kind is Kind.INPUT:
                self._reach[node] = Boxes(ends[..., 0], ends[..., 1])
            elif step.kind is Kind.PATCH:
                assert step.operation is not None
                assert step.like is not None
                sources = [self._reach[i] for i in node.all_input_nodes if i in self._reach]
                self._reach[node] = step.operation.reach(sources).within(space(step.like))
        self.order = self._sorted()
        self.batch_size = batch_size or self._fitting()
        n = len(boxes)
        batches = [self.order[k : k + self.batch_size] for k in range(0, n, self.batch_size)]
        whole = n * program.flops
        self.operations = whole / max(1.0, sum(len(b) * self._flops(b) for b in batches))
        self.bound = whole / max(1.0, sum(self._flops([k]) for k in range(n)))

    def _sorted(self) -> list[int]:
        """By the extent of the reach along each axis where it costs most."""
        extents = [
            (step.flops, self._reach[node].extent) for node, step in self.program.steps.items() if step.operation
        ]
        if not extents:
            return list(range(len(next(iter(self._reach.values())).start)))
        extent = max(extents, key=lambda pair: pair[0])[1]
        return np.lexsort(extent.T).tolist()  # type: ignore[no-any-return]

    def _fitting(self) -> int:
        """How many windows fit a batch."""
        most = 1
        for node, step in self.program.steps.items():
            if step.like is None or step.kind is Kind.CONSTANT:
                continue
            values = step.like.numel()
            if node in self._reach:
                values = step.like.shape[1] * int(self._reach[node].extent.max(0).prod())
            most = max(most, values)
        scale = 16 if any(s.like is not None and s.like.is_cuda for s in self.program.steps.values()) else 1
        return max(1, min(256, scale * _BATCH_VALUES // most))

    def _flops(self, items: Sequence[int]) -> float:
        """Floating-point operations for each of ``items`` when they are one batch."""
        total = 0.0
        for node, step in self.program.steps.items():
            if not step.flops:
                continue
            if step.operation is None or step.like is None:
                total += step.flops
                continue
            box = self._reach[node].of(items).placed(space(step.like))
            total += step.flops * step.operation.computed(box) / math.prod(space(step.like))
        return total

    @torch.no_grad()
    def run(self, items: Sequence[int], hidden: Tensor) -> Any:
        """The network's output for some windows.

        Parameters
        ----------
        items
            Numbers of the windows.
        hidden
            What the input holds in them, (window, channel, \\*size).
        """
        sources: dict[fx.Node, Source] = {}
        whole: dict[fx.Node, Any] = {}
        steps = self.program.steps

        def value(node: fx.Node) -> Any:
            step = steps[node]
            if step.kind is Kind.CONSTANT:
                return step.clean
            if node not in whole:
                whole[node] = sources[node].whole()
            return whole[node]

        def shaped(node: fx.Node) -> Any:
            like = steps[node].like
            return value(node) if node not in sources or like is None else like.expand(len(items), *like.shape[1:])

        for node, step in steps.items():
            if step.kind is Kind.INPUT:
                sources[node] = Source(hidden, self._placed(node, items), step.clean)
            elif step.kind is Kind.PATCH:
                assert step.operation is not None
                placed = self._placed(node, items)
                sources[node] = Source(step.operation.compute(sources, placed), placed, step.clean)
            elif step.kind is not Kind.CONSTANT:
                whole[node] = invoke(node, self.program.traced, shaped if step.kind is Kind.SHAPE else value)
            for done in step.last:
                sources.pop(done, None)
                whole.pop(done, None)
        return whole[node]

    def _placed(self, node: fx.Node, items: Sequence[int]) -> Placed:
        like = self.program.steps[node].like
        assert like is not None
        return self._reach[node].of(items).placed(space(like))


def prepare(query: Query, boxes: Sequence[tuple[slice, ...]], mode: Incremental, value: float) -> Engine | None:
    """An engine for the windows ``boxes`` of a query's input, or None where the plain loop is to run.

    Parameters
    ----------
    query
        The query.
    boxes
        The windows, all of one size.
    mode
        Whether to fall back.
    value
        The target's value of the unhidden input, which the traced network must give as well.

    Raises
    ------
    CapabilityError
        If it is wanted always and cannot be had.
    """
    if mode == "never":
        return None
    try:
        return _prepared(query, boxes, mode, value)
    except UnsupportedGraphError as reason:
        if mode == "always":
            raise CapabilityError(
                f"incremental='always', and {reason}", "a network that can be traced", "choose incremental='auto'"
            ) from reason
        logger.info("occlusion runs the whole network for every window: %s", reason)
        return None


def program_of(query: Query, value: float) -> Program:
    """The network of a query read on its input.

    Parameters
    ----------
    query
        The query.
    value
        The target's value of the input, which the traced network must give as well.

    Raises
    ------
    UnsupportedGraphError
        If the network cannot be traced, or its graph gives another value.
    """
    x = query.inputs.tensors[0]
    if n_space(x) < 1:
        raise UnsupportedGraphError("the input has no places")
    traced = trace(query.network, query.inputs)
    try:
        program = read_program(traced, x, limit=_CLEAN_MIB)
        found = float(query.value(program.output, 1).double())
    except _DOES_NOT_RUN as error:
        raise _unsupported(error) from error
    rounding = 100 * torch.finfo(x.dtype).eps * max(abs(value), abs(found))
    if not abs(found - value) <= rounding:
        raise UnsupportedGraphError(f"its graph gives {found:.6g} where the network gives {value:.6g}")
    return program


_DOES_NOT_RUN = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError)


def _unsupported(error: Exception) -> Exception:
    """A mistake of the user as it is; anything else as a graph that does not run."""
    if isinstance(error, InputError):
        return error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UnsupportedGraphError(f"its graph does not run ({lines[0][:120]})")


def _prepared(query: Query, boxes: Sequence[tuple[slice, ...]], mode: Incremental, value: float) -> Engine:
    program = program_of(query, value)
    try:
        engine = Engine(program, boxes, None if query.batch_size == "auto" else query.batch_size)
    except _DOES_NOT_RUN as error:
        raise _unsupported(error) from error
    logger.info(
        "incremental occlusion: at most %.1f times fewer operations; %.0f MiB of clean tensors kept",
        engine.operations,
        program.mebibytes,
    )
    if mode == "auto" and engine.operations < _LEAST:
        raise UnsupportedGraphError(f"at most {engine.operations:.1f} times fewer operations are too few")
    return engine
