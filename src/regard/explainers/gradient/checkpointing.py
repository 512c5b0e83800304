"""Gradients in less memory: parts of a network keep their input alone, and run again when the gradient needs them."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint as recompute

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import Query
from regard.core.recording import LAYERS, capabilities, patched_forward

__all__ = ["Checkpoint", "Part", "checkpointed", "cheapest_parts", "read_checkpoint"]

logger = logging.getLogger(__name__)

Checkpoint: TypeAlias = Literal["auto", "never", "always"]
"""``"auto"`` when memory runs out at one image, ``"always"``, ``"never"``."""


def read_checkpoint(value: str) -> Checkpoint:
    """Read the knob.

    Raises
    ------
    InputError
        If it is none of its words.
    """
    if value not in ("auto", "never", "always"):
        raise InputError(f"checkpoint={value!r}", "auto, always or never", "choose one")
    return value  # type: ignore[return-value]


@dataclass(eq=False)
class Part:
    """A module that ran, or a run of children of a sequential one, and what its gradient would keep.

    Parameters
    ----------
    modules
        The module, or neighbouring children of ``owner``.
    owner
        The `torch.nn.Sequential` that they are children of; None for a module by itself.
    given
        Bytes of its input.
    saved
        Bytes that the gradient keeps inside it.
    writes
        Whether it ever writes on its input: what follows may rely on that, so that it is left alone.
    passes_on
        Whether its output is its input, or a view of it.
    children
        What ran directly inside it, in order.
    """

    modules: tuple[nn.Module, ...]
    owner: nn.Sequential | None = None
    given: int = 0
    saved: int = 0
    writes: bool = False
    passes_on: bool = False
    children: list["Part"] = field(default_factory=list)

    def split(self) -> list["Part"]:
        """Smaller parts of it that can be run again; empty if there are none."""
        able = [child for child in self.children if child.gains]
        module, names = self.modules[0], {child.modules[0] for child in self.children}
        # A subclass may do something else with its children.
        plain = self.owner is None and type(module).forward is nn.Sequential.forward
        if plain and len(self.children) > 2 and len(names) == len(self.children):
            return _runs(module, self.children)  # type: ignore[arg-type]
        return able

    @property
    def gains(self) -> bool:
        """Whether it can be run again, and keeps more than its input."""
        return not self.writes and self.saved > self.given


def _runs(owner: nn.Sequential, children: Sequence[Part]) -> list[Part]:
    """Cut children into about as many runs as the root of their number, of about equal memory each."""
    n_runs = max(2, round(math.sqrt(len(children))))
    share = sum(c.saved for c in children) / n_runs
    runs: list[list[Part]] = [[]]
    for child in children:
        full = sum(c.saved for c in runs[-1]) >= share
        if runs[-1] and full and not child.writes:
            runs.append([])
        runs[-1].append(child)
    joined = [run[0] if len(run) == 1 else _joined(owner, run) for run in runs]
    return [part for part in joined if part.gains]


def _joined(owner: nn.Sequential, run: list[Part]) -> Part:
    """Neighbouring children as one part."""
    # Children write on the run's input as long as all before them hand it on.
    handed_on = [n == 0 or all(c.passes_on for c in run[:n]) for n in range(len(run))]
    writes = any(c.writes for c, same in zip(run, handed_on, strict=True) if same)
    modules = tuple(c.modules[0] for c in run)
    return Part(modules, owner, run[0].given, sum(c.saved for c in run), writes, False, run)


def cheapest_parts(whole: Part) -> list[Part]:
    """Parts whose inputs, with the inside of the largest one, take the least memory.

    Parts are split, the largest first, as long as there is something to split; the best of these ways is taken. An
    empty list says that nothing is gained.
    """

    def peak(parts: Sequence[Part]) -> int:
        # Gradients go backwards: the inputs of later parts are let go before an earlier one runs again.
        given = accumulate(p.given for p in parts)
        again = max((g + p.saved for g, p in zip(given, parts, strict=True)), default=0)
        return whole.saved - sum(p.saved for p in parts) + again

    parts, best = whole.split(), []
    least = whole.saved
    while parts:
        if peak(parts) < least:
            least, best = peak(parts), list(parts)
        largest = max(parts, key=lambda p: p.saved)
        smaller = largest.split()
        if not smaller:
            break
        at = parts.index(largest)
        parts[at : at + 1] = smaller
    return best


@contextmanager
def checkpointed(query: Query) -> Iterator[list[Part]]:
    """Within this context the network's gradients keep little and compute again what they need.

    The network runs once without keeping anything, to see where its memory goes; then its parts are chosen
    (`cheapest_parts`). Values and gradients are the same: each part runs the same operations twice.

    Parameters
    ----------
    query
        Network, frozen, and the inputs of one case.

    Yields
    ------
    list of Part
        The parts that run again; empty, with a warning, where that would save nothing.

    Raises
    ------
    CapabilityError
        If the network has no layers.

    Notes
    -----
    Chen, Xu, Zhang and Guestrin 2016 (arXiv 1604.06174), with parts chosen by measured memory.
    """
    network = query.network
    if LAYERS not in capabilities(network) or not isinstance(network, nn.Module):
        raise CapabilityError(
            f"a network of type {type(network).__name__}, which has no layers to run again",
            "a torch.nn.Module",
            "choose checkpoint='never'",
        )
    parts = cheapest_parts(_seen(network, query))
    if not parts:
        logger.warning("%s: no part of it can be run again to save memory", type(network).__name__)
    logger.info("gradients run %d parts of the network again", len(parts))
    owners: dict[nn.Sequential, list[Part]] = {}
    with ExitStack() as stack:
        for part in parts:
            if part.owner is not None:
                owners.setdefault(part.owner, []).append(part)
        for module in {part.modules[0]: None for part in parts if part.owner is None}:
            stack.enter_context(patched_forward(module, _again(module.forward)))
        for owner, runs in owners.items():
            stack.enter_context(patched_forward(owner, _in_runs(owner, runs)))
        yield parts


def _seen(network: nn.Module, query: Query) -> Part:
    """The tree of what ran, with the bytes that a gradient would keep; nothing is kept here."""
    weights = {t.data_ptr() for t in (*network.parameters(), *network.buffers())}
    running: list[tuple[Part, list[int]]] = []
    seen: list[Part] = []
    writers: set[nn.Module] = set()

    def enter(m: nn.Module, args: Any, kwargs: Any) -> None:
        given = _tensors((args, kwargs))
        part = Part((m,), given=sum(t.numel() * t.element_size() for t in given))
        running.append((part, [t._version for t in given]))

    def leave(m: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        part, versions = running.pop()
        given = _tensors((args, kwargs))
        if [t._version for t in given] != versions:
            writers.add(m)
        part.passes_on = bool({t.data_ptr() for t in given} & {t.data_ptr() for t in _tensors(output)})
        if running:
            running[-1][0].children.append(part)
        seen.append(part)

    def pack(t: Tensor) -> None:
        if t.data_ptr() not in weights:
            for part, _ in running:
                part.saved += t.numel() * t.element_size()

    with ExitStack() as stack:
        for m in network.modules():
            stack.callback(m.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(m.register_forward_hook(leave, with_kwargs=True).remove)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda nothing: nothing))
        query.forward([x.detach().clone().requires_grad_().clone() for x in query.inputs.tensors])
    for part in seen:
        part.writes = part.modules[0] in writers
    return seen[-1]


def _tensors(values: object) -> list[Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


def _copied(values: Any) -> Any:
    return tree_map(lambda t: t.clone() if isinstance(t, Tensor) else t, values)


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that keeps a copy of its input and nothing else: writing on the original later does no harm."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in _tensors((args, kwargs)))):
            return forward(*args, **kwargs)
        return recompute(forward, *_copied(args), use_reentrant=False, preserve_rng_state=False, **_copied(kwargs))

    return run


def _in_runs(owner: nn.Sequential, runs: Sequence[Part]) -> Callable[[Any], Any]:
    """The forward of a sequential module, some runs of whose children are run again."""
    first = {run.modules[0]: run for run in runs}
    later = {m for run in runs for m in run.modules[1:]}

    def chain(modules: Sequence[nn.Module]) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for m in modules:
                x = m(x)
            return x

        return forward

    steps = [_again(chain(first[m].modules)) if m in first else m for m in owner if m not in later]

    def forward(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return forward
