"""One recorded pass through a network: a layer's activations and the target's gradient there.

The prefix builds no graph: the layer's output is cut off, and autograd sees only what follows it. Several maps of the
same case share one pass inside `shared_pass`.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regard.core import batching, recording
from regard.core.axes import Axes
from regard.core.errors import CapabilityError
from regard.core.explainer import Query, no_gradient
from regard.core.places import Arrangement, Layout
from regard.core.recording import LayerLike
from regard.core.spatial import n_space, space
from regard.core.tracing import Tracing, followed
from regard.explainers.cam.choice import Choice, choose
from regard.explainers.cam.layout import Reshape, check_places, laid_out, reached

__all__ = ["Recorded", "Reshape", "chosen", "in_batches", "open_tail", "record", "shared_pass"]

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
    reaches
        For each input, whether the layer depends on it.
    instances
        Whether the first spatial axis of the activations is the channels of the input.
    goes_round
        Whether some of what the output was computed from did not pass through the layer.
    gradient_elsewhere
        Whether the target's gradient is 0 at all places, but not on what is no place (a class token).
    warnings
        What whoever sees the map must know.
    """

    name: str
    layer: nn.Module
    output: Tensor
    activations: Tensor
    gradients: Tensor
    value: Tensor
    reshape: Reshape | None = None
    reaches: tuple[bool, ...] = ()
    instances: bool = False
    goes_round: bool = False
    gradient_elsewhere: bool = False
    warnings: tuple[str, ...] = ()

    def _arrangement(self) -> Arrangement | None:
        reshape = self.reshape
        return reshape.arrangement(self.output.shape) if isinstance(reshape, Layout) else (
            reshape if isinstance(reshape, Arrangement) else None
        )  # fmt: skip

    def n_copies(self, output: Tensor) -> int:
        """How many copies of the case an ``output`` of the layer is of."""
        arrangement = self._arrangement()
        if arrangement is not None:
            return arrangement.n_cases(output)
        return int(output.shape[self._case_axis()])

    def _case_axis(self) -> int:
        """Axis of the cases in the output of one case: the first, or where that has more entries the first of one."""
        shape = self.output.shape
        return 0 if shape[0] == 1 or 1 not in shape else list(shape).index(1)

    def _copies(self, n: int) -> Tensor:
        """The layer's output for n copies of the case."""
        arrangement = self._arrangement()
        if arrangement is not None:
            return arrangement.copies(self.output, n)
        axis = self._case_axis()
        return self.output.expand(*self.output.shape[:axis], n, *self.output.shape[axis + 1 :])

    def as_output(self, activations: Tensor) -> Tensor:
        """Changed ``activations`` (n, channel, \\*space) of one case as the layer would give them.

        What ``reshape`` leaves out, such as a class token, stays as it was.
        """
        changed = activations.to(self.output.dtype)
        if self.reshape is None:
            return changed
        outputs = self._copies(changed.shape[0])
        # The derivative of selecting and reordering is its own way back.
        pulled = torch.func.vjp(self.reshape, outputs)
        moved: Tensor = pulled[1](changed - pulled[0])[0]
        return outputs + moved

    def onto(self, coarse: Tensor, x: Tensor, bring: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
        """A map (n, 1, \\*space) of the layer's places on an input's grid.

        It is (n, 1, \\*space), or (n, channel, \\*space) where the channels of the input are places of the layer.
        """
        if not self.instances:
            return bring(coarse, space(x))
        each = coarse[:, 0]
        missing = n_space(x) - n_space(each)
        return bring(each.reshape(*each.shape[:2], *[1] * missing, *each.shape[2:]), space(x))

    def fits(self, x: Tensor) -> bool:
        """Whether an input has the layer's spatial axes."""
        if self.instances:
            return n_space(x) >= n_space(self.activations) - 1 and x.shape[1] == self.activations.shape[2]
        return n_space(x) == n_space(self.activations)


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
        Dotted name, module, or None for the automatic choice.
    reshape
        Gives the layer's output places, where its operations do not tell them.

    Raises
    ------
    CapabilityError
        If the layer does not run, runs more than once, returns something else than one tensor, or does not depend on
        the input.
    ShapeError
        If its output is not (batch, channel, \\*space) with as many spatial axes as an input and more than one place.
    """
    if layer is None:
        return record(query, _first_layer(query), reshape)
    network, tensors = query.network, query.inputs.tensors
    module = recording.find_layer(network, layer, lambda: None)
    key = ("pass", *_case(query), id(module), reshape if isinstance(reshape, Layout) else id(reshape))
    held = (network, tensors, module, reshape)
    return _remembered(key, held, lambda: _record(query, module, reshape))  # type: ignore[no-any-return]


def chosen(query: Query) -> Choice:
    """The layers that are looked at when none is named, found once in a shared pass."""
    held = (query.network, query.inputs.tensors)
    return _remembered(("layer", *_case(query)), held, lambda: choose(query))  # type: ignore[no-any-return]


def _first_layer(query: Query) -> nn.Module:
    """The layer that is looked at when none is named; of a mean of networks, the first one's."""
    choice = chosen(query)
    if choice.layers:
        return choice.layers[0]
    return _first_layer(Query(choice.members[0][1], query.inputs, query.wanted))


def _case(query: Query) -> tuple[Hashable, ...]:
    return id(query.network), tuple(_address(x) for x in query.inputs.tensors), query.inputs.names, query.wanted


def _record(query: Query, layer: nn.Module, reshape: Reshape | None) -> Recorded:
    leaves: list[Tensor] = []
    axes: list[Axes | None] = []
    sources: list[int] = []
    n_inputs = len(query.inputs.tensors)
    tracing = Tracing()

    def cut(output: Tensor) -> Tensor:
        if not leaves:
            known = tracing.of(output)
            axes.append(known.axes)
            sources.append(known.sources)
            leaves.append(output.detach().clone().requires_grad_())
        given = leaves[0].clone()
        tracing.mark(given, n_inputs, alone=True)
        return given

    name = recording.layer_name(query.network, layer)
    tensors = [x.clone() for x in query.inputs.tensors]
    with recording.replaced_output(layer, cut):
        with tracing, followed(query.network, tracing):
            tracing.mark_inputs(tensors)
            value = query.score(tensors)
            seen = tracing.of(value).sources
        if not leaves:
            raise CapabilityError(
                f"the layer '{name}', which the forward pass does not reach", "one that it runs", "name another layer"
            )
        if not value.requires_grad:
            raise no_gradient(query.network, f"the layer '{name}'")
        # Within the context, as a checkpoint runs the layer again.
        gradient = _gradient(query, value, leaves[0], name)
    output = leaves[0].detach()
    reaches = reached(query, layer, name, output, sources[0])
    laid = laid_out(query, layer, name, output, axes[0], reshape)
    precision = torch.float64 if output.dtype == torch.float64 else torch.float32
    activations = output if laid.reshape is None else laid.reshape(output)
    gradients = gradient if laid.reshape is None else laid.reshape(gradient)
    check_places(activations, output, name, query, instances=laid.instances)
    return Recorded(
        name,
        layer,
        output,
        activations.to(precision),
        gradients.to(precision),
        value.detach(),
        laid.reshape,
        reaches=reaches,
        instances=laid.instances,
        goes_round=bool(seen & ((1 << n_inputs) - 1)),
        gradient_elsewhere=bool((gradient != 0).any()) and not bool((gradients != 0).any()),
        warnings=laid.warnings,
    )


def _gradient(query: Query, value: Tensor, leaf: Tensor, name: str) -> Tensor:
    try:
        (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise
        raise CapabilityError(
            f"a {type(query.network).__name__} that overwrites, after the layer '{name}', what its own gradient needs",
            "operations that autograd can follow",
            "name a layer after that, or choose a perturbation method such as occlusion",
        ) from error
    if gradient is None:
        raise no_gradient(query.network, f"the layer '{name}'")
    return gradient


@contextmanager
def open_tail(query: Query, recorded: Recorded) -> Iterator[Callable[[Tensor], object]]:
    """Within this context, run only what follows the layer, for one case.

    Yields
    ------
    Callable
        Takes a layer output (n, ...), as `Recorded.as_output` gives it; returns the network's output (n, ...).
    """
    with recording.tail(query.network, recorded.layer, lambda n: query.forward(query.copies(n))) as evaluate:
        yield lambda output: evaluate(output, recorded.n_copies(output))


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
