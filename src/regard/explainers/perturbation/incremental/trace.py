"""Reading a network as a graph of operations, and running one of its nodes."""

import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, fx, nn

from regard.core.inputs import Inputs
from regard.core.one_thread import alone
from regard.core.recording import Network

__all__ = ["Traced", "UnsupportedGraphError", "invoke", "trace", "writes_in_place"]


class _Tracer(fx.Tracer):
    """A tracer that leaves other threads alone: tracing patches the calls of every module in the process."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class UnsupportedGraphError(Exception):
    """Why a network cannot be run incrementally; the plain loop can."""


class Traced(nn.Module):
    """A network of one input as a graph.

    Parameters
    ----------
    network
        The network, in evaluation mode.
    inputs
        How it takes its input.
    """

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.network = network
        self._names = inputs.names
        self.graph = fx.Graph()

    def forward(self, x: Tensor) -> Any:
        """The network's output for its input."""
        return self.network(x) if self._names is None else self.network(**{self._names[0]: x})

    def constant(self, path: str) -> Any:
        """A parameter, buffer or constant by its dotted path."""
        *parents, name = path.split(".")
        return getattr(self.get_submodule(".".join(parents)), name)


def trace(network: Network, inputs: Inputs) -> Traced:
    """Trace a network; it is left as it was.

    Raises
    ------
    UnsupportedGraphError
        If it is not one module of one input, or its control flow depends on its values.
    """
    if not isinstance(network, nn.Module):
        raise UnsupportedGraphError(f"a {type(network).__name__} is no torch.nn.Module")
    if len(inputs.tensors) != 1:
        raise UnsupportedGraphError("the network has several inputs")
    traced = Traced(network, inputs)
    traced.training = False
    try:
        with alone(), _attributes_kept(network):
            graph = _Tracer().trace(traced)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedGraphError(f"its graph cannot be traced ({reason[0][:120]})") from error
    _follow_writes(graph, traced)
    traced.graph = graph
    return traced


@contextmanager
def _attributes_kept(network: nn.Module) -> Iterator[None]:
    """A forward pass may note tensors on its modules; those of tracing are no tensors."""
    tables: list[dict[str, Any]] = []
    for m in network.modules():
        tables += [m.__dict__, m._parameters, m._buffers, m._modules]
    kept = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, before in zip(tables, kept, strict=True):
            table.clear()
            table.update(before)


def writes_in_place(node: fx.Node, traced: Traced) -> bool:
    """Whether a node writes on its first argument."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place_operator = getattr(operator, name, None) is node.target and name in _IN_PLACE_OPERATORS
    return node.kwargs.get("inplace") is True or in_place_operator or (name.endswith("_") and name[-2:] != "__")


_IN_PLACE_OPERATORS = {"iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imod", "iand", "ior", "ixor"}


def _follow_writes(graph: fx.Graph, traced: Traced) -> None:
    """Let whatever reads a tensor after it was written on read the result of the writing."""
    position = {node: n for n, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.target is operator.setitem or "out" in node.kwargs:
            raise UnsupportedGraphError(f"{node.name} writes on part of a tensor")
        if writes_in_place(node, traced) and node.args and isinstance(node.args[0], fx.Node):
            for user in [user for user in node.args[0].users if position[user] > position[node]]:
                user.replace_input_with(node.args[0], node)


def invoke(node: fx.Node, traced: Traced, value: Callable[[fx.Node], Any] | Mapping[fx.Node, Any]) -> Any:
    """Run one node.

    Parameters
    ----------
    node
        A call, an attribute or the output.
    traced
        What it belongs to.
    value
        Values of the nodes that it reads.
    """
    get = value.__getitem__ if isinstance(value, Mapping) else value
    if node.op == "get_attr":
        return traced.constant(str(node.target))
    if node.op == "output":
        return fx.map_arg(node.args[0], get)
    args, kwargs = fx.map_arg(node.args, get), fx.map_arg(node.kwargs, get)
    if node.op == "call_module":
        return traced.get_submodule(str(node.target))(*args, **kwargs)
    if isinstance(node.target, str):
        return getattr(args[0], node.target)(*args[1:], **kwargs)
    return node.target(*args, **kwargs)
