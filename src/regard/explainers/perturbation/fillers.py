"""What a hidden place is filled with: named, in the network's own intensities, never a multiplication by 0."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, ReferenceInputError
from regard.core.explainer import Query
from regard.core.spatial import blur, box_mean, space

__all__ = ["FILLERS", "FillerLike", "Filler", "ring_mean"]

FillerLike: TypeAlias = str | float
"""A name of `FILLERS`, or a number in the units of the network's input."""

FILLERS = {
    "mean": "the image's own mean, per channel",
    "blur": "the image, blurred",
    "noise": "normal noise with the image's own mean and standard deviation, per channel",
    "neighbour": "the mean of what surrounds the place",
    "reference": "the reference input",
}
"""Name and meaning of each filler."""


class Filler:
    """A filler that was asked for, read and checked.

    Parameters
    ----------
    kind
        A name of `FILLERS`, or a number in the units of the network's input; ``"auto"`` is the reference where one is
        given, and ``usual`` otherwise.
    sigma
        Width of the blur in voxels; None for half the size of what is hidden.
    usual
        A name of `FILLERS`.

    Raises
    ------
    InputError
        If there is no such filler.
    """

    def __init__(self, kind: FillerLike, sigma: float | None = None, *, usual: str = "blur") -> None:
        number = isinstance(kind, (int, float)) and not isinstance(kind, bool) and math.isfinite(kind)
        if not number and kind not in ("auto", *FILLERS):
            raise InputError(
                f"filler {kind!r}",
                f"one of auto, {', '.join(FILLERS)}, or a number in the network's input units",
                "choose one",
            )
        self.kind, self.sigma, self.usual = kind, sigma, usual

    def _kind(self, query: Query) -> FillerLike:
        if self.kind != "auto":
            return self.kind
        return self.usual if query.reference is None else "reference"

    def words(self, query: Query) -> str:
        """What the filler is, as a note says it."""
        kind = self._kind(query)
        return FILLERS[kind] if isinstance(kind, str) else f"{kind:g} in the network's input units"

    def depends_on_place(self, query: Query) -> bool:
        """Whether the filling is another one for each window."""
        return self._kind(query) == "neighbour"

    def image(self, query: Query, which: int, hidden: Sequence[float]) -> Tensor:
        """The filling of every place of one input.

        Parameters
        ----------
        query
            The query, with its reference.
        which
            Number of the input.
        hidden
            Size of what is hidden along each spatial axis, in voxels.

        Returns
        -------
        Tensor
            Filling (1, channel, \\*space), in the input's type.

        Raises
        ------
        ReferenceInputError
            If the filler is the reference and none is given.
        """
        x = query.inputs.tensors[which]
        kind = self._kind(query)
        if kind == "reference":
            if query.reference is not None:
                return query.reference[which]
            raise ReferenceInputError(
                "filler 'reference' and no reference", "a reference input", "give one, or fill otherwise"
            )
        if not isinstance(kind, str):
            return torch.full_like(x, kind)
        exact = x.double()
        if kind == "blur":
            return blur(exact, [self.sigma or size / 2 for size in hidden]).to(x)
        if kind == "neighbour":
            return box_mean(exact, 2 * max(1, round(max(hidden, default=1))) + 1).to(x)
        places = exact.reshape(*x.shape[:2], -1)
        shape = (*x.shape[:2], *[1] * len(space(x)))
        mean = places.mean(-1).reshape(shape)
        if kind == "mean":
            return mean.expand_as(x).to(x)
        deviation = places.std(-1, correction=0).reshape(shape)
        return (mean + deviation * randomness.normal(exact, query.seed, query.case, f"filler/{which}")).to(x)


def ring_mean(x: Tensor, window: Sequence[slice]) -> Tensor:
    """Mean per channel, (channel, 1, ...), of the ring around a window of ``x`` (1, channel, \\*space).

    The ring is half as wide as the window. For a window as large as the image, which has no ring, its own mean.
    """
    wide = []
    for part, n in zip(window, space(x), strict=True):
        margin = max(1, (part.stop - part.start) // 2)
        wide.append(slice(max(0, part.start - margin), min(n, part.stop + margin)))
    inner, outer = x[0][(slice(None), *window)].double(), x[0][(slice(None), *wide)].double()
    channels, n_inner, n_outer = x.shape[1], inner[0].numel(), outer[0].numel()
    total_inner, total_outer = inner.reshape(channels, -1).sum(1), outer.reshape(channels, -1).sum(1)
    mean = (total_outer - total_inner) / (n_outer - n_inner) if n_outer > n_inner else total_inner / n_inner
    return mean.reshape(channels, *[1] * len(window)).to(x)
