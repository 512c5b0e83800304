"""What a hidden place is filled with: named, in the network's own intensities, never a multiplication by 0."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, ReferenceInputError
from regard.core.explainer import Query, Removal
from regard.core.spatial import blur_in_double, box_mean, space
from regard.explainers.reference import ASK, ASK_FEATURES, given_reference, input_name, unchanged

__all__ = ["FILLERS", "FillerLike", "Filler", "edge_line", "known", "nothing_known", "ring_mean"]

FillerLike: TypeAlias = str | float
"""A name of `FILLERS`, or a number in the units of the network's input."""

FILLERS = {
    "mean": "the image's own mean, per channel",
    "blur": "the image, blurred",
    "noise": "normal noise with the image's own mean and standard deviation, per channel",
    "neighbour": "the mean of what surrounds the place",
    "line": "a straight line from before the place to behind it",
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
        self._last: tuple[Query, int, tuple[float, ...], Tensor] | None = None

    def _kind(self, query: Query, which: int) -> FillerLike:
        if self.kind != "auto":
            return self.kind
        return self.usual if given_reference(query, which) is None else "reference"

    def words(self, query: Query) -> str:
        """What the filler is, as a note says it; of several inputs each different one."""
        kinds = [self._kind(query, n) for n in range(len(query.inputs.tensors))]
        return "; ".join(
            dict.fromkeys(FILLERS[k] if isinstance(k, str) else f"{k:g} in the network's input units" for k in kinds)
        )

    def depends_on_place(self, query: Query, which: int) -> bool:
        """Whether the filling of an input is another one for each window."""
        return self._kind(query, which) in ("neighbour", "line")

    def around(self, query: Query, which: int, window: Sequence[slice]) -> Tensor:
        """The filling of one window, (channel, \\*window), of a filler that depends on the place.

        Raises
        ------
        InputError
            If a line is asked for in an image.
        """
        x = query.inputs.tensors[which]
        if self._kind(query, which) == "line":
            return edge_line(x, window)
        return ring_mean(x, window).expand_as(x[0][(slice(None), *window)])

    def undefined(self, query: Query, which: int) -> str | None:
        """Why an input cannot be filled so: a sentence; None where it can.

        An input without space (batch, feature) has no blur, no surroundings and no mean over places: its own would be
        itself. It is filled from a reference or with a number only.
        """
        kind = self._kind(query, which)
        if space(query.inputs.tensors[which]) or not isinstance(kind, str) or kind == "reference":
            return None
        name = input_name(query.inputs, which)
        return (
            f"{name} has no space (batch, feature), so that its filling ({FILLERS[kind]}) would be itself: its map is "
            f"NaN; {ASK_FEATURES}"
        )

    def unchanged(self, query: Query, which: int, filling: Tensor | None) -> tuple[Tensor, list[str]]:
        """Channels or features (1, channel) of an input that its filling leaves as they are, and sentences for them.

        Parameters
        ----------
        query, which
            The query, and the number of the input.
        filling
            Of `image`; None for one that depends on the place.
        """
        x, name = query.inputs.tensors[which], input_name(query.inputs, which)
        if filling is None:
            # Where a channel is constant, so is whatever surrounds a place.
            first = x.reshape(*x.shape[:2], -1)[..., :1]
            filling = first.reshape(*x.shape[:2], *[1] * len(space(x))).expand_as(x)
        same = unchanged(x, filling)
        if not bool(same.any()):
            return same, []
        kind = self._kind(query, which)
        words = FILLERS[kind] if isinstance(kind, str) else f"{kind:g}"
        if bool(same.all()):
            told = f"{name} is already what fills it ({words}): its map is NaN; {ASK} that differs, or fill otherwise"
            return same, [told]
        numbers = ", ".join(str(k) for k in same[0].nonzero().flatten().tolist())
        if space(x):
            return same, [f"channel {numbers} of {name} is already what fills it ({words}), so that it is never hidden"]
        return same, [f"feature {numbers} of {name} is already what fills it ({words}): NaN; {ASK} that differs there"]

    def removal(self, query: Query, cut: Sequence[Tensor], hidden: Sequence[Sequence[float]]) -> Removal:
        """What `Attribution.reference` and `Attribution.parts` are of an effect, for parts (\\*space) of each input.

        Nothing of a filling that is another one for each window, and of inputs without space.
        """
        inputs = query.inputs.tensors
        if any(not space(x) or self.depends_on_place(query, n) for n, x in enumerate(inputs)):
            return None, None
        filled = tuple(self.image(query, n, size) for n, size in enumerate(hidden))
        return filled, tuple(numbers[None] for numbers in cut)

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
        last = self._last
        if last is not None and last[0] is query and last[1:3] == (which, tuple(hidden)):
            return last[3]
        made = self._made(query, which, hidden)
        self._last = (query, which, tuple(hidden), made)
        return made

    def _made(self, query: Query, which: int, hidden: Sequence[float]) -> Tensor:
        x = query.inputs.tensors[which]
        kind, given = self._kind(query, which), given_reference(query, which)
        if kind == "reference":
            if given is not None:
                return given
            raise ReferenceInputError(
                "filler 'reference' and no reference", "a reference input", "give one, or fill otherwise"
            )
        if not isinstance(kind, str):
            return torch.full_like(x, kind)
        if kind == "blur":
            return blur_in_double(x, [self.sigma or size / 2 for size in hidden])
        exact = x.double()
        if kind == "line":
            return _middle_of_line(exact, max(1, round(max(hidden, default=1)))).to(x)
        if kind == "neighbour":
            return box_mean(exact, 2 * max(1, round(max(hidden, default=1))) + 1).to(x)
        places = exact.reshape(*x.shape[:2], -1)
        shape = (*x.shape[:2], *[1] * len(space(x)))
        mean = places.mean(-1).reshape(shape)
        if kind == "mean":
            return mean.to(x).expand_as(x)
        deviation = places.std(-1, correction=0).reshape(shape)
        return (mean + deviation * randomness.normal(exact, query.seed, query.case, f"filler/{which}")).to(x)


def nothing_known(x: Tensor) -> Tensor:
    """A map of NaN for one input, (1, 1, \\*space), or (1, feature) without space."""
    return torch.full_like(x[:, :1] if space(x) else x, torch.nan, dtype=torch.float64)


def known(relevance: Tensor, x: Tensor, same: Tensor | None) -> Tensor:
    """The map with NaN at the features that their filling left as they were, or everywhere if nothing was changed.

    Parameters
    ----------
    relevance
        (1, 1, \\*space), or (1, feature) without space.
    x
        The input.
    same
        (1, channel or feature) of bool, of `Filler.unchanged`; None for no such feature.
    """
    if same is None or (space(x) and not bool(same.all())):
        return relevance
    return torch.where(same if not space(x) else same.all(), torch.nan, relevance)


def _of_one_axis(x: Tensor) -> int:
    """Number of samples of a signal (1, channel, sample)."""
    if len(space(x)) != 1:
        got = f"filler 'line' for an input of {len(space(x))} axes"
        raise InputError(got, "a signal, which has one", "fill with neighbour or blur")
    return space(x)[0]


def edge_line(x: Tensor, window: Sequence[slice]) -> Tensor:
    """A straight line per channel across a window of a signal ``x`` (1, channel, sample): (channel, window).

    It runs between the means of an eighth of the window on either side; at an end of the signal, where one side is
    missing, it is level. A heart beat so becomes the baseline that it stands on, and no flat line of another height.

    Raises
    ------
    InputError
        If the input is an image.
    """
    n, part = _of_one_axis(x), window[0]
    wide = part.stop - part.start
    m = max(1, wide // 8)
    exact = x[0].double()
    sides = [exact[:, max(0, part.start - m) : part.start], exact[:, part.stop : min(n, part.stop + m)]]
    known_sides = [side for side in sides if side.shape[1]]
    if not known_sides:
        return exact.mean(1, keepdim=True).expand(-1, wide).to(x)
    levels = [(side if side.shape[1] else known_sides[0]).mean(1, keepdim=True) for side in sides]
    share = (torch.arange(wide, dtype=torch.float64, device=x.device) + (m + 1) / 2) / (wide + m)
    return (levels[0] + share * (levels[1] - levels[0])).to(x)


def _middle_of_line(x: Tensor, wide: int) -> Tensor:
    """The middle of `edge_line` for a window of ``wide`` samples around each sample; ends are repeated."""
    n = _of_one_axis(x)
    smooth = box_mean(x, max(1, wide // 8))
    reach = (wide + max(1, wide // 8)) // 2 + 1
    places = torch.arange(n, device=x.device)
    return (smooth[..., (places - reach).clamp(0)] + smooth[..., (places + reach).clamp(max=n - 1)]) / 2


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
