"""What an attack wants of the prediction and of the map, what it makes smaller for it, and when it has it."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.likeness import spearman, top_overlap

__all__ = ["CHANGED", "KEPT", "TOP", "Goal", "Likeness", "MapGoal", "size_wanted"]

_WIDE = 0.1
"""Weight of the logarithm of the change's size, where both are to stay: the widest such change is wanted."""

_ROOM = 0.05
"""What a map to keep may differ by before the steps are held back."""

TOP = 0.1
"""Share of the foreground that counts as a map's largest values."""

CHANGED = 0.5
"""A map has changed if Spearman's correlation and the overlap of the largest values are both at most this."""

KEPT = 0.8
"""A map is kept if both are at least this. In between it is neither."""


class Goal(StrEnum):
    """What is done with the prediction, and with the map."""

    KEEP_CHANGE = "keep-change"
    CHANGE_KEEP = "change-keep"
    CHANGE_CHANGE = "change-change"
    KEEP_KEEP = "keep-keep"

    @property
    def keeps_prediction(self) -> bool:
        """Whether the prediction is to stay."""
        return self.value.startswith("keep")

    @property
    def keeps_map(self) -> bool:
        """Whether the map is to stay."""
        return self.value.endswith("keep")


@dataclass(frozen=True)
class Likeness:
    """How alike a map is to another over the foreground: Spearman's correlation, and overlap of the largest tenth."""

    spearman: float
    overlap: float

    @property
    def kept(self) -> bool:
        """Whether the two are the same map."""
        return self.spearman >= KEPT and self.overlap >= KEPT

    @property
    def changed(self) -> bool:
        """Whether they are not."""
        return self.spearman <= CHANGED and self.overlap <= CHANGED


@dataclass(frozen=True, eq=False)
class MapGoal:
    """A goal for the map of one case.

    Parameters
    ----------
    own
        The map before (1, 1, \\*space).
    inside
        Where maps are compared, (\\*space) of bool.
    keeps
        Whether the map is to stay.
    towards
        What it is to become, (1, 1, \\*space); None: anything but its own.
    """

    own: Tensor
    inside: Tensor
    keeps: bool
    towards: Tensor | None = None

    def __post_init__(self) -> None:
        for given in (self.own, self.towards):
            if given is not None and given.shape[1:] != (1, *self.inside.shape):
                raise ShapeError(f"a map of {tuple(given.shape)}", f"(1, 1, {tuple(self.inside.shape)})")

    def _values(self, maps: Tensor) -> Tensor:
        """Values in the foreground, (batch, place); NaN, where nothing is known, as 0."""
        return torch.nan_to_num(maps)[:, 0][:, self.inside]

    def loss(self, maps: Tensor) -> Tensor:
        """What the steps make smaller, (batch,), float64; from maps (batch, 1, \\*space).

        Of a map to keep: 1 - r, and the relative change of the share of |map| on the places of its largest tenth, each
        as far as it is above a twentieth. Of one to change: the mean of r, where it is above 0, and of that share. With
        a map to reach: 1 - r with it, and half of r with the own where that is above 0. r is Pearson's correlation.
        """
        now, own = self._values(maps).double(), self._values(self.own).double()
        with_own = _correlations(now, own)
        if self.towards is not None and not self.keeps:
            return 1 - _correlations(now, self._values(self.towards).double()) + 0.5 * with_own.clamp_min(0)
        top = _top(own)
        on_top = _share(now, top)
        if self.keeps:
            # Beyond what is the same map anyway, so that other wishes have room.
            moved = (on_top / _share(own, top) - 1).abs()
            return (1 - with_own - _ROOM).clamp_min(0) + (moved - _ROOM).clamp_min(0)
        return 0.5 * (with_own.clamp_min(0) + on_top)

    def likeness(self, one: Tensor, other: Tensor | None = None) -> Likeness:
        """How alike a map (1, 1, \\*space) is to the own, or to another."""
        a = self._values(one).float()
        b = self._values(self.own if other is None else other).float()
        return Likeness(spearman(a, b), top_overlap(a, b, share=TOP))

    def reached(self, one: Tensor) -> bool:
        """Whether a map (1, 1, \\*space) is what the goal wants.

        With a map to reach: whether it is nearer to that than to its own, by both measures.
        """
        with_own = self.likeness(one)
        if self.keeps:
            return with_own.kept
        if self.towards is None:
            return with_own.changed
        there = self.likeness(one, self.towards)
        return there.spearman > with_own.spearman and there.overlap > with_own.overlap


def size_wanted(goal: Goal, change: Tensor) -> Tensor:
    """What is added to what is made smaller, (batch,), so that keeping both is no matter of changing nothing.

    Parameters
    ----------
    goal
        What is wanted.
    change
        (batch, channel, \\*space).
    """
    if not (goal.keeps_prediction and goal.keeps_map):
        return change.new_zeros(len(change))
    return -_WIDE * _norm(change.double().flatten(1)).log()


def _correlations(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of rows (batch, n) with one row (1, n), (batch,); 0 where one is constant."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (_norm(a) * _norm(b))


def _norm(a: Tensor) -> Tensor:
    return a.square().sum(1).clamp_min(1e-60).sqrt()


def _top(own: Tensor) -> Tensor:
    """The places of the largest tenth of |map|, (1, place) of 0 and 1."""
    size = own.abs()
    k = max(1, round(TOP * size.shape[1]))
    return (size >= size.topk(k, dim=1).values[:, -1:]).double()


def _share(values: Tensor, top: Tensor) -> Tensor:
    size = values.abs()
    return (size * top).sum(1) / size.sum(1).clamp_min(1e-60)
