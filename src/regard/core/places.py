"""How a layer's output is turned to (batch, channel, \\*space): read from its axes, or written as text.

All of it selects and reorders numbers, so that its derivative is its own way back.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from regard.core.axes import CASE, FEATURE, Axes, Axis, Factor, place
from regard.core.errors import InputError, ShapeError

__all__ = ["Arrangement", "Layout", "arrangement_of", "parse_layout"]

GRAMMAR = "channels-last, tokens:14x14 (and +1 for a class token before them), slices:S or instances:S"
"""What `parse_layout` reads, in words."""


@dataclass(frozen=True)
class Arrangement:
    """Turns a layer's output to (batch, channel, \\*space).

    Parameters
    ----------
    axes
        What each axis of the output is.
    n_places
        Number of spatial axes of the input.
    instances
        Whether the channels of the input were taken as cases of their own (instances of a bag, channels of a signal):
        they are then the first of the map's places.
    """

    axes: tuple[Axis, ...]
    n_places: int
    instances: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the output is (batch, channel, \\*space) as it is."""
        return not self.instances and self._order() == list(range(len(self._flat()))) and all(
            len(a.factors) == 1 and not a.before and not a.after for a in self.axes
        )  # fmt: skip

    @property
    def is_complete(self) -> bool:
        """Whether the output has places along every axis of the input (the channels of a bag aside)."""
        return self.instances or {f.along for f in self._flat() if f.kind == "place"} == set(range(self.n_places))

    @property
    def n_entries_apart(self) -> int:
        """How many entries of the output are no place, such as class tokens."""
        return sum(a.before + a.after for a in self.axes)

    def __str__(self) -> str:
        kinds = ["".join(f.kind[0] for f in a.factors) for a in self.axes]
        along = [f.along for a in self.axes for f in a.factors if f.kind == "place"]
        if along == sorted(along):
            if kinds == ["c", *["p"] * self.n_places, "f"] and not self.n_entries_apart:
                return "channels-last"
            if len(kinds) == 3 and set(kinds[0] + kinds[1]) == {"c", "p"} and kinds[2] == "f":
                at = 1 if kinds[0] == "c" else 0
                axis = self.axes[at]
                grid = "x".join(str(f.size) for f in axis.factors)
                apart = f"+{axis.before}" if axis.before or axis.after else ""
                apart += f"+{axis.after}" if axis.after else ""
                return f"tokens:{grid}{apart}{'' if at else ':batch-second'}"
            if kinds == ["cp", "f", *["p"] * (self.n_places - 1)]:
                return f"slices:{self.axes[0].factors[1].size}"
            if self.instances and kinds[:2] == ["cf", "f"] and set(kinds[2:]) <= {"p"}:
                return f"instances:{self.axes[0].factors[1].size}"
        return " ".join(self._told(a) for a in self.axes)

    @staticmethod
    def _told(axis: Axis) -> str:
        names = [{"case": "n", "feature": "c"}.get(f.kind, f"{'ijk'[f.along % 3]}{f.size}") for f in axis.factors]
        text = names[0] if len(names) == 1 else f"({' '.join(names)})"
        return (f"{axis.before}+" if axis.before else "") + text + (f"+{axis.after}" if axis.after else "")

    def _flat(self) -> list[Factor]:
        return [f for a in self.axes for f in a.factors]

    def _in_batch(self) -> set[int]:
        """Positions of the features that share the cases' axis."""
        found: set[int] = set()
        n = 0
        for a in self.axes:
            with_cases = any(f.kind == "case" for f in a.factors)
            found |= {n + i for i, f in enumerate(a.factors) if with_cases and f.kind == "feature"}
            n += len(a.factors)
        return found

    def _order(self) -> list[int]:
        flat = self._flat()
        apart = self._in_batch()
        cases = [n for n, f in enumerate(flat) if f.kind == "case"]
        features = [n for n, f in enumerate(flat) if f.kind == "feature" and n not in apart]
        places = sorted(
            (n for n, f in enumerate(flat) if f.kind == "place"), key=lambda n: (flat[n].along, -flat[n].step)
        )
        return [*cases, *features, *sorted(apart), *places]

    @property
    def grid(self) -> tuple[int, ...]:
        """Sizes of the map's spatial axes; instances come first."""
        flat = self._flat()
        apart = [flat[n].size for n in sorted(self._in_batch())]
        along = [math.prod(f.size for f in flat if f.kind == "place" and f.along == i) for i in range(self.n_places)]
        return (*([math.prod(apart)] if self.instances else []), *along)

    def __call__(self, output: Tensor) -> Tensor:
        """The output as (batch, channel, \\*space)."""
        for d, axis in enumerate(self.axes):
            if axis.before or axis.after:
                output = output.narrow(d, axis.before, output.shape[d] - axis.before - axis.after)
        flat = self._flat()
        split = output.reshape([-1 if f.kind == "case" else f.size for f in flat])
        turned = split.permute(self._order())
        features = math.prod(f.size for n, f in enumerate(flat) if f.kind == "feature" and n not in self._in_batch())
        return turned.reshape(-1, features, *self.grid)

    def copies(self, output: Tensor, n: int) -> Tensor:
        """The output of one case, as it is of n copies of that case."""
        for d, axis in enumerate(self.axes):
            for at, f in enumerate(axis.factors):
                if f.kind != "case":
                    continue
                outer = math.prod(g.size for g in axis.factors[:at])
                inner = output.shape[d] // outer
                split = output.reshape(*output.shape[:d], outer, 1, inner, *output.shape[d + 1 :])
                many = split.expand(*split.shape[: d + 1], n, *split.shape[d + 2 :])
                return many.reshape(*output.shape[:d], outer * n * inner, *output.shape[d + 1 :])
        return output

    def n_cases(self, output: Tensor) -> int:
        """How many cases an output is of."""
        for d, axis in enumerate(self.axes):
            if any(f.kind == "case" for f in axis.factors):
                return int(output.shape[d]) // math.prod(f.size for f in axis.factors if f.kind != "case")
        return 1


def arrangement_of(axes: Axes | None, n_places: int, n_cases: int) -> Arrangement | None:
    """How an output whose ``axes`` are known is turned to (batch, channel, \\*space); None if they do not tell.

    Parameters
    ----------
    axes
        Of the output.
    n_places
        Number of spatial axes of the input.
    n_cases
        In the batch.
    """
    if axes is None or len(axes) < 3 or any(a is None for a in axes):
        return None
    # One channel beside places on an axis, as a reshaped image of one channel has it, is no feature.
    known = [
        a._replace(factors=tuple(f for f in a.factors if not (a.has_places and f.kind == "feature" and f.size == 1)))
        for a in axes
        if a is not None
    ]
    flat = [f for a in known for f in a.factors]
    if sum(f.kind == "case" for f in flat) != 1 or next(f.size for f in flat if f.kind == "case") != n_cases:
        return None
    if any((a.before or a.after) and not a.has_places for a in known):
        return None
    if any(a.has_places and any(f.kind == "feature" for f in a.factors) for a in known):
        return None
    if any(f.kind == "place" and f.among != n_places for f in flat):
        return None
    for i in range(n_places):
        chain = sorted((f for f in flat if f.kind == "place" and f.along == i), key=lambda f: -f.step)
        if chain and (not chain[0].covers or any(b.step * b.size != a.step for a, b in zip(chain, chain[1:]))):  # noqa: RUF007
            return None
    with_cases = [a for a in known if any(f.kind == "case" for f in a.factors)]
    instances = any(f.kind == "feature" for a in with_cases for f in a.factors)
    if math.prod(f.size for f in flat if f.kind == "place") <= 1 and not instances:
        return None
    return Arrangement(tuple(known), n_places, instances)


@dataclass(frozen=True)
class Layout:
    """How a layer's output is laid out, as a user says it; made by `parse_layout`, and called with the output.

    Parameters
    ----------
    kind
        ``"channels-last"``, ``"tokens"``, ``"slices"`` or ``"instances"``.
    grid
        Of tokens, along each axis of the image; or the number of slices or instances of a case.
    before, after
        Tokens before and after the grid that are no place: class and register tokens.
    batch_second
        Whether tokens are (token, batch, feature).
    """

    kind: str
    grid: tuple[int, ...] = ()
    before: int = 0
    after: int = 0
    batch_second: bool = False

    def __str__(self) -> str:
        if self.kind == "channels-last":
            return self.kind
        apart = f"+{self.before}" if self.before or self.after else ""
        apart += f"+{self.after}" if self.after else ""
        return f"{self.kind}:{'x'.join(map(str, self.grid))}{apart}{':batch-second' if self.batch_second else ''}"

    def arrangement(self, shape: Sequence[int]) -> Arrangement:
        """What it means for an output of ``shape``.

        Raises
        ------
        ShapeError
            If it does not fit.
        """
        n = len(shape)
        fits = n >= 3
        if self.kind == "channels-last":
            space = [Axis((place(s, i, n - 2),)) for i, s in enumerate(shape[1:-1])]
            found = Arrangement((CASE(shape[0]), *space, FEATURE(shape[-1])), n - 2)
        elif self.kind == "tokens":
            fits = n == 3 and shape[0 if self.batch_second else 1] == math.prod(self.grid) + self.before + self.after
            among = len(self.grid)
            tokens = Axis(tuple(place(s, i, among) for i, s in enumerate(self.grid)), self.before, self.after)
            cases = CASE(shape[1 if self.batch_second else 0])
            first = (tokens, cases) if self.batch_second else (cases, tokens)
            found = Arrangement((*first, FEATURE(shape[-1])), among)
        else:
            many = self.grid[0]
            fits = fits and shape[0] % many == 0
            folded = Factor("case", shape[0] // many)
            if self.kind == "slices":
                space = [Axis((place(s, i + 1, n - 1),)) for i, s in enumerate(shape[2:])]
                found = Arrangement((Axis((folded, place(many, 0, n - 1))), FEATURE(shape[1]), *space), n - 1)
            else:
                space = [Axis((place(s, i, n - 2),)) for i, s in enumerate(shape[2:])]
                first_axis = Axis((folded, Factor("feature", many)))
                found = Arrangement((first_axis, FEATURE(shape[1]), *space), n - 2, instances=True)
        if not fits:
            raise ShapeError(
                f"reshape={self} for a layer that gives {tuple(shape)}", "one that fits it", f"give {GRAMMAR}"
            )
        return found

    def __call__(self, output: Tensor) -> Tensor:
        """The output as (batch, channel, \\*space)."""
        return self.arrangement(output.shape)(output)


def parse_layout(text: str) -> Layout:
    """Read how a layer's output is laid out.

    ``channels-last`` (batch, \\*space, channel); ``tokens:14x14`` (batch, token, feature), with ``+1`` for one token
    before the grid (a class token), ``+1+4`` for one before and four after, ``:batch-second`` for (token, batch,
    feature); ``slices:S`` (batch times S, channel, \\*space of a slice) of a volume; ``instances:S``, the same where
    the slices are the channels of the input.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if text == "channels-last":
        return Layout(text)
    match = re.fullmatch(r"(?:tokens:)?([1-9]\d*(?:x[1-9]\d*)*)(?:\+(\d+))?(?:\+(\d+))?(:batch-second)?", text)
    if match:
        grid = tuple(int(n) for n in match[1].split("x"))
        return Layout("tokens", grid, int(match[2] or 0), int(match[3] or 0), match[4] is not None)
    match = re.fullmatch(r"(slices|instances):([1-9]\d*)", text)
    if match:
        return Layout(match[1], (int(match[2]),))
    raise InputError(f"reshape '{text}'", GRAMMAR, "say how the layer's output is laid out")
