"""Which layers a class activation map looks at when none is named."""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.core.choosing import Candidate, Watched, watch
from regard.core.errors import CapabilityError
from regard.core.explainer import Query
from regard.core.spatial import space_axes

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, eq=False)
class Choice:
    """What is looked at.

    Parameters
    ----------
    layers
        The layer, and for inputs that it does not depend on a layer each that does.
    members
        Instead of layers: the networks whose mean the network is, by name.
    value
        f(x), (batch,).
    names
        Of the layers.
    """

    layers: tuple[nn.Module, ...]
    members: tuple[tuple[str, nn.Module], ...]
    value: Tensor
    names: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What is looked at side by side, a layer of each branch or all members; empty where one layer is all."""
        if self.members:
            return tuple(name for name, _ in self.members)
        return self.names if len(self.layers) > 1 else ()


def choose(query: Query) -> Choice:
    """Choose by one forward pass; where what follows the layer looks at none of its places, by a second with gradient.

    Raises
    ------
    CapabilityError
        If the network has no layer with places.
    """
    network = query.network
    if not isinstance(network, nn.Module):
        raise CapabilityError(
            f"a network of type {type(network).__name__}", "a torch.nn.Module", "choose another method"
        )
    tensors = [x.clone() for x in query.inputs.tensors]
    values: list[Tensor] = []

    def read(output: object) -> Tensor:
        values.append(query.value(output, query.inputs.n_cases))
        return values[0]

    watched = watch(network, lambda: query.forward(tensors), inputs=tensors, read=read)
    value = values[0].detach()
    if watched.members:
        return Choice((), watched.members, value)
    layers = watched.chosen()
    if any(c.arrangement is not None and c.arrangement.n_entries_apart for c in layers):
        layers = _looked_at(query, network, watched, layers)
    return Choice(tuple(c.module for c in layers), (), value, tuple(c.name for c in layers))


def _looked_at(query: Query, network: nn.Module, watched: Watched, layers: list[Candidate]) -> list[Candidate]:
    """The layers chosen among those at whose places the output has a gradient; ``layers`` if there is none."""
    used = _used(query, network, watched)
    if all(c.module in used for c in layers) or not used:
        return layers
    by_tokens = (
        _is_whole_or_norm if any(_is_whole_or_norm(c) and c.module in used for c in watched.candidates) else _any
    )
    return watched.chosen(lambda c: c.module in used and by_tokens(c))


def _any(_: Candidate) -> bool:
    return True


def _is_whole_or_norm(c: Candidate) -> bool:
    """A part with parts of its own, or a norm: what goes on from block to block, not the inside of one."""
    return (any(True for _ in c.module.children()) or "norm" in type(c.module).__name__.lower()) and (
        c.arrangement is not None
    )


def _used(query: Query, network: nn.Module, watched: Watched) -> set[nn.Module]:
    """The modules at whose places the target's gradient is not 0."""
    candidates = {c.module: c for c in watched.candidates}
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(m: nn.Module, _: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return None
        outputs.append((m, output))
        return output.clone()

    leaves = [x.detach().clone().requires_grad_() for x in query.inputs.tensors]
    with ExitStack() as stack:
        for m in candidates:
            stack.callback(m.register_forward_hook(keep).remove)
        value = query.score([x.clone() for x in leaves])
        if not value.requires_grad:
            return set()
        gradients = torch.autograd.grad(value.sum(), [t for _, t in outputs], allow_unused=True)
    found = set()
    for (m, t), g in zip(outputs, gradients, strict=True):
        if g is None:
            continue
        arrangement = candidates[m].arrangement
        at_places = g if arrangement is None else arrangement(g)
        activations = t.detach() if arrangement is None else arrangement(t.detach())
        axes = space_axes(activations)
        if bool((at_places != 0).any()) and bool((activations.amax(axes) != activations.amin(axes)).any()):
            found.add(m)
    return found
