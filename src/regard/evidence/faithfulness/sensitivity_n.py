"""Sensitivity-n: whether sums of the map go along with what taking the same places away does."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.quantity import Sign
from regard.evidence.faithfulness.effects import set_effects, single_effects, speaks, steadiness
from regard.evidence.faithfulness.fillings import Filling, fillings
from regard.evidence.faithfulness.removal import (
    Parts,
    check_fillers,
    claims,
    cut,
    per_part,
    together,
    undefined_map,
)
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import correlations
from regard.explainers.perturbation.fillers import FillerLike

__all__ = ["SensitivityN"]


class SensitivityN(AbstractMeasure):
    """Correlation of the map's sum over random sets of parts with the change of the output when they are filled.

    For sets S of n parts each::

        corr over S of ( sum of r over S,  f(x) - f(x with S filled) )

    and the mean over several n. 1 for a map whose sums say every change up to one factor, 0 by chance, -1 for the
    contrary. For an unsigned map the size of the change stands in place of the change, and of a score only the ranks of
    the parts are read. NaN where the output or the sums
    never change.

    Parameters
    ----------
    n_parts
        Parts that the image is cut in, about.
    shares
        Sizes of the sets, as shares of the parts.
    n_sets
        Random sets of each size.
    fillers
        At least two; the figure is their mean. None for what the map's numbers speak of (`fillings`), beside what the
        parts' own measured effects attain.
    parts
        ``"blocks"`` or ``"supervoxels"``, for maps that have no parts of their own.
    every_filling
        Whether to take figures also of fillings that do not decide.

    Notes
    -----
    Ancona et al. 2018, ICLR (arXiv 1711.06104), section 4; parts in place of pixels, and fillers in place of 0, are
    ours.
    """

    direction: ClassVar[Direction] = "higher"
    family: ClassVar[str] = "faithful"

    def __init__(
        self,
        n_parts: int = 64,
        shares: Sequence[float] = (0.1, 0.3, 0.5),
        n_sets: int = 32,
        fillers: Sequence[FillerLike] | None = None,
        parts: Parts = "blocks",
        every_filling: bool = True,
    ) -> None:
        if n_parts < 2 or n_sets < 3 or not shares or any(not 0 < share < 1 for share in shares):
            got = f"{n_parts} parts, shares {tuple(shares)}, {n_sets} sets"
            raise InputError(got, "at least two parts, shares between 0 and 1, at least three sets")
        self.n_parts, self.shares, self.n_sets = n_parts, tuple(shares), n_sets
        self.fillers, self.parts, self.every_filling = check_fillers(fillers), parts, every_filling

    def _sets(self, exhibit: Exhibit, n_parts: int) -> Tensor:
        """Whether a part is in a set, (sizes times n_sets, n_parts): the same for all maps of a case."""

        def draw() -> Tensor:
            sets = torch.zeros(len(self.shares) * self.n_sets, n_parts, dtype=torch.bool)
            for row in range(len(sets)):
                n = min(n_parts - 1, max(1, round(self.shares[row // self.n_sets] * n_parts)))
                drawn = randomness.generator(exhibit.seed, exhibit.case, f"sensitivity-n/{row}")
                sets[row, torch.randperm(n_parts, generator=drawn)[:n]] = True
            return sets

        return exhibit.keep(f"sets/{n_parts}/{self._draw}", draw)

    @property
    def _draw(self) -> str:
        return f"{self.shares}/{self.n_sets}"

    def _correlations(self, exhibit: Exhibit, sets: Tensor, parts: Tensor, changes: Tensor) -> Tensor:
        """Of the sums of ``parts`` (n_parts,) with the changes, (sizes,)."""
        sums = sets.double() @ speaks(exhibit, parts)
        return correlations(sums.reshape(-1, self.n_sets), changes.reshape(-1, self.n_sets))

    def measure(self, exhibit: Exhibit) -> Measured:
        if (undefined := undefined_map(exhibit, "1")) is not None:
            return undefined
        numbers = cut(exhibit, self.n_parts, self.parts)
        n_parts = int(numbers.max()) + 1
        if n_parts < 2:
            return Measured.undefined("an image of one part")
        sets, sizes = self._sets(exhibit, n_parts), torch.bincount(numbers.flatten())
        middle = slice(self.n_sets * (len(self.shares) // 2), self.n_sets * (len(self.shares) // 2 + 1))
        figures: dict[str, float] = {}
        deciding, reached, steady = [], [], []
        curve = {}
        used = fillings(exhibit, numbers, self.fillers, deciding=not self.every_filling)
        for one in used:
            happened = set_effects(exhibit, one, numbers, sets, self._draw)
            changes = happened
            if exhibit.sign is Sign.UNSIGNED:
                changes = changes.abs()
            each = self._correlations(
                exhibit, sets, per_part(claims(exhibit, one.image, carried=not one.decides), numbers), changes
            )
            figures[one.name] = float(each.mean())
            curve[f"correlation/{one.name}"] = each
            if one.decides:
                deciding.append(one.name)
            if self.fillers is None and one.decides:
                about = f"attainable/{self._draw}/{n_parts}/{one.name}/{exhibit.sign}/{exhibit.quantity}"
                own = f"{about}/{exhibit.number('filling', one.image)}/{exhibit.number('cut', numbers)}"
                measured = partial(self._attained, exhibit, one, numbers, sets, changes)
                reached.append(float(exhibit.keep(own, measured)))
                steady.append(steadiness(exhibit, one, numbers, sets[middle], happened[middle], self._draw))
        curve["share of the parts"] = torch.tensor(self.shares, dtype=torch.float64)
        notes = {
            "parts": self.parts if exhibit.parts is None else "the map's own",
            "n_parts": n_parts,
            "voxels_a_part": [int(sizes.min()), int(sizes.max())],
            "n_passes": len(sets) * len(used),
        }
        return together(figures, "1", notes, curve, deciding=deciding, attainable=reached, steady=steady)

    def _attained(self, exhibit: Exhibit, one: Filling, numbers: Tensor, sets: Tensor, changes: Tensor) -> Tensor:
        """The figure of the parts' own measured effects."""
        return self._correlations(exhibit, sets, single_effects(exhibit, one, numbers), changes).mean()
