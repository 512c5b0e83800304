"""Boxes that windows have reached, and reading a box out of a patch and the clean tensor around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.core.spatial import space

__all__ = ["Boxes", "Integers", "Placed", "Source", "cropped", "hull", "slices"]

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Boxes:
    """One box for each window: what it has changed of a tensor.

    Parameters
    ----------
    start, stop
        Half-open ranges (window, axis), in places of that tensor.
    """

    start: Integers
    stop: Integers

    def within(self, size: Sequence[int]) -> "Boxes":
        """The part of each box that lies in a tensor of ``size``."""
        limit = np.asarray(size, dtype=np.int64)
        return Boxes(np.clip(self.start, 0, limit), np.clip(self.stop, 0, limit))

    def of(self, items: Sequence[int]) -> "Boxes":
        """The boxes of some of the windows."""
        return Boxes(self.start[items], self.stop[items])

    @property
    def extent(self) -> Integers:
        """Size of each box (window, axis), at least 1: what is not reached at all is computed at one place."""
        return np.maximum(self.stop - self.start, 1)

    def placed(self, size: Sequence[int]) -> "Placed":
        """Boxes of one common size that hold these, moved inside a tensor of ``size``."""
        common = self.extent.max(0)
        start = np.minimum(self.start, np.asarray(size, dtype=np.int64) - common)
        return Placed(start, tuple(common.tolist()))


def hull(boxes: Sequence[Boxes]) -> Boxes:
    """The smallest box of each window that holds all of its boxes that are not empty."""
    starts, stops = [], []
    for box in boxes:
        empty = (box.stop <= box.start).any(1, keepdims=True)
        starts.append(np.where(empty, np.iinfo(np.int64).max, box.start))
        stops.append(np.where(empty, 0, box.stop))
    start, stop = np.minimum.reduce(starts), np.maximum.reduce(stops)
    return Boxes(np.minimum(start, stop), stop)


@dataclass(frozen=True)
class Placed:
    """Boxes of one size.

    Parameters
    ----------
    start
        First place (window, axis).
    size
        Places along each axis.
    """

    start: Integers
    size: tuple[int, ...]

    @property
    def stop(self) -> Integers:
        """Past the last place (window, axis)."""
        return self.start + np.asarray(self.size, dtype=np.int64)


@dataclass(frozen=True)
class Source:
    """A tensor as each window has left it: a patch, and the clean tensor wherever the patch is not.

    Parameters
    ----------
    patch
        Values (window, channel, \\*size) in the boxes ``placed``.
    placed
        Where the patches lie; inside the tensor.
    clean
        The tensor of the unhidden input, (1, channel, \\*space); None where only the patch is ever read.
    """

    patch: Tensor
    placed: Placed
    clean: Tensor | None

    def read(self, box: Placed, beyond: float = 0.0) -> Tensor:
        """Values (window, channel, \\*size) in boxes that may stick out of the tensor, ``beyond`` where they do."""
        if box.size == self.placed.size and np.array_equal(box.start, self.placed.start):
            return self.patch
        assert self.clean is not None
        limit = np.asarray(space(self.clean), dtype=np.int64)
        inner, outer = np.maximum(box.start, 0), np.minimum(box.stop, limit)
        first, last = np.maximum(inner, self.placed.start), np.minimum(outer, self.placed.stop)
        shape = (len(box.start), self.clean.shape[1], *box.size)
        if (inner > box.start).any() or (outer < box.stop).any():
            values = self.patch.new_full(shape, beyond)
        else:
            values = self.patch.new_empty(shape)
        covered: Any = ((first <= inner) & (last >= outer)).all(1).tolist()
        met: Any = (first < last).all(1).tolist()
        into, out_of = slices(inner - box.start, outer - box.start), slices(inner, outer)
        patched = slices(first - box.start, last - box.start)
        from_patch = slices(first - self.placed.start, last - self.placed.start)
        for n in range(len(values)):
            if not covered[n]:
                values[n][into[n]].copy_(self.clean[0][out_of[n]])
            if met[n]:
                values[n][patched[n]].copy_(self.patch[n][from_patch[n]])
        return values

    def whole(self) -> Tensor:
        """The whole tensor (window, channel, \\*space) of every window, in memory of its own."""
        assert self.clean is not None
        n, limit = len(self.patch), space(self.clean)
        everything = Placed(np.zeros((n, len(limit)), dtype=np.int64), limit)
        values = self.read(everything)
        return values.clone() if values is self.patch else values


def slices(start: Integers, stop: Integers) -> list[tuple[slice, ...]]:
    """The places (channel, \\*space) of boxes from ``start`` to ``stop`` (window, axis)."""
    return [
        (slice(None), *[slice(a, b) for a, b in zip(first, past, strict=True)])
        for first, past in zip(start.tolist(), stop.tolist(), strict=True)
    ]


def cropped(x: Tensor, offset: Integers, size: Sequence[int]) -> Tensor:
    """The part of ``size`` of each (channel, \\*space) of ``x`` that starts at its own ``offset`` (window, axis)."""
    if (offset == offset[:1]).all():
        return x[(slice(None), *slices(offset[:1], offset[:1] + np.asarray(size))[0])].contiguous()
    return torch.stack([x[n][place] for n, place in enumerate(slices(offset, offset + np.asarray(size)))])
