"""Maps that hold nothing, or hardly anything of what they should divide: told, never handed out in silence."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.core.extent import finite_extent
from regard.core.quantity import Quantity
from regard.core.spatial import has_space

if TYPE_CHECKING:
    from regard.core.explainer import Attribution

__all__ = ["HOLLOW", "INCOMPLETE", "emptiness", "examine", "hollowness", "shortfall"]

HOLLOW = 0.01
"""A contribution whose sum is below this share of its own remainder divides nothing."""

INCOMPLETE = 0.1
"""Share of f(x) - f(reference) that a map may miss before it carries a warning."""

_CONSTANT = 1e-6
_UNKNOWN = "NaN everywhere"


def _kind(relevance: Tensor) -> str | None:
    """What is empty about one case's map (channel, \\*space); None where nothing is."""
    extent = finite_extent(relevance)
    if extent is None:
        return f"{_UNKNOWN}, so that nothing is known"
    largest = max(map(abs, extent))
    if largest == 0:
        return "0 everywhere: by this method the output depends on no place"
    if has_space(relevance[None]) and extent[1] - extent[0] <= _CONSTANT * largest:
        return f"{extent[0]:.3g} everywhere: it tells no place from another"
    return None


def emptiness(maps: Sequence[Tensor], names: Sequence[str] | None = None) -> list[str]:
    """Sentences about maps that are zero, constant or NaN at all their places.

    Parameters
    ----------
    maps
        One per input, (batch, channel, \\*space). A map of an input without space may be constant, as its features
        are no places.
    names
        Names of the inputs; by default their numbers.

    Returns
    -------
    list of str
        One sentence per input and kind, with the number of cases where there are several.
    """
    sentences = []
    for n, relevance in enumerate(maps):
        whose = "the map" if len(maps) == 1 else f"the map of input {names[n] if names else n}"
        kinds = [_kind(case) for case in relevance]
        for kind in dict.fromkeys(k for k in kinds if k is not None):
            cases = "" if len(kinds) == 1 else f" for {kinds.count(kind)} of {len(kinds)} cases"
            sentences.append(f"{whose} is {kind}{cases}")
    return sentences


def hollowness(found: "Attribution") -> tuple[list[str], dict[str, Any]]:
    """Say of a contribution that its sum is next to nothing beside its remainder, and how large a share it is.

    With c = f(x) - f(reference), or f(x) where there is no reference, and e the completeness error, the map sums to
    c + e. It is hollow where |c + e| < `HOLLOW` |e| and e is more than rounding: what the method divides lies in its
    remainder, whatever the picture looks like.

    Returns
    -------
    sentences
        One, or none.
    notes
        ``share_of_change``, (c + e) / c, where the map of the first such case is hollow.
    """
    if found.completeness_error is None:
        return [], {}
    value, left = found.value.detach().double().cpu(), found.completeness_error.detach().double().cpu()
    base = torch.zeros_like(value) if found.reference_value is None else found.reference_value.detach().double().cpu()
    change, total = value - base, value - base + left
    rounding = 8 * torch.finfo(found.value.dtype).eps * torch.maximum(value.abs(), base.abs())
    hollow = (total.abs() < HOLLOW * left.abs()) & (left.abs() > rounding)
    if not bool(hollow.any()):
        return [], {}
    n = int(hollow.nonzero()[0])
    share = float(total[n] / change[n]) if change[n] != 0 else float("nan")
    cases = "" if len(hollow) == 1 else f" ({int(hollow.sum())} of {len(hollow)} cases; the first is told)"
    of = "f(x)" if found.reference_value is None else "f(x) - f(reference)"
    sentence = (
        f"the map is hollow: it sums to {float(total[n]):.3g}, {100 * share:.2g} % of {of} = {float(change[n]):.3g}, "
        f"and the rest is in its remainder{cases}"
    )
    return [sentence], {"share_of_change": share}


def shortfall(parts: Sequence["Attribution"], unit: str) -> list[str]:
    """Say where maps miss much of the change f(x) - f(reference) that they divide.

    Parameters
    ----------
    parts
        What a method computed for one case, by each member of an ensemble or by the one network: of members the errors'
        size counts, as their signs cancel in the mean.
    unit
        Unit of the output.
    """
    missed, rounding = [], 0.0
    for a in parts:
        if a.completeness_error is not None and a.reference_value is not None:
            value, base = float(a.value[0]), float(a.reference_value[0])
            missed.append((float(a.completeness_error[0]), value - base))
            rounding = max(rounding, 8 * torch.finfo(a.value.dtype).eps * max(abs(value), abs(base)))
    if not missed:
        return []
    left, change = (math.sqrt(sum(v**2 for v in values) / len(missed)) for values in zip(*missed, strict=True))
    if not left > INCOMPLETE * change + rounding:
        return []
    if len(missed) == 1:
        return [f"the map misses {left:.3g} of the change of {missed[0][1]:.3g} {unit} that it divides"]
    mean = abs(sum(error for error, _ in missed)) / len(missed)
    sentence = (
        f"the members' maps miss {left:.3g} of the change of {change:.3g} {unit} that each divides (root mean squares "
        f"over {len(missed)} members), of which {mean:.3g} is left in their mean"
    )
    return [sentence]


def _not_finite(value: Tensor) -> str:
    """The values that are NaN or infinite, for a sentence; those of a batch by case; empty where there are none."""
    numbers = value.detach().flatten().tolist()
    if len(numbers) == 1:
        return "" if math.isfinite(numbers[0]) else f"{numbers[0]:g}"
    return ", ".join(f"{v:g} for case {n}" for n, v in enumerate(numbers) if not math.isfinite(v))


def examine(found: "Attribution", quantity: Quantity, names: Sequence[str] | None, *, masked: bool) -> None:
    """Add to an attribution the warnings and notes that its numbers ask for.

    Parameters
    ----------
    found
        What a method computed.
    quantity
        What the map's numbers are.
    names
        Names of the inputs, or None.
    masked
        Whether NaN outside a mask is as it should be.
    """
    told = any("NaN" in w for w in found.warnings)
    bad = [int((~torch.isfinite(r)).sum()) for r in found.relevance]
    partly = sum(n for n, r in zip(bad, found.relevance, strict=True) if n < r.numel())
    if sum(bad) and not masked:
        found.notes["not_finite"] = sum(bad)
        if partly and not told:
            found.warnings.append(f"{partly} values of the map are NaN or infinite")
    values = _not_finite(found.value)
    if values:
        found.notes["value_not_finite"] = f"f(x) is {values}"
        found.warnings.append(f"f(x) is {values}: the map explains no number")
    # What the method itself has explained is not said twice.
    empty = [s for s in emptiness(found.relevance, names) if not (told and _UNKNOWN in s)]
    if empty:
        found.notes["empty"] = empty
    something = any(extent != (0.0, 0.0) for r in found.relevance if (extent := finite_extent(r)) is not None)
    hollow, share = hollowness(found) if quantity.sums and something else ([], {})
    found.notes.update(share)
    found.warnings += [*empty, *hollow]
    if quantity is Quantity.EFFECT:
        _rounding(found)


def _rounding(found: "Attribution") -> None:
    """Say so when the output's own rounding is visible in a map of effects."""
    rounding = float(found.value.detach().abs().max().double() * torch.finfo(found.value.dtype).eps)
    seen = [extent for m in found.relevance if (extent := finite_extent(m)) is not None]
    spread = max((high - low for low, high in seen), default=0.0)
    if spread > 0 and rounding > 0.01 * spread:
        found.warnings.append(
            f"one unit in the last place of the output is {rounding:.2g}, more than 1 % of the map's range "
            f"{spread:.2g}; run the network in float64"
        )
        found.notes["float_guard"] = f"rounding {rounding:.2g} against a range of {spread:.2g}"
