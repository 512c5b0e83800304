"""Two truths about a planted subject: what its label depends on, and what a trained network's output depends on.

Both come from rendering the subject again with factors changed and all else fixed. *Data truth* is the place where the
image changes with the label. *Model truth* is how far a network's output changes with each factor, shared out exactly
among them (Shapley 1953), and so the places that a faithful map of this network shows: a decoy that it uses is among
them.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.spatial import box_mean

__all__ = [
    "FactoredPhantom",
    "FactoredSubject",
    "ModelTruth",
    "TruePlaces",
    "change_of_image",
    "data_truth",
    "model_truth",
    "places_of",
    "shapley",
]

STEP = 0.25
"""How far a factor is moved to each side, within [0, 1], to see where the image changes with it."""

VISIBLE = 0.1
"""Share of the largest change from which a voxel counts as changed."""

USED = 0.1
"""Share of the Shapley sizes from which a network counts as using a factor."""


class FactoredSubject(Protocol):
    """What a phantom renders: an image, and the share of each place that the structure fills."""

    @property
    def image(self) -> Tensor:
        """(channel, \\*space)."""

    @property
    def structure(self) -> Tensor:
        """(\\*space)."""


class FactoredPhantom(Protocol):
    """A phantom whose subjects can be rendered again with some factors, each in [0, 1], changed and all else fixed."""

    @property
    def factors(self) -> tuple[str, ...]:
        """Every factor whose effect is worked out."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Those that the label depends on."""

    @property
    def decoys(self) -> tuple[str, ...]:
        """Those that it does not depend on and that a network may use all the same."""

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """The factors of a subject."""

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> FactoredSubject:
        """A subject with some factors replaced."""


@dataclass(frozen=True, eq=False)
class TruePlaces:
    """Places of one subject, each (\\*space) of bool.

    Parameters
    ----------
    core
        What a right map shows.
    allowed
        Counts neither way: a band of one voxel around the core, and the inside of a structure whose size is the label.
    decoy
        What the label does not depend on and is not in the core: decoy, suppressor, distractor.
    """

    core: Tensor
    allowed: Tensor
    decoy: Tensor

    @property
    def forbidden(self) -> Tensor:
        """Every other place."""
        return ~(self.core | self.allowed | self.decoy)


@dataclass(frozen=True, eq=False)
class ModelTruth:
    """What a network's output for one subject depends on.

    Parameters
    ----------
    value, reference
        f of the subject, and of the subject with every factor at the far end of its range.
    shapley
        Share of each factor in ``value - reference``, in output units; they sum to it.
    change
        f with the factor at 1 minus f with it at 0, the others as drawn, in output units.
    weights
        What a map should show, (\\*space), sum 1: each factor's places hold its share of the Shapley sizes.
    places
        The core are the places of the factors that the network uses.
    """

    value: float
    reference: float
    shapley: dict[str, float]
    change: dict[str, float]
    weights: Tensor
    places: TruePlaces


def shapley(values: Sequence[float] | Tensor) -> Tensor:
    """Exact Shapley values of k players from the worth of all 2^k subsets.

    Parameters
    ----------
    values
        (2^k,); entry s is the worth of the players whose bits are set in s.

    Returns
    -------
    Tensor
        (k,) float64; they sum to the worth of all minus the worth of none.

    Raises
    ------
    ShapeError
        If there are not 2^k values.
    """
    worth = torch.as_tensor(values, dtype=torch.float64)
    k = len(worth).bit_length() - 1
    if worth.ndim != 1 or len(worth) != 2**k:
        raise ShapeError(f"{tuple(worth.shape)} worths", "2^k of them, one per subset")
    subsets = torch.arange(2**k)
    members = torch.tensor([int(s).bit_count() for s in subsets])
    weight = torch.tensor(
        [math.factorial(n) * math.factorial(max(k - n - 1, 0)) / math.factorial(k) for n in range(k + 1)]
    )
    shares = []
    for player in range(k):
        without = subsets[(subsets >> player) & 1 == 0]
        gained = worth[without | (1 << player)] - worth[without]
        shares.append((weight[members[without]] * gained).sum())
    return torch.stack(shares) if shares else torch.zeros(0, dtype=torch.float64)


def _ends(phantom: FactoredPhantom, number: int, factor: str, seed: int) -> tuple[Tensor, Tensor]:
    """The subject with ``factor`` moved to both sides, each (channel, \\*space)."""
    drawn = min(max(phantom.draw(number, seed=seed)[factor], 0.0), 1.0)
    low, high = (
        phantom.subject(number, seed=seed, factors={factor: value}).image
        for value in (max(drawn - STEP, 0.0), min(drawn + STEP, 1.0))
    )
    return low, high


def change_of_image(phantom: FactoredPhantom, number: int, factor: str, *, seed: int = 0) -> Tensor:
    """How far each voxel of the first channel changes when ``factor`` is moved, all else fixed, (\\*space)."""
    low, high = _ends(phantom, number, factor, seed)
    return high[0] - low[0]


def places_of(phantom: FactoredPhantom, number: int, factor: str, *, seed: int = 0) -> Tensor:
    """Voxels that change visibly with ``factor`` in any channel, by that channel's spread, (\\*space) of bool."""
    low, high = _ends(phantom, number, factor, seed)
    sizes = (high - low).abs()
    if len(sizes) > 1:
        spread = (low.flatten(1).std(1) + high.flatten(1).std(1)).clamp_min(1e-12)
        sizes = sizes / spread.reshape(-1, *[1] * (sizes.ndim - 1))
    size = sizes.amax(0)
    return size > VISIBLE * size.max()


def _marked(
    phantom: FactoredPhantom, subject: FactoredSubject, core: Tensor, places: Mapping[str, Tensor]
) -> TruePlaces:
    band = box_mean(core[None, None].float(), 3)[0, 0] > 0
    marks = [places[f] for f in phantom.decoys if f in places]
    decoy = torch.stack(marks).any(0) if marks else torch.zeros_like(core)
    inside = subject.structure > 0
    allowed = (band | inside) & ~core
    return TruePlaces(core, allowed, decoy & ~core & ~allowed)


def data_truth(phantom: FactoredPhantom, number: int, *, seed: int = 0) -> TruePlaces:
    """Where the label is written: the places that change with what it depends on."""
    places = {f: places_of(phantom, number, f, seed=seed) for f in phantom.factors}
    core = torch.stack([places[f] for f in phantom.causes]).any(0)
    return _marked(phantom, phantom.subject(number, seed=seed), core, places)


def model_truth(
    function: Callable[[Tensor], Tensor], phantom: FactoredPhantom, number: int, *, seed: int = 0
) -> ModelTruth:
    """What the output of a network depends on, for one subject.

    Parameters
    ----------
    function
        f: images (n, 1, \\*space) to one value each, (n,).
    phantom, number, seed
        The subject.

    Notes
    -----
    The subject is compared with itself with every factor at the far end of its range (1 for a factor below 1/2, else
    0), so that no factor is compared with nearly its own value. All 2^k mixtures are rendered.
    """
    names = phantom.factors
    drawn = phantom.draw(number, seed=seed)
    far = {f: 1.0 if drawn[f] < 0.5 else 0.0 for f in names}
    mixtures = []
    for kept in itertools.product((False, True), repeat=len(names)):
        held = dict(zip(reversed(names), kept, strict=True))
        mixtures.append({f: far[f] for f in names if not held[f]})
    ends = [{f: value} for f in names for value in (0.0, 1.0)]
    rendered = [phantom.subject(number, seed=seed, factors=c) for c in (*mixtures, *ends)]
    with torch.no_grad():
        values = function(torch.stack([r.image for r in rendered])).double().cpu()
    worth, moved = values[: len(mixtures)], values[len(mixtures) :].reshape(-1, 2)
    shares = shapley(worth)
    sizes = shares.abs() / shares.abs().sum().clamp_min(1e-300)
    places = {f: places_of(phantom, number, f, seed=seed) for f in names}
    used = [f for f, size in zip(names, sizes, strict=True) if size >= USED] or list(phantom.causes)
    core = torch.stack([places[f] for f in used]).any(0)
    weights = torch.stack([s * places[f] / places[f].sum() for f, s in zip(names, sizes, strict=True)]).sum(0)
    return ModelTruth(
        float(worth[-1]),
        float(worth[0]),
        dict(zip(names, shares.tolist(), strict=True)),
        dict(zip(names, (moved[:, 1] - moved[:, 0]).tolist(), strict=True)),
        weights,
        _marked(phantom, rendered[len(mixtures) - 1], core, places),
    )
