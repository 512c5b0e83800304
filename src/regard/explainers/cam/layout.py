"""Which axis of a layer is a place: by what the operations before it did, by a probe, or as the user says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.axes import Axes
from regard.core.errors import CapabilityError, ShapeError
from regard.core.explainer import Query
from regard.core.places import GRAMMAR, arrangement_of
from regard.core.spatial import has_space, n_space
from regard.explainers.cam.probing import layout_by_probing, readings

__all__ = ["Laid", "Reshape", "check_places", "laid_out", "reached"]

Reshape: TypeAlias = Callable[[Tensor], Tensor]
"""Gives a layer's output places: tokens (batch, token, feature) -> (batch, channel, \\*space)."""


@dataclass(frozen=True)
class Laid:
    """How a layer's output is turned to (batch, channel, \\*space).

    Parameters
    ----------
    reshape
        What turns it; None where it is so already.
    instances
        Whether the first of its spatial axes is the channels of the input.
    warnings
        What whoever sees the map must know.
    """

    reshape: Reshape | None
    instances: bool = False
    warnings: tuple[str, ...] = ()


def laid_out(
    query: Query, layer: nn.Module, name: str, output: Tensor, axes: Axes | None, reshape: Reshape | None
) -> Laid:
    """How the output of a layer is laid out.

    Parameters
    ----------
    query
        Network and inputs.
    layer, name
        The layer.
    output
        What it gave.
    axes
        What its axes are, as far as its operations tell.
    reshape
        What the user says.
    """
    if reshape is not None:
        return Laid(reshape, instances=getattr(reshape, "kind", "") == "instances")
    inputs = query.inputs
    for n in sorted({n_space(x) for x in inputs.tensors if has_space(x)}, reverse=True):
        arrangement = arrangement_of(axes, n, inputs.n_cases)
        if arrangement is not None:
            return Laid(None if arrangement.is_plain else arrangement, arrangement.instances)
    x = next((t for t in inputs.tensors if has_space(t)), None)
    if x is None or not list(readings(output.shape, x.shape[2:], inputs.n_cases)):
        return Laid(None)
    layout, clear = layout_by_probing(query, layer, output)
    if clear:
        return Laid(layout)
    unclear = (
        f"the axes of the layer '{name}', {tuple(output.shape)}, are taken as (batch, channel, *space): neither its "
        "operations nor a change of the input tells; reshape= (--reshape) says how they lie"
    )
    return Laid(None, warnings=(unclear,))


def check_places(activations: Tensor, output: Tensor, name: str, query: Query, *, instances: bool) -> None:
    """See that activations are (batch, channel, \\*space) with an input's spatial axes and more than one place."""
    inputs = query.inputs
    fits = instances or any(n_space(activations) == n_space(x) for x in inputs.tensors)
    if fits and has_space(activations) and activations.shape[0] == inputs.n_cases:
        return
    got = f"the layer '{name}', which gives {tuple(output.shape)}"
    if activations is not output:
        got += f", reshaped to {tuple(activations.shape)}"
    raise ShapeError(
        got + f" for an input of {tuple(inputs.tensors[0].shape)}",
        "activations (N, C, *space) with the input's spatial axes and more than one place",
        "name a layer that gives them, or give reshape=, a function from the layer's output to (N, C, *space) or, "
        f"there and as --reshape: {GRAMMAR}",
    )


def reached(query: Query, layer: nn.Module, name: str, output: Tensor, sources: int) -> tuple[bool, ...]:
    """For each input, whether the layer depends on it.

    Raises
    ------
    CapabilityError
        If it depends on none.
    """
    tensors = query.inputs.tensors
    told = tuple(bool(sources >> n & 1) for n in range(len(tensors)))
    if any(told):
        return told
    # Its operations were not seen: change the inputs and look.
    with torch.no_grad(), recording.replaced_output(layer, lambda t: t.clone()) as outputs:
        query.forward(
            [x + torch.linspace(1, 2, x.numel(), dtype=x.dtype, device=x.device).reshape(x.shape) for x in tensors]
        )
    if torch.equal(outputs[0], output):
        raise CapabilityError(
            f"the layer '{name}', which gives the same for another input: a weight or a table",
            "an activation of the input",
            "name another layer",
        )
    return (True,) * len(tensors)
