"""Infidelity: how far the change of the output is from what the map says of a random change of the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import space
from regard.evidence.faithfulness.fillings import fillings
from regard.evidence.faithfulness.removal import (
    blocks,
    check_fillers,
    claims,
    scale,
    together,
    undefined_map,
)
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.explainers.perturbation.fillers import FillerLike

__all__ = ["Infidelity", "ScaledInfidelity", "random_box"]

_SMALLEST, _LARGEST = 0.1, 0.5
_FILLED_AS = 64


def random_box(size: Sequence[int], seed: int, case: str, draw: str) -> tuple[slice, ...]:
    """A box with edges of one random share, .1 to .5, of the image's, at a random place.

    It may reach over the border, where it is cut, so that corners are hit as often as the middle: markers lie there.
    """
    kept = [axis for axis, n in enumerate(size) if n > 1]
    share, *corners = randomness.uniform((1 + len(kept),), seed, case, draw).tolist()
    box = [slice(0, n) for n in size]
    for axis, corner in zip(kept, corners, strict=True):
        edge = max(1, round((_SMALLEST + (_LARGEST - _SMALLEST) * share) * size[axis]))
        start = int(corner * (size[axis] + edge - 1)) - edge + 1
        box[axis] = slice(max(0, start), min(size[axis], start + edge))
    return tuple(box)


@dataclass(frozen=True)
class _Pairs:
    """What the map said and what happened, each (n,), in output units."""

    said: Tensor
    happened: Tensor

    def raw(self) -> float:
        return float((self.said - self.happened).square().mean())

    def unexplained(self) -> float:
        """Share of the squared change that the best positive multiple of what was said leaves."""
        size, total = self.said.square().sum(), self.happened.square().sum()
        if not (size > 0 and total > 0):
            return float("nan")
        along = (self.said * self.happened).sum().clamp(min=0)
        return float(1 - along.square() / (size * total))


class _Perturbed(AbstractMeasure):
    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "faithful"

    def __init__(
        self,
        perturbation: Literal["box", "gaussian"] = "box",
        n_samples: int = 100,
        fillers: Sequence[FillerLike] | None = None,
        level: float = 0.1,
    ) -> None:
        if perturbation not in ("box", "gaussian") or n_samples < 2 or not level > 0:
            got = f"perturbation {perturbation!r}, {n_samples} samples, level {level}"
            raise InputError(got, "box or gaussian, at least two samples, a level above 0")
        self.perturbation, self.n_samples, self.level = perturbation, n_samples, level
        self.fillers = check_fillers(fillers)

    def _boxes(self, exhibit: Exhibit, fill: Tensor) -> _Pairs:
        x = exhibit.x
        boxes = [random_box(space(x), exhibit.seed, exhibit.case, f"box/{k}") for k in range(self.n_samples)]
        claimed = claims(exhibit, fill)

        def inputs(items: range) -> Tensor:
            changed = x.expand(len(items), *x.shape[1:]).clone()
            for row, item in enumerate(items):
                box = (slice(None), *boxes[item - 1]) if item else (slice(0),)
                changed[row][box] = fill[0][box]
            return changed

        found = exhibit.values(1 + self.n_samples, inputs, "infidelity")
        return _Pairs(torch.stack([claimed[box].sum() for box in boxes]), found[0] - found[1:])

    def _noise(self, exhibit: Exhibit) -> _Pairs:
        x, relevance = exhibit.x, exhibit.relevance[0, 0].double().cpu()
        width = self.level * x.double().std(correction=0)

        def draw(k: int) -> Tensor:
            return (randomness.normal(x[:, :1], exhibit.seed, exhibit.case, f"noise/{k}") * width).to(x)

        def inputs(items: range) -> Tensor:
            return torch.cat([x - draw(k - 1) if k else x for k in items])

        found = exhibit.values(1 + self.n_samples, inputs, "infidelity")
        said = [(relevance * draw(k)[0, 0].double().cpu()).sum() for k in range(self.n_samples)]
        return _Pairs(torch.stack(said), found[0] - found[1:])

    def _pairs(self, exhibit: Exhibit) -> dict[str, _Pairs]:
        if self.perturbation == "gaussian":
            return {"gaussian": self._noise(exhibit)}
        used = fillings(exhibit, blocks(space(exhibit.x), _FILLED_AS), self.fillers, deciding=True)
        return {one.name: self._boxes(exhibit, one.image) for one in used}

    def _refusal(self, exhibit: Exhibit) -> str | None:
        if exhibit.sign is Sign.UNSIGNED:
            return "an unsigned map does not say which way the output goes"
        if self.perturbation == "gaussian" and exhibit.sign is not Sign.RAISES:
            return "only a map of what raising the intensity does says what noise does"
        return None

    def _notes(self, n_fillings: int) -> dict[str, object]:
        n_passes = (1 + self.n_samples) * n_fillings
        return {"perturbation": self.perturbation, "n_samples": self.n_samples, "n_passes": n_passes}


class Infidelity(_Perturbed):
    """Mean squared difference of what the map says a change does and what it does.

    In a formula::

        INFD = E_I [ (sum_i I_i r_i - (f(x) - f(x - I)))^2 ]

    in output units squared, divided by the square of the cohort's spread of f where that is known. For boxes, I is
    what a random box holds more than its filling; a map that already tells contributions or effects says their sum
    over the box. A map of scores has no output unit and no figure here; see `ScaledInfidelity`, whose figure stands in
    the notes.

    Parameters
    ----------
    perturbation
        ``"box"``, or ``"gaussian"`` for noise on all places (the same in all channels), which only a sensitivity
        speaks of.
    n_samples
        Random changes for each filler.
    fillers
        What boxes are filled with, at least two; the figure is their mean. None for what the map's numbers speak of: a
        contribution's own reference, and a tenth of the way for a sensitivity.
    level
        Standard deviation of the noise as a share of the image's.

    Notes
    -----
    Yeh et al. 2019, NeurIPS (arXiv 1901.09392), definition 2.1, with its noisy and square perturbations.
    """

    def measure(self, exhibit: Exhibit) -> Measured:
        divisor, unit = scale(exhibit)
        unit = f"{unit}²"
        if (undefined := undefined_map(exhibit, unit)) is not None:
            return undefined
        if (why := self._refusal(exhibit)) is not None:
            return Measured.undefined(why, unit)
        if exhibit.quantity is Quantity.SCORE:
            return Measured.undefined("a score is not in output units", unit)
        pairs = self._pairs(exhibit)
        scaled = [p.unexplained() for p in pairs.values()]
        notes = {**self._notes(len(pairs)), "optimally scaled": sum(scaled) / len(scaled)}
        return together({name: p.raw() / divisor**2 for name, p in pairs.items()}, unit, notes)


class ScaledInfidelity(_Perturbed):
    """Share of the squared change of the output that the best positive multiple of the map leaves unexplained.

    In a formula::

        min over b >= 0 of E_I [ (b sum_i I_i r_i - (f(x) - f(x - I)))^2 ] / E_I [ (f(x) - f(x - I))^2 ]

    0 for a map that says every change up to one factor, 1 for one that says nothing, or the contrary. NaN where the
    output never changes.

    Parameters
    ----------
    perturbation, n_samples, fillers, level
        As in `Infidelity`.

    Notes
    -----
    Yeh et al. 2019, NeurIPS (arXiv 1901.09392), section 2 for the optimal factor; that it must not be negative, and the
    division, are ours.
    """

    def measure(self, exhibit: Exhibit) -> Measured:
        if (undefined := undefined_map(exhibit, "1")) is not None:
            return undefined
        if (why := self._refusal(exhibit)) is not None:
            return Measured.undefined(why)
        pairs = self._pairs(exhibit)
        return together({name: p.unexplained() for name, p in pairs.items()}, "1", self._notes(len(pairs)))
