"""Looking inside a network, and leaving it byte for byte as it was.

Hooks, modes and gradient flags change only inside the contexts of this file, and are put back also after an exception.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from regard.core.choosing import plain_name, watch
from regard.core.errors import CapabilityError, UnknownNameError
from regard.core.one_thread import alone
from regard.core.plainly import in_backward, plainly, without_checkpoints

__all__ = [
    "GRADIENT",
    "LAYERS",
    "LayerLike",
    "Network",
    "capabilities",
    "find_layer",
    "intact",
    "layer_name",
    "patched_forward",
    "replaced_output",
    "tail",
    "unwrap",
]

Network: TypeAlias = nn.Module | Callable[..., Any]
LayerLike: TypeAlias = str | nn.Module | None
"""A layer by dotted name, as the module itself, or None for the last one with places."""

GRADIENT = "gradient"
LAYERS = "layers"


def unwrap(network: Network) -> Network:
    """The network itself, out of `torch.compile`, data-parallel wrappers and Regard's models."""
    while True:
        if hasattr(network, "_orig_mod"):
            network = network._orig_mod
        elif isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif hasattr(network, "regard_network"):
            network = network.regard_network
        else:
            return network


def capabilities(network: Network) -> frozenset[str]:
    """What a network can do: ``"gradient"`` (autograd passes through) and ``"layers"`` (modules can be hooked)."""
    declared = getattr(network, "capabilities", None)
    if declared is not None:
        return frozenset(declared)
    network = unwrap(network)
    if isinstance(network, torch.jit.ScriptModule):
        return frozenset({GRADIENT})
    if isinstance(network, nn.Module):
        return frozenset({GRADIENT, LAYERS})
    return frozenset({GRADIENT})


@contextmanager
def intact(network: Network) -> Iterator[Network]:
    """Within this context the network is in evaluation mode with frozen parameters; afterwards it is as it was.

    Restores modes, ``requires_grad``, buffers and the random state; ``.grad`` is never touched. One thread at a time:
    another that asks waits, since modes, hooks, the random state and what tracing patches belong to the process.
    """
    with alone(), _restored(network) as plain:
        yield plain


@contextmanager
def _restored(network: Network) -> Iterator[Network]:
    network = unwrap(network)
    module = network if isinstance(network, nn.Module) else nn.Module()
    modes = [(m, m.training) for m in module.modules()]
    # The flag of a tensor made in inference mode cannot be put back, so it stays.
    flags = [(p, p.requires_grad) for p in module.parameters() if not p.is_inference()]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    random_state = torch.get_rng_state()
    cuda_state = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        for m, _ in modes:
            m.training = False
        for p, _ in flags:
            p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), plainly():
            yield network
    finally:
        for m, training in modes:
            m.training = training
        for p, requires_grad in flags:
            p.requires_grad_(requires_grad)
        with torch.no_grad():
            for b, saved in buffers:
                if not torch.equal(b, saved):
                    with torch.inference_mode(b.is_inference()):
                        b.copy_(saved)
        torch.set_rng_state(random_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state_all(cuda_state)


def _module(network: Network) -> nn.Module:
    network = unwrap(network)
    if LAYERS not in capabilities(network) or not isinstance(network, nn.Module):
        raise CapabilityError(
            f"a network of type {type(network).__name__}, which has no layers to look into",
            "a torch.nn.Module",
            "choose a method that needs no layers, such as integrated-gradients or occlusion",
        )
    return network


def layer_name(network: Network, layer: nn.Module) -> str:
    """Dotted name of a module inside the network."""
    named = _module(network).named_modules(remove_duplicate=False)
    return next((plain_name(name) for name, m in named if m is layer), type(layer).__name__)


def find_layer(network: Network, layer: LayerLike, forward: Callable[[], object]) -> nn.Module:
    """Find a layer by name or as given; by None, the last one that still has places.

    Parameters
    ----------
    network
        The network.
    layer
        Dotted name (parts that `torch.compile` wrapped are named as they were before), module, or None for the
        automatic choice (`regard.core.choosing`).
    forward
        Runs the network once (used only for None).

    Raises
    ------
    UnknownNameError
        If the network has no such layer.
    CapabilityError
        If the network has no layers, or none with places.
    """
    module = _module(network)
    if isinstance(layer, nn.Module):
        inner = unwrap(layer)
        if not any(m is inner for m in module.modules()):
            raise UnknownNameError(f"a layer {type(layer).__name__}", "a module inside the network")
        return inner  # type: ignore[return-value]
    if layer is None:
        return watch(module, forward).chosen()[0].module
    names = {plain_name(name): m for name, m in module.named_modules(remove_duplicate=False)}
    given = plain_name(layer)
    if given not in names or given == "":
        raise UnknownNameError.suggest("layer", layer, [n for n in names if n])
    return unwrap(names[given])  # type: ignore[return-value]


@contextmanager
def replaced_output(
    layer: nn.Module, replace: Callable[[Tensor], Tensor], *, network: Network | None = None
) -> Iterator[list[Tensor]]:
    """Within this context ``replace`` stands between the layer and what follows it.

    Yields a list to which each output of the layer is added. ``replace`` gets the output and returns what goes on;
    it must be a tensor of its own, so that an in-place operation that follows does no harm. A layer inside a checkpoint
    runs again when autograd runs backward: ``replace`` is then asked again, with the first output.
    """
    outputs: list[Tensor] = []

    def hook(_: nn.Module, __: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise CapabilityError(
                f"a layer that returns {type(output).__name__}", "one tensor", "name a layer inside or after it"
            )
        if outputs and in_backward():
            return replace(outputs[0])
        if outputs:
            raise CapabilityError(
                f"the layer {type(layer).__name__}, which runs more than once in a forward pass",
                "a layer that runs once",
                "name another layer",
            )
        outputs.append(output)
        return replace(output)

    if isinstance(layer, torch.jit.ScriptModule):
        raise CapabilityError(
            f"a scripted layer {layer.original_name}, which runs outside of Python",
            "a layer that can be looked into",
            "name one outside of the scripted part, or give the network as it was before torch.jit.script",
        )
    handle = layer.register_forward_hook(hook)
    try:
        yield outputs
    finally:
        handle.remove()


def at_layer(network: Network, layer: LayerLike) -> Callable[..., Tensor]:
    """What a layer of the network gives, as a function of the network's inputs; gradients pass through.

    Parameters
    ----------
    network
        The network.
    layer
        Dotted name or module; it runs once and returns one tensor.
    """
    module = find_layer(network, layer, lambda: None)

    def run(*inputs: Tensor, **named: Tensor) -> Tensor:
        with replaced_output(module, lambda t: t.clone(), network=network) as outputs:
            network(*inputs, **named)
        if not outputs:
            raise CapabilityError(
                f"the layer {layer_name(network, module)}, which did not run", "one that the network passes through"
            )
        return outputs[0]

    return run


@contextmanager
def tail(network: Network, layer: nn.Module, forward: Callable[[int], object]) -> Iterator[Callable[..., object]]:
    """Within this context, run only what follows a layer.

    The forward pass is run once; modules that finished before the layer then give back what they gave, so that one
    evaluation costs the network's tail. Skip connections are kept.

    Parameters
    ----------
    network
        The network.
    layer
        A module of it that runs once.
    forward
        Runs the network on n copies of one case's inputs.

    Yields
    ------
    Callable
        Takes outputs of the layer for n copies of one case, and n (None: as many as they have rows); returns the
        network's output (n, ...).
    """
    module = _module(network)
    finished: list[tuple[nn.Module, _Call]] = []
    running: list[tuple[nn.Module, int, list[int]]] = []
    reached: list[_Call] = []

    def enter(m: nn.Module, args: object, kwargs: object) -> None:
        running.append((m, len(finished), [_version(t) for t in _tensors((args, kwargs))]))

    def leave(_: nn.Module, args: object, kwargs: object, output: object) -> None:
        m, start, versions = running.pop()
        if reached:
            return
        call = _Call.of(_tensors((args, kwargs)), versions, output)
        if m is layer:
            reached.append(call)
        # A result that is not one case's, such as a table of positions, is made anew by what made it.
        if m is layer or all(t.shape[:1] in ((), (1,)) for t in _tensors(output)):
            del finished[start:]
            if m is not layer:
                finished.append((m, call))

    with ExitStack() as stack:
        for m in (m for m in module.modules() if not isinstance(m, torch.jit.ScriptModule)):
            stack.callback(m.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(m.register_forward_hook(leave, with_kwargs=True).remove)
        with torch.no_grad():
            forward(1)
    if not reached:
        raise CapabilityError("a layer that the forward pass does not reach", "one that it runs", "name another layer")

    shortcuts: dict[nn.Module, list[_Call]] = {}
    for m, call in finished:
        shortcuts.setdefault(m, []).append(call)

    def evaluate(replacement: Tensor, n_copies: int | None = None) -> object:
        n = replacement.shape[0] if n_copies is None else n_copies

        def replaced(*args: Any, **kwargs: Any) -> Tensor:
            reached[0].write(_tensors((args, kwargs)))
            return replacement.clone()

        with ExitStack() as patches, without_checkpoints():
            for m, calls in shortcuts.items():
                patches.enter_context(patched_forward(m, _recall(calls, n, m.forward)))
            patches.enter_context(patched_forward(layer, replaced))
            return forward(n)

    yield evaluate


def _tensors(values: object) -> list[Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


def _version(t: Tensor) -> int:
    """How often a tensor has been written to in place."""
    return 0 if t.is_inference() else t._version


@dataclass(frozen=True, eq=False)
class _Call:
    """What a module did when it was called: its output, and its arguments that it wrote to, by position.

    A later skip connection may read such an argument, or the output where that is an argument itself.
    """

    output: Any
    written: dict[int, Tensor]
    returned: int | None

    @classmethod
    def of(cls, arguments: list[Tensor], versions: list[int], output: object) -> "_Call":
        written = {i: t.detach().clone() for i, t in enumerate(arguments) if _version(t) != versions[i]}
        returned = next((i for i, t in enumerate(arguments) if t is output), None)
        if returned is not None:
            return cls(None, written, returned)
        return cls(tree_map(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, output), written, None)

    def write(self, arguments: list[Tensor]) -> None:
        """Write to the arguments what the call wrote."""
        for i, value in self.written.items():
            arguments[i].copy_(value.expand_as(arguments[i]))

    def again(self, arguments: list[Tensor], n: int) -> Any:
        """Do the same once more, for n copies of the case."""
        self.write(arguments)
        if self.returned is not None:
            return arguments[self.returned]

        def copies(t: Any) -> Any:
            return t.expand(n, *t.shape[1:]).clone() if isinstance(t, Tensor) and t.ndim else t

        return tree_map(copies, self.output)


def _recall(calls: list[_Call], n: int, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that repeats ``calls`` in turn, for n copies of the case, and then runs as usual."""
    recorded = iter(calls)

    def give(*args: Any, **kwargs: Any) -> Any:
        for call in recorded:
            return call.again(_tensors((args, kwargs)), n)
        return forward(*args, **kwargs)

    return give


@contextmanager
def patched_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within this context calling ``module`` runs ``forward`` in its place; its hooks still run."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own
