"""One recorded pass through a network: a layer's activations and the target's gradient there.

The prefix builds no graph: the layer's output is cut off, and autograd sees only what follows it. Several maps of the
same case share one pass inside `shared_pass`.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from regard.core import batching, recording
from regard.core.errors import CapabilityError, ShapeError
from regard.core.explainer import Query, no_gradient
from regard.core.recording import LayerLike
from regard.core.spatial import has_space, n_space

__all__ = ["Recorded", "Reshape", "in_batches", "open_tail", "record", "shared_pass"]

Reshape: TypeAlias = Callable[[Tensor], Tensor]
"""Gives a layer's output places: tokens (batch, token, feature) -> (batch, channel, \\*space)."""

_passes: ContextVar[dict[Hashable, tuple[Any, Any]] | None] = ContextVar("regard_passes", default=None)


@dataclass(frozen=True, eq=False)
class Recorded:
    """What one pass through the network showed of one layer.

    Parameters
    ----------
    name
        Dotted name of the layer.
    layer
        The layer.
    output
        What it gave, as it gave it.
    activations
        The same with places, (batch, channel, \\*space), float32 (float64 for a network in float64).
    gradients
        Derivative of the target with respect to the activations, of the same shape and type.
    value
        f(x), the target's value (batch,).
    reshape
        What gave the output its places, or None.
    """

    name: str
    layer: nn.Module
    output: Tensor
    activations: Tensor
    gradients: Tensor
    value: Tensor
    reshape: Reshape | None = None

    def as_output(self, activations: Tensor) -> Tensor:
        """Changed ``activations`` (n, channel, \\*space) of one case as the layer would give them.

        What ``reshape`` leaves out, such as a class token, stays as it was.
        """
        changed = activations.to(self.output.dtype)
        if self.reshape is None:
            return changed
        outputs = self.output.expand(changed.shape[0], *self.output.shape[1:])
        # The derivative of selecting and reordering is its own way back.
        pulled = torch.func.vjp(self.reshape, outputs)
        moved: Tensor = pulled[1](changed - pulled[0])[0]
        return outputs + moved


@contextmanager
def shared_pass() -> Iterator[None]:
    """Within this context, maps of the same network, layer, inputs and target share one recorded pass.

    The network's weights must not change meanwhile. What was recorded is let go on leaving.
    """
    passes: dict[Hashable, tuple[Any, Any]] = {}
    token = _passes.set(passes)
    try:
        yield
    finally:
        _passes.reset(token)
        passes.clear()


def _remembered(key: Hashable, held: object, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, made once in a shared pass; ``held`` is kept alive so that no address is used anew."""
    passes = _passes.get()
    if passes is None:
        return make()
    if key not in passes:
        passes[key] = (make(), held)
    return passes[key][0]


def _address(x: Tensor) -> Hashable:
    version = 0 if x.is_inference() else x._version
    return x.data_ptr(), x.shape, x.stride(), x.dtype, x.device, version


def record(query: Query, layer: LayerLike, reshape: Reshape | None = None) -> Recorded:
    """Run the network once and note a layer's activations and the target's gradient there.

    Parameters
    ----------
    query
        Network, inputs (a batch of cases or one) and target; the network frozen, as `recording.intact` has it.
    layer
        Dotted name, module, or None for the last layer with places.
    reshape
        Gives the layer's output places, where it has none.

    Raises
    ------
    CapabilityError
        If the layer does not run, runs more than once, or returns something else than one tensor.
    ShapeError
        If its output is not (batch, channel, \\*space) with as many spatial axes as an input and more than one place.
    """
    network, tensors = query.network, query.inputs.tensors
    case = (id(network), tuple(_address(x) for x in tensors), query.inputs.names)

    def find() -> nn.Module:
        return recording.find_layer(network, layer, lambda: query.forward([x.clone() for x in tensors]))

    module = _remembered(("layer", *case), (network, tensors), find) if layer is None else find()
    key = ("pass", *case, id(module), id(reshape), query.wanted)
    held = (network, tensors, module, reshape)
    return _remembered(key, held, lambda: _record(query, module, reshape))  # type: ignore[no-any-return]


def _record(query: Query, layer: nn.Module, reshape: Reshape | None) -> Recorded:
    leaves: list[Tensor] = []

    def cut(output: Tensor) -> Tensor:
        leaves.append(output.detach().clone().requires_grad_())
        return leaves[0].clone()

    name = recording.layer_name(query.network, layer)
    with recording.replaced_output(layer, cut):
        value = query.score([x.clone() for x in query.inputs.tensors])
    if not leaves:
        raise CapabilityError(
            f"the layer '{name}', which the forward pass does not reach", "one that it runs", "name another layer"
        )
    if not value.requires_grad:
        raise no_gradient(query.network, f"the layer '{name}'")
    (gradient,) = torch.autograd.grad(value.sum(), leaves[0], allow_unused=True)
    if gradient is None:
        raise no_gradient(query.network, f"the layer '{name}'")
    output = leaves[0].detach()
    activations = output if reshape is None else reshape(output)
    _check_places(activations, output, name, query)
    precision = torch.float64 if output.dtype == torch.float64 else torch.float32
    return Recorded(
        name,
        layer,
        output,
        activations.to(precision),
        (gradient if reshape is None else reshape(gradient)).to(precision),
        value.detach(),
        reshape,
    )


def _check_places(activations: Tensor, output: Tensor, name: str, query: Query) -> None:
    inputs = query.inputs
    fits = any(n_space(activations) == n_space(x) for x in inputs.tensors)
    if fits and has_space(activations) and activations.shape[0] == inputs.n_cases:
        return
    got = f"the layer '{name}', which gives {tuple(output.shape)}"
    if activations is not output:
        got += f", reshaped to {tuple(activations.shape)}"
    raise ShapeError(
        got + f" for an input of {tuple(inputs.tensors[0].shape)}",
        "activations (N, C, *space) with the input's spatial axes and more than one place",
        "name a layer that gives them, or give reshape=, a function from the layer's output to (N, C, *space)",
    )


@contextmanager
def open_tail(query: Query, recorded: Recorded) -> Iterator[Callable[[Tensor], object]]:
    """Within this context, run only what follows the layer, for one case.

    Yields
    ------
    Callable
        Takes a layer output (n, ...), as `Recorded.as_output` gives it; returns the network's output (n, ...).
    """
    with recording.tail(query.network, recorded.layer, lambda n: query.forward(query.copies(n))) as evaluate:
        yield evaluate


def in_batches(query: Query, n_items: int, evaluate: Callable[[range], Tensor], label: str) -> Tensor:
    """Join ``evaluate`` of ranges of items, (n, ...) each, without a graph; batched by what fits the memory."""
    parts: list[Tensor] = []

    def quietly(items: range) -> Tensor:
        with torch.no_grad():
            return evaluate(items)

    batching.run(
        quietly, n_items, lambda _, part: parts.append(part), batch_size=query.items_at_once(n_items), label=label
    )
    return torch.cat(parts)
