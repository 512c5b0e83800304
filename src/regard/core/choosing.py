"""Which layer of a network to look at, when nobody names one: one watched forward pass, and a rule.

Of the modules whose output is an activation of the inputs and has places, the last to finish; for an output that is an
image, the last to finish among those of the fewest places. Weights, buffers and the output itself are none.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.core.axes import Axes
from regard.core.errors import CapabilityError
from regard.core.places import Arrangement, arrangement_of
from regard.core.spatial import has_space, n_space
from regard.core.tracing import Tracing, followed, tensors_in

__all__ = ["Candidate", "Watched", "plain_name", "watch"]

_NUMBERED = 64
"""Sources below are inputs."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A module's output, seen in one forward pass.

    Parameters
    ----------
    name, module
        The module.
    order
        When it finished.
    shape
        Of its output.
    arrangement
        How it is turned to (batch, channel, \\*space), where its axes tell.
    sources
        Bits of the inputs and of the earlier candidates that it was computed from.
    n_places
        Number of places, or of what would be places if the output were (batch, channel, \\*space).
    is_form_of_output
        Whether the output is only another form of it.
    reaches_output
        Whether what is explained was computed from it.
    """

    name: str
    module: nn.Module
    order: int
    shape: tuple[int, ...]
    arrangement: Arrangement | None
    sources: int
    n_places: int
    is_form_of_output: bool
    reaches_output: bool

    def comes_from(self, n: int) -> bool:
        """Whether it was computed from input ``n``."""
        return bool(self.sources >> n & 1)


@dataclass(frozen=True, eq=False)
class Watched:
    """What one forward pass showed of a network.

    Parameters
    ----------
    candidates
        In the order in which they finished.
    is_image
        Whether what is explained is read from an image.
    inputs_with_places
        Numbers of the inputs that are images and that the output was computed from.
    members
        The modules whose outputs' mean is the network's output, each on the same inputs; empty for most networks.
    """

    candidates: tuple[Candidate, ...]
    is_image: bool
    inputs_with_places: tuple[int, ...]
    members: tuple[tuple[str, nn.Module], ...]

    def chosen(self, among: Callable[[Candidate], bool] = lambda _: True) -> list[Candidate]:
        """The layer to look at, and for inputs that it does not depend on a layer each that does.

        Raises
        ------
        CapabilityError
            If there is none.
        """
        left = list(self.inputs_with_places)
        pool = self._pool(among)
        picked: list[Candidate] = []
        while pool and (left or not picked):
            most = max(sum(c.comes_from(n) for n in left) for c in pool)
            if picked and not most:
                break
            best = self._best([c for c in pool if sum(c.comes_from(n) for n in left) == most])
            picked.append(best)
            left = [n for n in left if not best.comes_from(n)]
        if not picked:
            raise CapabilityError(
                "a network in which no layer's output has more than one place",
                "a layer (batch, channel, *space)",
                "name a layer, or choose a method that needs none",
            )
        return picked

    def _pool(self, among: Callable[[Candidate], bool]) -> list[Candidate]:
        usable = [c for c in self.candidates if c.n_places > 1 and not c.is_form_of_output and among(c)]
        known = [c for c in usable if c.arrangement is not None and c.arrangement.is_complete]
        return next((p for p in ([c for c in known if c.reaches_output], known, usable) if p), [])

    def _best(self, pool: Sequence[Candidate]) -> Candidate:
        if self.is_image:
            fewest = min(c.n_places for c in pool)
            pool = [c for c in pool if c.n_places == fewest]
        return pool[-1]


def plain_name(name: str) -> str:
    """A module's name without what `torch.compile` puts in."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def watch(
    network: nn.Module,
    forward: Callable[[], object],
    *,
    inputs: Sequence[Tensor] | None = None,
    read: Callable[[object], Tensor] | None = None,
) -> Watched:
    """Run a network once and note what each module gives.

    Parameters
    ----------
    network
        The network.
    forward
        Runs it once.
    inputs
        The very tensors that ``forward`` gives it; by default those of the network's own call.
    read
        What is explained, (batch,), of the output.
    """
    tracing = Tracing()
    kept: list[tuple[str, nn.Module, tuple[int, ...], Axes | None, int, frozenset[int]]] = []
    calls: Counter[nn.Module] = Counter()
    given: list[Tensor] = list(inputs or ())
    lists = {child: n for n, m in enumerate(network.modules()) if isinstance(m, nn.ModuleList) for child in m}
    of_members: dict[nn.Module, object] = {}

    def begin(_: nn.Module, args: object, kwargs: object) -> None:
        if inputs is None and not given:
            given.extend(t for t in tensors_in((args, kwargs)) if t.is_floating_point() and t.ndim >= 2)
            tracing.mark_inputs(given)

    names = {m: plain_name(name) for name, m in network.named_modules()}

    def note(m: nn.Module, args: object, kwargs: object, output: object) -> Tensor | None:
        calls[m] += 1
        if m in lists and _are_inputs(tracing, args, kwargs, given):
            of_members[m] = output
        if isinstance(output, Tensor) and output.ndim >= 2 and m is not network:
            # What passes its argument on is told from it: the network may go on with either.
            passed = any(t is output for t in tensors_in((args, kwargs)))
            given_on = output.view_as(output) if passed else output
            known = tracing.of(given_on)
            kept.append((names[m], m, tuple(output.shape), known.axes, known.sources, known.forms))
            tracing.mark(given_on, _NUMBERED + len(kept) - 1)
            return given_on if passed else None
        return None

    with ExitStack() as stack:
        stack.callback(network.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for m in network.modules():
            if not isinstance(m, torch.jit.ScriptModule):
                stack.callback(m.register_forward_hook(note, with_kwargs=True).remove)
        with torch.no_grad(), followed(network, tracing), tracing:
            if inputs is not None:
                tracing.mark_inputs(given)
            final = forward()
            leaves = tensors_in(final)
            first = _NUMBERED + len(kept)
            for n, leaf in enumerate(leaves):
                tracing.mark(leaf, first + n)
            value = None if read is None else read(final)
    sources = 0
    if value is not None:
        sources = tracing.of(value).sources
    read_leaves = [t for n, t in enumerate(leaves) if sources >> (first + n) & 1] or leaves
    if not sources:
        for t in leaves:
            sources |= tracing.of(t).sources
    forms = tracing.alike(t for t in read_leaves if has_space(t))
    candidates = []
    n_cases = int(given[0].shape[0]) if given else 1
    among = {n_space(x) for x in given if has_space(x)}
    for order, (name, m, shape, axes, own, form) in enumerate(kept):
        if calls[m] > 1:
            continue
        arranged = next((a for n in sorted(among) if (a := arrangement_of(axes, n, n_cases)) is not None), None)
        if arranged is None and (shape[0] != n_cases or len(shape) - 2 not in among):
            continue
        if given and _of_inputs(own) == 0:
            continue
        places = math.prod(arranged.grid if arranged is not None else shape[2:])
        reaches = bool(sources >> (_NUMBERED + order) & 1)
        candidates.append(Candidate(name, m, order, shape, arranged, own, places, bool(form & forms), reaches))
    with_places = tuple(n for n, x in enumerate(given) if has_space(x) and sources >> n & 1)
    return Watched(
        tuple(candidates),
        any(has_space(t) for t in read_leaves),
        with_places or tuple(n for n, x in enumerate(given) if has_space(x)),
        _members(network, of_members, names, final),
    )


def _of_inputs(sources: int) -> int:
    """The bits of ``sources`` that are inputs."""
    return sources & ((1 << _NUMBERED) - 1)


def _are_inputs(tracing: Tracing, args: object, kwargs: object, inputs: Sequence[Tensor]) -> bool:
    """Whether a module was given all inputs as the network was, and nothing else."""
    if kwargs or not isinstance(args, tuple) or len(args) != len(inputs) or not inputs:
        return False
    return all(
        isinstance(a, Tensor) and bool(tracing.of(a).forms & tracing.of(x).forms) and a.shape == x.shape
        for a, x in zip(args, inputs, strict=True)
    )


def _members(
    network: nn.Module, outputs: dict[nn.Module, object], names: dict[nn.Module, str], final: object
) -> tuple[tuple[str, nn.Module], ...]:
    """The modules of a list whose mean is the network's output."""
    if not isinstance(final, Tensor):
        return ()
    for m in network.modules():
        if not isinstance(m, nn.ModuleList) or len(m) < 2 or not all(child in outputs for child in m):
            continue
        given = [outputs[child] for child in m]
        if not all(isinstance(t, Tensor) and t.shape == final.shape for t in given):
            continue
        mean = torch.stack([t for t in given if isinstance(t, Tensor)]).mean(0)
        if torch.allclose(mean, final, rtol=1e-4, atol=1e-6 * float(final.abs().max())):
            return tuple((names[child], child) for child in m)
    return ()
