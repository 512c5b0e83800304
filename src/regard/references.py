"""What an input is compared with: a reference is an input, never a number subtracted from the output.

"Why 70 and not 60" asks for an input x_ref with f(x_ref) close to 60: another scan, the nearest of given cases, or one
found by search. f(x_ref) is always reported, and refused outside a tolerance.

Letzgus et al., IEEE Signal Processing Magazine 2022 (arXiv 2112.11407): explanations of regression need a reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import CapabilityError, ReferenceInputError
from regard.core.explainer import Query
from regard.core.recording import GRADIENT
from regard.core.spatial import blur
from regard.core.volume import Volume
from regard.models.card import ModelCard
from regard.models.case import PreparedCase

__all__ = ["FoundReference", "ReferenceLike", "ReferenceValue", "find_reference", "nearest", "search"]


@dataclass(frozen=True)
class ReferenceValue:
    """A reference whose output is near ``value``.

    Parameters
    ----------
    value
        Wanted f(x_ref), in output units.
    among
        Cases to choose the nearest from; without any, one is searched from the input itself.
    tolerance
        Largest accepted distance of f(x_ref) from the value, in output units; by default 1 % of the output's range on
        the training data that the model's card states.
    """

    value: float
    among: Sequence[Volume] = field(default_factory=tuple)
    tolerance: float | None = None


ReferenceLike: TypeAlias = Volume | Mapping[str, Volume] | ReferenceValue | float | None
"""What can be given as a reference."""


@dataclass(frozen=True)
class FoundReference:
    """A reference for the network: its tensors, how it is called, and f of it.

    Parameters
    ----------
    tensors
        One per input, (1, channel, \\*space).
    label
        One phrase for reports.
    value
        f(x_ref) in output units.
    """

    tensors: tuple[Tensor, ...]
    label: str
    value: float


def _accept(found: FoundReference, wanted: float, tolerance: float) -> FoundReference:
    off = abs(found.value - wanted)
    if off > tolerance:
        raise ReferenceInputError(
            f"a reference ({found.label}) whose output is {found.value:.6g}, {off:.3g} from {wanted:.6g}",
            f"at most {tolerance:.3g} away",
            "give cases nearer to it, or a larger tolerance",
        )
    return found


@torch.no_grad()
def nearest(
    query: Query, candidates: Sequence[tuple[str, tuple[Tensor, ...]]], wanted: float, tolerance: float
) -> FoundReference:
    """The candidate whose output is nearest to ``wanted``.

    Raises
    ------
    ReferenceInputError
        If there is none within the tolerance.
    """
    if not candidates:
        raise ReferenceInputError("no cases to choose a reference from", "at least one")
    values = [float(query.score(tensors)[0]) for _, tensors in candidates]
    best = min(range(len(values)), key=lambda n: abs(values[n] - wanted))
    label = f"{candidates[best][0]}, the nearest of {len(candidates)} cases"
    return _accept(FoundReference(candidates[best][1], label, values[best]), wanted, tolerance)


def search(
    query: Query, wanted: float, tolerance: float, *, n_steps: int = 200, smoothness: float = 2.0
) -> FoundReference:
    """Change the input as little and as smoothly as possible until the output is ``wanted``.

    Gauss-Newton steps for the scalar f along its gradient, blurred by ``smoothness`` voxels: x <- x + (v - f) B g /
    (g . B g), so that no single voxel carries the change. The result is an input that nobody took: it may be
    adversarial.

    Raises
    ------
    CapabilityError
        If no gradient passes through the network.
    ReferenceInputError
        If the search does not come within the tolerance.
    """
    if GRADIENT not in recording.capabilities(query.network):
        raise CapabilityError(
            "a search for a reference on a model without gradients",
            "cases to choose from",
            "give --reference-cases (among= in Python)",
        )
    tensors = tuple(x.clone() for x in query.inputs.tensors)
    value = float("nan")
    for _ in range(n_steps):
        found, gradients = query.gradient(tensors)
        value = float(found[0])
        if abs(value - wanted) <= 0.1 * tolerance:
            break
        ways = tuple(blur(blur(g, smoothness), smoothness) for g in gradients)
        slope = float(sum((g * w).sum() for g, w in zip(gradients, ways, strict=True)))
        if slope <= 0:
            break
        step = 0.5 * (wanted - value) / slope
        tensors = tuple(x + step * w for x, w in zip(tensors, ways, strict=True))
    return _accept(FoundReference(tensors, "found by search from the input itself", value), wanted, tolerance)


def find_reference(
    reference: ReferenceLike, question: Query, prepared: PreparedCase, card: ModelCard
) -> FoundReference | None:
    """The reference as the network takes it, with f of it.

    Parameters
    ----------
    reference
        Another scan, a mapping of them by input, a `ReferenceValue`, or a constant intensity in the network's units.
    question
        Network, inputs and target.
    prepared
        The case, on whose grids the reference is laid.
    card
        The model's card, for the default tolerance.

    Raises
    ------
    ReferenceInputError
        If there is none within the tolerance, or no tolerance is known.
    """
    if reference is None:
        return None
    inputs = question.inputs
    if isinstance(reference, (int, float)):
        tensors = inputs.like(float(reference), "reference")
        label = f"a constant image of {reference:g} in the network's units"
    elif isinstance(reference, ReferenceValue):
        tolerance = reference.tolerance
        span = card.trained_on.ranges.get("output")
        if tolerance is None:
            if span is None:
                raise ReferenceInputError(
                    "no tolerance, and the card does not say the output's range on its training data",
                    "a tolerance in output units",
                    "give --reference-tolerance (ReferenceValue(..., tolerance=) in Python)",
                )
            tolerance = 0.01 * (span[1] - span[0])
        with recording.intact(question.network):
            if not reference.among:
                return search(question, reference.value, tolerance)
            candidates = [(v.source.rsplit("/", 1)[-1] or "a case", prepared.references(v)) for v in reference.among]
            return nearest(question, candidates, reference.value, tolerance)
    else:
        tensors = prepared.references(reference)
        label = "another scan"
    with recording.intact(question.network), torch.no_grad():
        value = float(question.score(tensors)[0])
    return FoundReference(tensors, label, value)
