"""What the axes of a tensor are: cases, features, or the places of the input it was computed from.

An axis is a product of factors, outermost first: tokens are (row, column), slices folded into the batch are
(case, slice), the windows of a shifted-window transformer are (case, row of windows, column of windows).
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "CASE",
    "FEATURE",
    "UNKNOWN",
    "Axes",
    "Axis",
    "Factor",
    "merged",
    "of_input",
    "place",
    "regrouped",
    "resized",
]


class Factor(NamedTuple):
    """One factor of an axis.

    Parameters
    ----------
    kind
        Cases, features, or places along one spatial axis of the input.
    size
        How many.
    along, among
        For places: which spatial axis, of how many.
    step, of
        For places: how many of the finest cells one step is, of how many, where an axis has been split.
    """

    kind: Literal["case", "feature", "place"]
    size: int
    along: int = 0
    among: int = 0
    step: int = 1
    of: int = 0

    @property
    def covers(self) -> bool:
        """Whether it reaches from one end of the input's axis to the other."""
        return self.kind == "place" and self.size * self.step == self.of


def place(size: int, along: int, among: int) -> Factor:
    """All places along one spatial axis of the input."""
    return Factor("place", size, along, among, 1, size)


class Axis(NamedTuple):
    """One axis of a tensor: its factors, and how many entries before and after them are no place (class tokens)."""

    factors: tuple[Factor, ...]
    before: int = 0
    after: int = 0

    @property
    def has_places(self) -> bool:
        """Whether some factor is along an axis of the input."""
        return any(f.kind == "place" for f in self.factors)

    @property
    def whole(self) -> Factor | None:
        """The factor of an axis that is one of the input's and nothing else, or None."""
        only = self.factors[0] if len(self.factors) == 1 and not self.before and not self.after else None
        return only if only is not None and only.covers else None


Axes: TypeAlias = tuple[Axis | None, ...]
"""One entry per axis of a tensor; None where it is not known."""

UNKNOWN = None


def CASE(size: int) -> Axis:  # noqa: N802 - reads as a constant
    """An axis of cases."""
    return Axis((Factor("case", size),))


def FEATURE(size: int) -> Axis:  # noqa: N802 - reads as a constant
    """An axis of features."""
    return Axis((Factor("feature", size),))


def of_input(shape: Sequence[int]) -> Axes:
    """Axes of an input (batch, channel, \\*space)."""
    places = [Axis((place(n, i, len(shape) - 2),)) for i, n in enumerate(shape[2:])]
    return (CASE(shape[0]), FEATURE(shape[1]), *places)


def resized(axis: Axis | None, size: int) -> Axis | None:
    """An axis after a convolution, a pooling or an interpolation along it; UNKNOWN where that mixes unlike places."""
    if axis is None:
        return None
    if axis.factors and all(f.kind == "feature" for f in axis.factors):
        return FEATURE(size)
    whole = axis.whole
    if whole is not None:
        return Axis((place(size, whole.along, whole.among),))
    return axis if math.prod(f.size for f in axis.factors) + axis.before + axis.after == size else None


def merged(first: Axes, second: Axes) -> Axes:
    """What two tensors of one shape know together; UNKNOWN where they contradict each other."""
    return tuple(
        b if a is None else a if b is None or a == b else _agreed(a, b) for a, b in zip(first, second, strict=True)
    )


def _agreed(a: Axis, b: Axis) -> Axis | None:
    """The more telling of two descriptions of an axis, if one of them is of a single entry or of features alone."""
    if not a.factors or not b.factors:
        return a if a.factors else b
    if a.has_places != b.has_places:
        return a if a.has_places else b
    if a.has_places and [(f.along, f.size) for f in a.factors] == [(f.along, f.size) for f in b.factors]:
        return a
    return None if a.has_places else a


def regrouped(axes: Axes, before: Sequence[int], after: Sequence[int]) -> Axes:
    """Axes of a tensor of shape ``before`` that is read row by row as one of shape ``after``."""
    found: list[Axis | None] = []
    i = j = 0
    while i < len(before) and j < len(after):
        first, start = i, j
        a, b = before[i], after[j]
        while a != b:
            if a < b:
                i += 1
                if i == len(before):
                    return (UNKNOWN,) * len(after)
                a *= before[i]
            else:
                j += 1
                if j == len(after):
                    return (UNKNOWN,) * len(after)
                b *= after[j]
        i, j = i + 1, j + 1
        if j == len(after):
            i = len(before)
        found += _block(axes[first:i], after[start:j])
    return (*found, *(Axis(()),) * (len(after) - j))


def _block(axes: Axes, sizes: Sequence[int]) -> list[Axis | None]:
    """Axes that hold as many entries together as ``sizes``, read anew."""
    if len(axes) == 1 and len(sizes) == 1:
        return [axes[0]]
    many = [a for a in axes if a is None or a.factors or a.before or a.after]
    alone = many[0] if len(many) == 1 else None
    if (
        alone is not None
        and (len(alone.factors) == 1 or alone.before or alone.after)
        and sum(n != 1 for n in sizes) == 1
    ):
        # Only axes of one entry came or went.
        return [alone if n != 1 else Axis(()) for n in sizes]
    if any(a is None or a.before or a.after for a in axes):
        return [UNKNOWN] * len(sizes)
    left = [f for a in axes if a is not None for f in a.factors]
    found: list[Axis | None] = []
    for n, size in enumerate(sizes):
        taken: list[Factor] = []
        room = size
        if size == 1 and left and left[0].size == 1:
            taken.append(left.pop(0))
        while room > 1:
            if not left:
                return [UNKNOWN] * len(sizes)
            factor = left.pop(0)
            if room % factor.size == 0:
                room //= factor.size
                taken.append(factor)
            elif factor.size % room == 0:
                inner = factor.size // room
                taken.append(factor._replace(size=room, step=factor.step * inner))
                left.insert(0, factor._replace(size=inner))
                room = 1
            else:
                return [UNKNOWN] * len(sizes)
        if n == len(sizes) - 1:
            taken += left
        found.append(Axis(_joined(taken)))
    return found


def _joined(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """Neighbouring factors that are parts of one axis, put together again."""
    found: list[Factor] = []
    for f in factors:
        last = found[-1] if found else None
        if last is not None and last.kind == f.kind == "feature":
            found[-1] = last._replace(size=last.size * f.size)
        elif last is not None and f.kind != "feature" and _continues(last, f):
            found[-1] = f._replace(size=last.size * f.size)
        else:
            found.append(f)
    return tuple(found)


def _continues(outer: Factor, inner: Factor) -> bool:
    same = (outer.kind, outer.along, outer.among) == (inner.kind, inner.along, inner.among)
    return same and outer.step == inner.step * inner.size
