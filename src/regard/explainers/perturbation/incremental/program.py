"""One pass over the unhidden input: which nodes run on patches, what must be kept, how many operations each costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from regard.explainers.perturbation.incremental.operations import AbstractOperation
from regard.explainers.perturbation.incremental.recognise import recognise
from regard.explainers.perturbation.incremental.trace import Traced, UnsupportedGraphError, invoke, writes_in_place

__all__ = ["Kind", "Program", "Step", "read_program"]

_SHAPES = {"size", "dim", "ndimension", "numel", "getattr"}
_ATTRIBUTES = {"shape", "ndim", "dtype", "device"}


class Kind(Enum):
    """How a node is run for a batch of windows."""

    INPUT = "the hidden input"
    CONSTANT = "no window changes it"
    PATCH = "only where windows reach"
    SHAPE = "a shape"
    WHOLE = "on whole tensors"


@dataclass
class Step:
    """A node, and what is known about it.

    Parameters
    ----------
    node
        The node.
    kind
        How it is run.
    operation
        What it does to a box, for `Kind.PATCH`.
    like
        An empty tensor of the clean output's shape and type, where that is one tensor.
    clean
        Its value for the unhidden input, where that is needed again.
    flops
        Floating-point operations for the whole tensor of one case, of convolutions and matrix products.
    last
        The nodes that nobody reads after this step.
    """

    node: fx.Node
    kind: Kind
    operation: AbstractOperation | None = None
    like: Tensor | None = None
    clean: Any = None
    flops: int = 0
    last: tuple[fx.Node, ...] = ()


@dataclass
class Program:
    """A network, ready for windows.

    Parameters
    ----------
    traced
        Its graph.
    steps
        By node, in the order in which they run; the last gives the output.
    output
        For the unhidden input.
    """

    traced: Traced
    steps: dict[fx.Node, Step]
    output: Any

    @property
    def mebibytes(self) -> float:
        """Memory of the clean tensors that are kept."""
        kept = [s.clean for s in self.steps.values() if s.kind in (Kind.INPUT, Kind.PATCH)]
        return sum(t.numel() * t.element_size() for t in kept if isinstance(t, Tensor)) / 2**20

    @property
    def flops(self) -> int:
        """Of one whole forward pass."""
        return sum(step.flops for step in self.steps.values())


@torch.no_grad()
def read_program(traced: Traced, x: Tensor, *, limit: float) -> Program:
    """Run a traced network on the unhidden input and decide how each node is run.

    Parameters
    ----------
    traced
        The network.
    x
        The input (1, channel, \\*space).
    limit
        Most MiB of clean tensors to keep.

    Raises
    ------
    UnsupportedGraphError
        If too much must be kept, or a tensor is written on in a way that cannot be followed.
    """
    nodes = [n for n in traced.graph.nodes if n.users or n.op == "output"]
    last_reader = {read: node for node in nodes for read in node.all_input_nodes}
    last: dict[fx.Node, list[fx.Node]] = {}
    for read, reader in last_reader.items():
        last.setdefault(reader, []).append(read)
    steps: dict[fx.Node, Step] = {}
    values: dict[fx.Node, Any] = {}
    needed: set[fx.Node] = set()
    kept = 0.0
    with FlopCounterMode(display=False) as counter:
        for node in nodes:
            before = counter.get_total_flops()
            kind, operation = _decide(node, traced, steps, values)
            flops_of_looking = counter.get_total_flops() - before
            values[node] = x.clone() if kind is Kind.INPUT else _clean_value(node, traced, values, last)
            step = Step(node, kind, operation, _like(values[node]), last=tuple(last.get(node, ())))
            step.flops = counter.get_total_flops() - before - flops_of_looking
            steps[node] = step
            if kind is Kind.WHOLE or (operation is not None and operation.reads_around):
                needed.update(i for i in node.all_input_nodes if steps[i].kind in (Kind.INPUT, Kind.PATCH))
            for done in step.last:
                value = values.pop(done)
                if done in needed or steps[done].kind is Kind.CONSTANT:
                    steps[done].clean = value
                if done in needed:
                    kept += value.numel() * value.element_size() / 2**20
                    if kept > limit:
                        raise UnsupportedGraphError(f"more than {limit:.0f} MiB of clean tensors would have to be kept")
    return Program(traced, steps, values[nodes[-1]])


def _decide(
    node: fx.Node, traced: Traced, steps: Mapping[fx.Node, Step], values: Mapping[fx.Node, Any]
) -> tuple[Kind, AbstractOperation | None]:
    if node.op == "placeholder":
        return Kind.INPUT, None
    if node.op == "output":
        return Kind.WHOLE, None
    changed = [i for i in node.all_input_nodes if steps[i].kind is not Kind.CONSTANT]
    if not changed:
        return Kind.CONSTANT, None
    if _asks_for_shape(node):
        return Kind.SHAPE, None
    patches = [i for i in changed if steps[i].kind in (Kind.INPUT, Kind.PATCH)]
    shapes_only = all(steps[i].kind in (Kind.INPUT, Kind.PATCH) or _no_tensor(values[i]) for i in changed)
    operation = recognise(node, traced, patches, values) if patches and shapes_only else None
    return (Kind.WHOLE, None) if operation is None else (Kind.PATCH, operation)


def _asks_for_shape(node: fx.Node) -> bool:
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _ATTRIBUTES
    return node.op == "call_method" and node.target in _SHAPES


def _no_tensor(value: Any) -> bool:
    return not any(isinstance(t, Tensor) for t in tree_leaves(value))


def _like(value: Any) -> Tensor | None:
    """An empty tensor with the shape of ``value``, which takes no memory."""
    return value.new_empty(()).expand(value.shape) if isinstance(value, Tensor) else None


def _clean_value(
    node: fx.Node, traced: Traced, values: Mapping[fx.Node, Any], last: Mapping[fx.Node, Sequence[fx.Node]]
) -> Any:
    """A node's value; what it writes on is a copy, because the tensor itself may be read again as it was."""
    inputs = {i: values[i] for i in node.all_input_nodes}
    if writes_in_place(node, traced):
        first = node.args[0]
        assert isinstance(first, fx.Node)
        storage = _storage(values[first])
        gone = {first, *last.get(node, ())}
        if any(_storage(v) == storage for i, v in values.items() if i not in gone):
            raise UnsupportedGraphError(f"{node.name} writes on a tensor that is read elsewhere under another name")
        inputs[first] = values[first].clone()
    versions = {i: v._version for i, v in inputs.items() if isinstance(v, Tensor)}
    value = invoke(node, traced, inputs)
    written = [i for i, version in versions.items() if inputs[i]._version != version]
    if written and not writes_in_place(node, traced):
        raise UnsupportedGraphError(f"{node.name} writes on its input")
    return value


def _storage(value: Any) -> int | None:
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else None
