"""What an input is compared with: a reference is an input, never a number subtracted from the output.

"Why 70 and not 60" asks for an input x_ref with f(x_ref) close to 60: another scan, the nearest of given cases, or one
found by search. f(x_ref) is always reported, and refused outside a tolerance.

Letzgus et al., IEEE Signal Processing Magazine 2022 (arXiv 2112.11407): explanations of regression need a reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import CapabilityError, ReferenceInputError
from regard.core.explainer import Query
from regard.core.recording import GRADIENT
from regard.core.spatial import blur
from regard.core.volume import Volume

__all__ = ["FoundReference", "ReferenceValue", "nearest", "search"]


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
        Largest accepted |f(x_ref) - value| in output units; by default 1 % of the output's range on the training data
        that the model's card states.
    """

    value: float
    among: Sequence[Volume] = field(default_factory=tuple)
    tolerance: float | None = None


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
            "a search for a reference on a model without gradients", "cases to choose from", "give --reference-cases"
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
