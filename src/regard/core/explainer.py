"""The abstract explainer: tensors in, a signed float32 map on the input's grid out.

A new method is a subclass with one method to write, `_attribute`, which gets a `Query` and returns an `Attribution`.
"""

import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from regard.core import recording
from regard.core.batching import BatchSize, is_out_of_memory, may_be_the_batch
from regard.core.devices import device_of
from regard.core.emptiness import examine
from regard.core.errors import CapabilityError, InputError, ReferenceInputError, RegardError, ShapeError
from regard.core.inputs import InputLike, Inputs
from regard.core.mismatch import mismatch_told
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.query import Query, no_gradient
from regard.core.recording import GRADIENT, Network
from regard.core.target import TargetLike

__all__ = ["AbstractExplainer", "Attribution", "Form", "Query", "Removal", "no_gradient"]

logger = logging.getLogger(__name__)

Removal: TypeAlias = tuple[tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]
"""What taking places away means to a method: `Attribution.reference` and `Attribution.parts`."""

Form = Literal["signed", "published"]
"""``"signed"`` keeps the sign; ``"published"`` is what the paper draws (absolute value, ReLU, square)."""


@dataclass
class Attribution:
    """What a method computed.

    Parameters
    ----------
    relevance
        One map per input, float32: (batch, 1, \\*space), or (batch, channel, \\*space) where channels are known.
    value
        f(x): the target's value (batch,).
    reference_value
        f(reference) (batch,), where the method uses a reference.
    completeness_error
        Sum of the map minus f(x) - f(reference), (batch,), where the method promises completeness.
    standard_error
        Monte-Carlo standard error of each map, for stochastic methods.
    notes
        Figures that belong to the map, such as the R2 of a surrogate: numbers or short words.
    refined
        Where each map has been looked at closely, (batch, 1, \\*space) of bool, for methods that go from coarse to
        fine; elsewhere it holds what a coarse look gave.
    reference
        What a contribution is counted from, also where the method chose it itself, or what an effect fills hidden
        places with, like the inputs; None for methods that take nothing away in the input.
    parts
        Number of the part of each voxel, (batch, \\*space), int64, one per input, for methods that take places away
        together (windows, segments); None for single voxels.
    warnings
        Sentences that a reader must see before the map.
    """

    relevance: tuple[Tensor, ...]
    value: Tensor
    reference_value: Tensor | None = None
    completeness_error: Tensor | None = None
    standard_error: tuple[Tensor, ...] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    refined: tuple[Tensor, ...] | None = None
    warnings: list[str] = field(default_factory=list)
    reference: tuple[Tensor, ...] | None = None
    parts: tuple[Tensor, ...] | None = None

    def sent(self, devices: Sequence[torch.device]) -> None:
        """Put what has a tensor for each input on the devices of the inputs."""
        for name in ("relevance", "standard_error", "refined", "reference", "parts"):
            tensors = getattr(self, name)
            if tensors is not None:
                setattr(self, name, tuple(t.to(where) for t, where in zip(tensors, devices, strict=True)))

    @classmethod
    def joined(cls, parts: Sequence["Attribution"]) -> "Attribution":
        """Join the attributions of single cases to one of the batch; notes become lists when they differ."""

        def cat(values: list[Any]) -> Any:
            if values[0] is None:
                return None
            if isinstance(values[0], tuple):
                return tuple(torch.cat(v) for v in zip(*values, strict=True))
            return torch.cat(values)

        if len(parts) == 1:
            return parts[0]
        notes = {}
        for key in parts[0].notes:
            values = [p.notes.get(key) for p in parts]
            notes[key] = values[0] if all(v == values[0] for v in values) else values
        names = ("relevance", "value", "reference_value", "completeness_error", "standard_error", "refined",
                 "reference", "parts")  # fmt: skip
        warnings = list(dict.fromkeys(w for p in parts for w in p.warnings))
        return cls(**{name: cat([getattr(p, name) for p in parts]) for name in names}, notes=notes, warnings=warnings)


class AbstractExplainer(ABC):
    """A method that says which places of an input the network's output depends on.

    Knobs go to the constructor, data to `attribute`. The network is left byte for byte as it was.

    Parameters
    ----------
    network
        A `torch.nn.Module`, a model of Regard, or any callable on tensors.
    form
        ``"signed"`` (default), or ``"published"`` for what the paper draws.

    Raises
    ------
    CapabilityError
        If the network cannot do what the method needs.
    """

    quantity: ClassVar[Quantity]
    """What the map's numbers are, in the signed form."""
    sign: ClassVar[Sign]
    """How its sign reads, in the signed form."""
    published_meaning: ClassVar[tuple[Quantity, Sign] | None] = None
    """Quantity and sign of the published form, where it differs from the signed one."""
    needs: ClassVar[frozenset[str]] = frozenset({GRADIENT})
    """What the network must be capable of."""
    takes_reference: ClassVar[bool] = False
    """Whether a reference input can be given."""
    takes_mask: ClassVar[bool] = False
    """Whether a mask of where to look can be given, which saves evaluations."""
    cases_together: ClassVar[bool] = False
    """Whether `_attribute` takes a batch of cases; otherwise it gets one case at a time."""
    begins_with_gradient: ClassVar[bool] = False
    """Whether the first thing `_attribute` does is `Query.gradient` at the inputs: it then shares the first pass."""
    without_space: ClassVar[str] = "as an input of one place whose features are channels"
    """What becomes of an input without space (batch, feature), such as age and sex beside an image."""
    breaks: ClassVar[Mapping[Promise, str]] = {}
    """Promises that the method does not make, each with the reason."""

    def __init__(self, network: Network, *, form: Form = "signed") -> None:
        if form not in ("signed", "published"):
            raise InputError(f"form '{form}'", "signed or published")
        self.network = network
        self.form = form
        missing = self.needs - recording.capabilities(network)
        if missing:
            kind = type(recording.unwrap(network)).__name__
            raise CapabilityError(
                f"{type(self).__name__} on a model of type {kind}, which has no {' and no '.join(sorted(missing))}",
                f"a model with {' and '.join(sorted(self.needs))}",
                "choose a perturbation method such as occlusion, rise or lime",
            )

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name}={value!r}" for name, value in self.knobs().items())
        return f"{type(self).__name__}({type(recording.unwrap(self.network)).__name__}, {knobs})"

    def knobs(self) -> dict[str, Any]:
        """The method's own settings, by name."""
        hidden = ("network", "form", "layer")
        return {n: v for n, v in vars(self).items() if n not in hidden and not n.startswith("_")}

    @property
    def meaning(self) -> tuple[Quantity, Sign]:
        """Quantity and sign of the form in use."""
        if self.form == "published" and self.published_meaning is not None:
            return self.published_meaning
        return self.quantity, self.sign

    @abstractmethod
    def _attribute(self, query: Query) -> Attribution:
        """Compute the maps that ``query`` asks for."""

    def removal(self, query: Query) -> Removal:
        """What taking places away means to the method, told without explaining; (None, None) where it means nothing."""
        return None, None

    def taken_away(self, query: Query) -> Removal:
        """`removal` of the form in use: a published form of another meaning is a score, and takes nothing away."""
        return self.removal(query) if self.form == "signed" or self.published_meaning is None else (None, None)

    def _told(self, query: Query) -> Attribution:
        found = self._attribute(query)
        if found.reference is None:
            found.reference, found.parts = self.taken_away(query)
        return found

    def attribute(
        self,
        inputs: InputLike,
        target: TargetLike | Sequence[TargetLike] = None,
        *,
        reference: Any = None,
        seed: int = 0,
        case: str = "",
        batch_size: BatchSize = "auto",
        mask: Any = None,
        preflight: bool = False,
    ) -> Any:
        """Map of what the output depends on.

        Parameters
        ----------
        inputs
            Tensor (batch, channel, \\*space), or a sequence or mapping of them for several inputs.
        target
            What is explained: a `Target`, a class index, a function output -> (batch,), or None when the output is one
            scalar per case; a list gives one for each case.
        reference
            What the inputs are compared with, where the method can: a number, or tensors that broadcast to the inputs;
            of several inputs None for one that keeps the method's own reference.
        seed, case
            Key of the random draws; the same key gives the same draws, whatever the batch.
        batch_size
            Evaluations at once within a case; ``"auto"`` fits the memory.
        mask
            Where to look, for methods that can skip the rest: tensors that broadcast to (batch, 1, \\*space), one per
            input; true, or above 0.5. Elsewhere the map is NaN.
        preflight
            Whether the network is probed first, with the first case (`regard.preflight`): what a probe refuses is
            raised, what it tells is logged and noted, and cases that mix in a batch are evaluated one by one.

        Returns
        -------
        Tensor
            Signed float32 relevance on the input's grid, (batch, 1, \\*space), or (batch, channel, \\*space) for
            methods that know channels; a tuple or dict of them for several inputs.

        Raises
        ------
        ReferenceInputError
            If a reference is given to a method that cannot use one.
        CapabilityError
            If a mask is given to a method that cannot use one.
        TargetError
            If the output has no such scalar.
        """
        read = Inputs.of(inputs)
        found = self.compute(
            inputs, target, reference=reference, seed=seed, case=case, batch_size=batch_size, mask=mask,
            preflight=preflight,
        )  # fmt: skip
        return read.rebuild(found.relevance)

    def compute(
        self,
        inputs: InputLike,
        target: TargetLike | Sequence[TargetLike] = None,
        *,
        reference: Any = None,
        seed: int = 0,
        case: str = "",
        batch_size: BatchSize = "auto",
        mask: Any = None,
        preflight: bool = False,
    ) -> Attribution:
        """As `attribute`, with all that the method knows about its map: value, errors, notes."""
        given = Inputs.of(inputs)
        read = given.to(device_of(self.network))
        if reference is not None and not self.takes_reference:
            raise ReferenceInputError(
                f"a reference for {type(self).__name__}, which cannot compare with one",
                "a path or perturbation method",
                "choose integrated-gradients, input-x-gradient, occlusion, rise or lime",
            )
        if mask is not None and not self.takes_mask:
            raise CapabilityError(
                f"a mask for {type(self).__name__}, which looks everywhere at once",
                "occlusion",
                "cut the map afterwards",
            )
        compared = None if reference is None else read.like(reference, "reference")
        places = None if mask is None else read.places(mask)
        wanted = list(target) if isinstance(target, (list, tuple)) else None
        if wanted is not None and len(wanted) != read.n_cases:
            raise ShapeError(f"{len(wanted)} targets", f"one for each of {read.n_cases} cases")
        if isinstance(batch_size, int) and batch_size < 1:
            raise InputError(f"batch size {batch_size}", "at least 1, or auto")
        together = self.cases_together and wanted is None
        warnings: list[str] = []
        if preflight:
            first: Any = wanted[0] if wanted is not None else target
            alone, warnings = self._probe(read.case(0), first, compared)
            if alone:
                together, batch_size = False, 1

        def query(network: Network, part: Inputs, goal: Any, n: int | None) -> Query:
            def own(given: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
                return given if given is None or n is None else tuple(g[n : n + 1] for g in given)

            return Query(network, part, goal, own(compared), seed, case, batch_size, own(places))

        def one_by_one(network: Network) -> Attribution:
            goals = wanted if wanted is not None else [target] * read.n_cases
            return Attribution.joined(
                [self._told(query(network, read.case(n), goal, n)) for n, goal in enumerate(goals)]
            )

        with recording.intact(self.network) as network, mismatch_told(network, read.tensors):
            if read.n_cases == 1:
                goal = wanted[0] if wanted is not None else target
                found = self._told(query(network, read, goal, None))
            elif together:
                try:
                    found = self._told(query(network, read, target, None))
                except (RuntimeError, AssertionError, ValueError) as error:
                    if is_out_of_memory(error) or not may_be_the_batch(error):
                        raise
                    try:
                        found = one_by_one(network)
                    except Exception as again:
                        raise (again if isinstance(again, RegardError) else error) from again
                    logger.info("%s: the network takes no batch of several; done case by case", type(self).__name__)
            else:
                found = one_by_one(network)
        found.relevance = tuple(r.detach().float() for r in found.relevance)
        if read is not given:
            found.sent([x.device for x in given.tensors])
        self._guard(found, read, places is not None)
        if warnings:
            found.notes["preflight"] = warnings
        return found

    def _probe(self, one: Inputs, target: TargetLike, compared: tuple[Tensor, ...] | None) -> tuple[bool, list[str]]:
        """Probe the network with one case: whether evaluations must be made alone, and what must be told."""
        # By its public name: the probes look at layers and fillers too, and so lie above the methods.
        probe = importlib.import_module("regard").preflight
        reference = None if compared is None else one.rebuild([r[:1] for r in compared])
        said = probe(self.network, one.rebuild(one.tensors), target, methods=[self], reference=reference).check()
        for sentence in said.warnings:
            logger.warning("%s: %s", type(self).__name__, sentence)
        return said.alone, list(said.warnings)

    def _guard(self, found: Attribution, read: Inputs, masked: bool) -> None:
        """Say so when a map is empty, hollow or not finite, or when the output's own rounding is visible in it."""
        examine(found, self.meaning[0], read.names, masked=masked)
        for sentence in found.warnings:
            logger.warning("%s: %s", type(self).__name__, sentence)
