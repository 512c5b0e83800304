"""The reference that a contribution is counted from, when none is given, and what remains of it.

Where a reference equals the input everywhere nothing was compared, and what is known is not 0 but nothing: the map is
NaN there, and the reader is asked for a reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regard.core.explainer import Attribution, Query
from regard.core.extent import slabs
from regard.core.inputs import Inputs
from regard.core.spatial import space

__all__ = [
    "ASK",
    "ASK_FEATURES",
    "Compared",
    "compared_with",
    "darkest",
    "given_reference",
    "input_name",
    "remainder",
    "unchanged",
    "value_at",
    "whole_reference",
]

ASK = "give a reference (--reference, or reference=...)"
"""What a reader can do where nothing was compared."""

ASK_FEATURES = f"{ASK}, such as the mean of each column over reference cases"
"""The same, of an input without space."""

_OTHER_METHOD = "choose a method that takes a reference, such as integrated-gradients"
_SAME = 8


def darkest(inputs: Inputs) -> tuple[Tensor, ...]:
    """Each case's own smallest value per channel, as wide as the inputs: air, or the background.

    An input without space (batch, feature) has one value per feature, which is its own smallest: it stays as it is.
    """
    made = []
    for x in inputs.tensors:
        lowest = x.reshape(*x.shape[:2], -1).amin(-1)
        made.append(lowest.reshape(*lowest.shape, *[1] * (x.ndim - 2)).expand_as(x))
    return tuple(made)


def input_name(inputs: Inputs, which: int) -> str:
    """One input, as a sentence names it."""
    if len(inputs.tensors) == 1:
        return "the input"
    return f"input {inputs.names[which] if inputs.names is not None else which}"


def unchanged(x: Tensor, other: Tensor) -> Tensor:
    """Which channels or features (batch, channel) of ``x`` equal those of ``other`` at all places, to rounding."""
    off = size = torch.zeros(x.shape[:2], dtype=torch.float64, device=x.device)
    for part in slabs(x):
        values, others = x[part].double().reshape(*x.shape[:2], -1), other[part].double().reshape(*x.shape[:2], -1)
        off = torch.maximum(off, (values - others).abs().amax(-1))
        size = torch.maximum(size, values.abs().amax(-1))
    return off <= _SAME * torch.finfo(x.dtype).eps * size


def given_reference(query: Query, which: int) -> Tensor | None:
    """The reference that was given for one input; None where it keeps the method's own."""
    if query.reference is None or bool(torch.isnan(query.reference[which]).all()):
        return None
    return query.reference[which]


def whole_reference(query: Query) -> tuple[Tensor, ...] | None:
    """What was given, with each input itself where none was; None where no reference was given at all."""
    if query.reference is None:
        return None
    parts = [given_reference(query, n) for n in range(len(query.inputs.tensors))]
    return tuple(x if r is None else r for r, x in zip(parts, query.inputs.tensors, strict=True))


@dataclass(frozen=True)
class Compared:
    """What inputs are compared with, and where that is no comparison.

    Parameters
    ----------
    inputs
        The inputs.
    tensors
        The reference, one tensor per input, of its shape.
    words
        What it is.
    given
        Which inputs' reference was given.
    self_made
        Whether a reference that was not given is made of the input itself.
    takes_reference
        Whether one can be given.
    """

    inputs: Inputs
    tensors: tuple[Tensor, ...]
    words: str
    given: tuple[bool, ...]
    self_made: bool = True
    takes_reference: bool = True

    def told(self, found: Attribution) -> Attribution:
        """The attribution with NaN where reference and input are the same, and a sentence for each such input.

        Its completeness error is that of what was compared. A channel or feature that equals a reference *given* for
        its input, while others differ, contributes 0 by definition: that stays, and is told.
        """
        maps, warnings = list(found.relevance), list(found.warnings)
        for n, (x, reference, given) in enumerate(zip(self.inputs.tensors, self.tensors, self.given, strict=True)):
            same = unchanged(x, reference)
            if not bool(same.any()):
                continue
            whole = same.all(1, keepdim=True)
            unknown = whole.expand_as(same) if given else same
            warnings += self._sentences(n, same, unknown, given)
            if maps[n].shape[1] != x.shape[1]:
                unknown = whole
            maps[n] = torch.where(unknown.reshape(*unknown.shape, *[1] * len(space(x))), torch.nan, maps[n])
        return replace(found, relevance=tuple(maps), warnings=warnings)

    def _sentences(self, n: int, same: Tensor, unknown: Tensor, given: bool) -> list[str]:
        name, part = input_name(self.inputs, n), "channel" if space(self.inputs.tensors[n]) else "feature"
        if self.self_made and not given and part == "feature":
            why = f"{name} has no space (batch, feature), and so nothing of its own to be compared with"
            return [f"{why}: its map is NaN; {ASK_FEATURES if self.takes_reference else _OTHER_METHOD}"]
        sentences = []
        if bool(unknown.all(1).any()):
            words = "the given one" if given else self.words
            ask = f"{ASK} that differs" if self.takes_reference else _OTHER_METHOD
            sentences.append(f"{name} equals its reference ({words}) everywhere: its map is NaN; {ask}")
        partly = same & ~unknown.all(1, keepdim=True)
        if bool(partly.any()):
            numbers = ", ".join(str(k) for k in partly.any(0).nonzero().flatten().tolist())
            what = (
                "contributes 0 by definition" if given else f"is NaN; {ASK if self.takes_reference else _OTHER_METHOD}"
            )
            sentences.append(f"{part} {numbers} of {name} equals its reference everywhere and {what}")
        return sentences


def compared_with(query: Query, default: Sequence[Tensor] | None = None, words: str | None = None) -> Compared:
    """The reference that was given, or for inputs without one a default: the darkest value, or ``default``."""
    own = darkest(query.inputs) if default is None else tuple(default)
    words = "each case's own smallest value, per channel" if words is None else words
    parts = [given_reference(query, n) for n in range(len(own))]
    given = tuple(r is not None for r in parts)
    if any(given):
        words = "given" if all(given) else f"given; elsewhere {words}"
    tensors = tuple(o if r is None else r for r, o in zip(parts, own, strict=True))
    return Compared(query.inputs, tensors, words, given, self_made=default is None)


@torch.no_grad()
def value_at(query: Query, reference: tuple[Tensor, ...]) -> Tensor:
    """The target's value (batch,) at the reference."""
    return query.score([r.clone() for r in reference]).detach()


def remainder(maps: tuple[Tensor, ...], value: Tensor, reference_value: Tensor) -> Tensor:
    """Sum of the maps as they are handed out (float32) minus f(x) - f(reference), (batch,), float64."""
    total = torch.stack([m.float().double().flatten(1).sum(1) for m in maps]).sum(0)
    return total - (value.double() - reference_value.double()).to(total.device)
