"""Deletion and insertion in output units, for numbers and images as for classes."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.quantity import Sign
from regard.evidence.faithfulness.along import values_along
from regard.evidence.faithfulness.effects import filled_value, single_effects, value
from regard.evidence.faithfulness.fillings import Filling, fillings
from regard.evidence.faithfulness.removal import (
    Parts,
    check_fillers,
    claims,
    cut,
    filling,
    per_part,
    scale,
    shuffled_order,
    together,
    undefined_map,
)
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.explainers.perturbation.fillers import FillerLike

__all__ = ["Deletion", "Insertion", "Removals", "area"]


def area(share: Tensor, values: Tensor) -> float:
    """Area below ``values`` (n,) over ``share`` (n,), by trapezes."""
    return float(torch.trapezoid(values, share))


@dataclass(frozen=True)
class Removals:
    """f while parts are filled one after the other, until all are.

    Parameters
    ----------
    value
        f(x).
    largest_share, smallest_share
        Share of the voxels filled after each step, (n,), from 0 to 1.
    largest, smallest
        f after each step, (n,), when the largest claims go first, and when the smallest do.
    """

    value: float
    largest_share: Tensor
    largest: Tensor
    smallest_share: Tensor
    smallest: Tensor


class _Steps(AbstractMeasure):
    """What deletion and insertion share: the order of the parts, and f along it."""

    direction: ClassVar[Direction] = "higher"
    family: ClassVar[str] = "faithful"

    def __init__(
        self,
        n_parts: int = 256,
        n_steps: int = 32,
        fillers: Sequence[FillerLike] | None = None,
        parts: Parts = "blocks",
        every_filling: bool = True,
    ) -> None:
        if n_parts < 2 or n_steps < 2:
            raise InputError(f"{n_parts} parts in {n_steps} steps", "at least two of each")
        self.n_parts, self.n_steps = n_parts, n_steps
        self.fillers, self.parts = check_fillers(fillers), parts
        self.every_filling = every_filling

    @abstractmethod
    def _figure(self, removals: Removals, unsigned: bool) -> float:
        """The figure of one filling, in output units."""

    def removals(self, exhibit: Exhibit, kind: FillerLike, numbers: Tensor) -> Removals | None:
        """Output along both orders for one filler; None where the map ranks no part above another."""
        one = Filling(str(kind), filling(exhibit, kind, numbers))
        return self._along(exhibit, one, self._scores(exhibit, one, numbers), numbers)

    def _scores(self, exhibit: Exhibit, one: Filling, numbers: Tensor) -> Tensor:
        """What the map claims of each part, per voxel: parts that are a voxel larger do not go first for that."""
        claimed = per_part(claims(exhibit, one.image, carried=not one.decides), numbers)
        return claimed / torch.bincount(numbers.flatten()).double()

    def _along(self, exhibit: Exhibit, one: Filling, scores: Tensor, numbers: Tensor) -> Removals | None:
        """Output along both orders of the parts' ``scores`` (n_parts,), per voxel; None where they rank nothing."""
        if float(scores.max() - scores.min()) <= 1e-12 * float(scores.abs().max()):
            return None
        sizes = torch.bincount(numbers.flatten()).double()
        order = shuffled_order(scores, exhibit, "ties")
        n = len(order)
        counts = torch.linspace(0, n, min(self.n_steps, n) + 1, dtype=torch.float64).round().long()
        begin, end = (
            torch.tensor([v], dtype=torch.float64) for v in (value(exhibit), filled_value(exhibit, one, numbers))
        )
        largest, smallest = values_along(
            exhibit, one.image, numbers, (order, order.flip(0)), counts[1:-1], float(begin), "deletion"
        )
        gone = torch.cat([torch.zeros(1, dtype=torch.float64), sizes[order].cumsum(0)]) / sizes.sum()
        return Removals(
            float(begin),
            gone[counts],
            torch.cat([begin, largest, end]),
            1 - gone[n - counts],
            torch.cat([begin, smallest, end]),
        )

    def _attained(self, exhibit: Exhibit, one: Filling, numbers: Tensor) -> Tensor:
        """The figure of the parts' own measured effects."""
        sizes = torch.bincount(numbers.flatten()).double()
        unsigned = exhibit.sign is Sign.UNSIGNED
        scores = single_effects(exhibit, one, numbers) / sizes
        removals = self._along(exhibit, one, scores.abs() if unsigned else scores, numbers)
        return torch.tensor(0.0 if removals is None else self._figure(removals, unsigned), dtype=torch.float64)

    def measure(self, exhibit: Exhibit) -> Measured:
        divisor, unit = scale(exhibit)
        if (undefined := undefined_map(exhibit, unit)) is not None:
            return undefined
        numbers = cut(exhibit, self.n_parts, self.parts)
        sizes = torch.bincount(numbers.flatten())
        figures, curve, deciding, reached = {}, {}, [], []
        used = fillings(exhibit, numbers, self.fillers, deciding=not self.every_filling)
        for one in used:
            removals = self._along(exhibit, one, self._scores(exhibit, one, numbers), numbers)
            if removals is None:
                if one.decides:
                    return Measured.undefined("the map ranks no part above another", unit)
                continue
            kind = one.name
            figures[kind] = self._figure(removals, exhibit.sign is Sign.UNSIGNED) / divisor
            curve[f"share filled, largest first/{kind}"] = removals.largest_share
            curve[f"largest first/{kind}"] = removals.largest
            curve[f"share filled, smallest first/{kind}"] = removals.smallest_share
            curve[f"smallest first/{kind}"] = removals.smallest
            if one.decides:
                deciding.append(kind)
            if one.decides and self.fillers is None:
                about = f"attainable/{type(self).__name__}/{self.n_steps}/{exhibit.sign}"
                own = f"{about}/{exhibit.number('filling', one.image)}/{exhibit.number('cut', numbers)}"
                reached.append(float(exhibit.keep(own, partial(self._attained, exhibit, one, numbers))) / divisor)
        n_steps = min(self.n_steps, len(sizes))
        notes = {
            "parts": self.parts if exhibit.parts is None else "the map's own",
            "n_parts": len(sizes),
            "voxels_a_part": [int(sizes.min()), int(sizes.max())],
            "n_steps": n_steps,
            "n_passes": 2 * (n_steps - 1) * len(used),
        }
        return together(figures, unit, notes, curve, deciding=deciding, attainable=reached)


class Deletion(_Steps):
    """How much further the output falls when what raised it is taken away first than when what lowered it is.

    The image is cut in parts of equal size. Parts are filled one step after the other, in the order of the map's sum
    over them, until all are. With f_+ (s) the output after a share s of the voxels has been filled, most raising
    first, and f_- (s) the same with the most lowering first::

        signed maps:    D = integral over s from 0 to 1 of f_- (s) - f_+ (s)
        unsigned maps:  D = integral over s from 0 to 1 of |f(x) - f_+ (s)|

    in output units, divided by the cohort's spread of f where that is known. Nothing passes through a softmax, and no
    class is looked for, so that a regressor of one output has a curve like any other network. For a signed map 0 is
    chance and an inverted map gives the negative; the unsigned figure has no zero of its own and is to be compared
    with that of a control.

    Parameters
    ----------
    n_parts
        Parts that the image is cut in, about.
    n_steps
        Steps from the image to its filling; parts fall in equal numbers.
    fillers
        At least two of `regard.explainers.perturbation.fillers.FILLERS`; the figure is their mean. ``"reference"``
        fills from the exhibit's reference, such as a phantom rendered without what is looked for. None for what the
        map's numbers speak of (`fillings`), beside what the order of the parts' own measured effects attains.
    parts
        ``"blocks"`` or ``"supervoxels"``, for maps that have no parts of their own.
    every_filling
        Whether to take figures also of fillings that do not decide.

    Notes
    -----
    Samek et al. 2017, IEEE TNNLS 28(11), for perturbing regions in the map's order; Petsiuk, Das and Saenko 2018 (arXiv
    1806.07421) for the area. The difference of the two orders and the output's own units are ours.
    """

    def _figure(self, removals: Removals, unsigned: bool) -> float:
        if unsigned:
            return area(removals.largest_share, (removals.value - removals.largest).abs())
        return area(removals.smallest_share, removals.smallest) - area(removals.largest_share, removals.largest)


class Insertion(_Steps):
    """How much sooner the output rises when what raised it is put back first than when what lowered it is.

    As `Deletion`, from the filling to the image. With g_+ (s) the output after a share s of the voxels has been put
    back, most raising first, and g_- (s) the same with the most lowering first::

        signed maps:    I = integral over s from 0 to 1 of g_+ (s) - g_- (s)
        unsigned maps:  I = integral over s from 0 to 1 of |f(x) - g_- (s)| - |f(x) - g_+ (s)|

    Putting the most raising back first leaves the most lowering filled, so g_+ (s) = f_- (1 - s): with the same
    fillings the figure of a signed map is that of `Deletion`, and is no second witness. For an unsigned map it is one,
    with chance at 0.

    Parameters
    ----------
    n_parts, n_steps, fillers, parts, every_filling
        As in `Deletion`.

    Notes
    -----
    Petsiuk, Das and Saenko 2018 (arXiv 1806.07421), with the changes of `Deletion`.
    """

    def _figure(self, removals: Removals, unsigned: bool) -> float:
        share_up, up = 1 - removals.smallest_share.flip(0), removals.smallest.flip(0)
        share_down, down = 1 - removals.largest_share.flip(0), removals.largest.flip(0)
        if unsigned:
            up, down = -(removals.value - up).abs(), -(removals.value - down).abs()
        return area(share_up, up) - area(share_down, down)
