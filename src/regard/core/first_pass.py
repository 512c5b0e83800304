"""A network's first pass over its inputs, which serves the prediction and the first gradient taken there.

Whoever explains a case must run the network once to know its output. A method that begins with a gradient at these very
inputs would run it again: it takes the pass that has been begun instead, once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from regard.core import recording
from regard.core.inputs import Inputs
from regard.core.mismatch import mismatch_told
from regard.core.recording import Network

__all__ = ["FirstPass", "first_pass", "offered", "take"]


@dataclass(eq=False)
class FirstPass:
    """What the network gave, and the graph that leads there until a gradient takes it.

    Parameters
    ----------
    network
        The network, unwrapped.
    inputs
        The inputs that it was given.
    output
        What it gave, without a graph.
    leaves, attached
        Where the graph starts and ends; None without one, or when it has been taken.
    """

    network: Network
    inputs: Inputs
    output: object
    leaves: list[Tensor] | None
    attached: object


_offered: ContextVar[FirstPass | None] = ContextVar("regard_first_pass", default=None)


def first_pass(network: Network, inputs: Inputs, *, graph: bool) -> FirstPass:
    """Run a network on its inputs, with the graph that a gradient needs or without."""
    with (
        recording.intact(network) as plain,
        mismatch_told(network, inputs.tensors),
        torch.set_grad_enabled(graph),
    ):
        leaves = [x.detach().clone().requires_grad_(graph) for x in inputs.tensors]
        output = inputs.call(plain, [leaf.clone() for leaf in leaves] if graph else inputs.tensors)
    bare = tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, output)
    return FirstPass(plain, inputs, bare, leaves if graph else None, output if graph else None)


@contextmanager
def offered(begun: FirstPass) -> Iterator[None]:
    """Within this context, the first gradient at the pass's inputs takes its graph."""
    token = _offered.set(begun)
    try:
        yield
    finally:
        _offered.reset(token)
        begun.leaves = begun.attached = None


def take(network: Network, tensors: Sequence[Tensor]) -> tuple[list[Tensor], object] | None:
    """The start and the end of a graph that was begun at these very tensors, or None; it is given once."""
    begun = _offered.get()
    if begun is None or begun.leaves is None or begun.network is not network:
        return None
    if len(tensors) != len(begun.inputs.tensors):
        return None
    if not all(x.is_set_to(own) for x, own in zip(tensors, begun.inputs.tensors, strict=True)):
        return None
    found = begun.leaves, begun.attached
    begun.leaves = begun.attached = None
    return found
