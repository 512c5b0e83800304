"""The abstract explainer: tensors in, a signed float32 map on the input's grid out.

A new method is a subclass with one method to write, `_attribute`, which gets a `Query` and returns an `Attribution`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from regard.core import first_pass, recording
from regard.core.batching import BatchSize, auto_batch_size
from regard.core.errors import CapabilityError, InputError, ReferenceInputError, ShapeError
from regard.core.inputs import InputLike, Inputs
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import GRADIENT, Network
from regard.core.target import AbstractTarget, TargetLike, as_target

__all__ = ["AbstractExplainer", "Attribution", "Form", "Query", "no_gradient"]

logger = logging.getLogger(__name__)

Form = Literal["signed", "published"]
"""``"signed"`` keeps the sign; ``"published"`` is what the paper draws (absolute value, ReLU, square)."""


def no_gradient(network: Network, start: str) -> CapabilityError:
    """Build the error for an output that no gradient ties to ``start``: never a silent map of zeros."""
    return CapabilityError(
        f"an output of {type(network).__name__} that no gradient ties to {start}",
        "a path of differentiable operations (no argmax, no detach, no torch.no_grad)",
        "choose another target or layer, or a perturbation method such as occlusion",
    )


@dataclass
class Query:
    """What is asked of a network: one scalar per case, of these inputs.

    Parameters
    ----------
    network
        The network, unwrapped, in evaluation mode with frozen parameters.
    inputs
        The inputs of one case, or of a batch for methods that take cases together.
    wanted
        The target as the user gave it; read once an output has been seen.
    reference
        One tensor per input, or None.
    seed, case
        Key of the random draws.
    batch_size
        Items at once in `regard.core.batching.run`.
    mask
        Where to look, one tensor (batch, 1, \\*space) of bool per input; None for everywhere.
    """

    network: Network
    inputs: Inputs
    wanted: TargetLike = None
    reference: tuple[Tensor, ...] | None = None
    seed: int = 0
    case: str = ""
    batch_size: BatchSize = "auto"
    mask: tuple[Tensor, ...] | None = None
    _target: AbstractTarget | None = None

    def forward(self, tensors: Sequence[Tensor]) -> object:
        """The network's output for ``tensors``, one per input."""
        return self.inputs.call(self.network, tensors)

    def target(self, output: object) -> AbstractTarget:
        """The target, read with the help of one ``output``."""
        if self._target is None:
            self._target = as_target(self.wanted, output)
        return self._target

    def value(self, output: object) -> Tensor:
        """The target's value (batch,) of an output."""
        return self.target(output)(output)

    def score(self, tensors: Sequence[Tensor]) -> Tensor:
        """The target's value (batch,) for ``tensors``, one per input, each (batch, channel, \\*space)."""
        return self.value(self.forward(tensors))

    def gradient(self, tensors: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Value (batch,) and its gradient with respect to each of ``tensors``.

        Raises
        ------
        CapabilityError
            If no gradient passes through the network.
        """
        begun = first_pass.take(self.network, tensors)
        if begun is None:
            leaves = [x.detach().clone().requires_grad_() for x in tensors]
            output = self.forward([leaf.clone() for leaf in leaves])
        else:
            leaves, output = begun
        value = self.value(output)
        if not value.requires_grad:
            raise no_gradient(self.network, "the input")
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
        return value.detach(), tuple(filled)

    def copies(self, n: int) -> list[Tensor]:
        """The inputs of one case, n times, each (n, channel, \\*space), in memory of their own."""
        return [x.expand(n, *x.shape[1:]).clone() for x in self.inputs.tensors]

    def items_at_once(self, n_items: int) -> int:
        """The batch size for n items, resolved when it is ``"auto"``."""
        if self.batch_size != "auto":
            return self.batch_size
        return min(auto_batch_size(x, n_items) for x in self.inputs.tensors)


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
    warnings
        Sentences that whoever sees the map must know.
    """

    relevance: tuple[Tensor, ...]
    value: Tensor
    reference_value: Tensor | None = None
    completeness_error: Tensor | None = None
    standard_error: tuple[Tensor, ...] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    refined: tuple[Tensor, ...] | None = None
    warnings: tuple[str, ...] = ()

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
        names = ("relevance", "value", "reference_value", "completeness_error", "standard_error", "refined")
        warnings = tuple(dict.fromkeys(w for p in parts for w in p.warnings))
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
            What the inputs are compared with, where the method can: a number, or tensors that broadcast to the inputs.
        seed, case
            Key of the random draws; the same key gives the same draws, whatever the batch.
        batch_size
            Evaluations at once within a case; ``"auto"`` fits the memory.
        mask
            Where to look, for methods that can skip the rest: tensors that broadcast to (batch, 1, \\*space), one per
            input; true, or above 0.5. Elsewhere the map is NaN.

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
            inputs, target, reference=reference, seed=seed, case=case, batch_size=batch_size, mask=mask
        )
        for warning in found.warnings:
            logger.warning("%s: %s", type(self).__name__, warning)
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
    ) -> Attribution:
        """As `attribute`, with all that the method knows about its map: value, errors, notes."""
        read = Inputs.of(inputs)
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

        def query(network: Network, part: Inputs, goal: Any, n: int | None) -> Query:
            def own(given: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
                return given if given is None or n is None else tuple(g[n : n + 1] for g in given)

            return Query(network, part, goal, own(compared), seed, case, batch_size, own(places))

        with recording.intact(self.network) as network:
            if (self.cases_together and wanted is None) or read.n_cases == 1:
                goal = wanted[0] if wanted is not None else target
                found = self._attribute(query(network, read, goal, None))
            else:
                found = Attribution.joined(
                    [
                        self._attribute(query(network, read.case(n), wanted[n] if wanted is not None else target, n))
                        for n in range(read.n_cases)
                    ]
                )
        found.relevance = tuple(r.detach().float() for r in found.relevance)
        self._guard(found, places is not None)
        return found

    def _guard(self, found: Attribution, masked: bool) -> None:
        """Say so when the output's own rounding is visible in the map, or the map is not finite."""
        value = found.value.detach().abs().max()
        bad = sum(int((~torch.isfinite(r)).sum()) for r in found.relevance)
        if bad and not masked:
            logger.warning("%s: %d values of the map are NaN or infinite", type(self).__name__, bad)
            found.notes["not_finite"] = bad
        if self.meaning[0] is not Quantity.EFFECT:
            return
        rounding = float(value.double() * torch.finfo(found.value.dtype).eps)
        seen = [m[torch.isfinite(m)] for m in found.relevance]
        spread = max((float(r.max() - r.min()) for r in seen if r.numel()), default=0.0)
        if spread > 0 and rounding > 0.01 * spread:
            logger.warning(
                "%s: one unit in the last place of the output is %.2g, more than 1 %% of the map's range %.2g; "
                "run the network in float64",
                type(self).__name__,
                rounding,
                spread,
            )
            found.notes["float_guard"] = f"rounding {rounding:.2g} against a range of {spread:.2g}"
