"""Sensitivity-n: whether sums of the map go along with what taking the same places away does."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.quantity import Sign
from regard.evidence.faithfulness.removal import (
    FILLERS,
    Parts,
    check_fillers,
    claims,
    cut,
    filling,
    per_part,
    together,
    undefined_map,
    values_without,
)
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import correlation
from regard.explainers.perturbation.fillers import FillerLike

__all__ = ["SensitivityN"]


class SensitivityN(AbstractMeasure):
    """Correlation of the map's sum over random sets of parts with the change of the output when they are filled.

    For sets S of n parts each::

        corr over S of ( sum of r over S,  f(x) - f(x with S filled) )

    and the mean over several n. 1 for a map whose sums say every change up to one factor, 0 by chance, -1 for the
    contrary. For an unsigned map the size of the change stands in place of the change. NaN where the output or the sums
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
        At least two; the figure is their mean.
    parts
        ``"blocks"`` or ``"supervoxels"``.

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
        fillers: Sequence[FillerLike] = FILLERS,
        parts: Parts = "blocks",
    ) -> None:
        if n_parts < 2 or n_sets < 3 or not shares or any(not 0 < share < 1 for share in shares):
            got = f"{n_parts} parts, shares {tuple(shares)}, {n_sets} sets"
            raise InputError(got, "at least two parts, shares between 0 and 1, at least three sets")
        self.n_parts, self.shares, self.n_sets = n_parts, tuple(shares), n_sets
        self.fillers, self.parts = check_fillers(fillers), parts

    def _sets(self, exhibit: Exhibit, n_parts: int) -> Tensor:
        """Whether a part is in a set, (sizes times n_sets, n_parts)."""
        sets = torch.zeros(len(self.shares) * self.n_sets, n_parts, dtype=torch.bool)
        for row in range(len(sets)):
            n = min(n_parts - 1, max(1, round(self.shares[row // self.n_sets] * n_parts)))
            drawn = randomness.generator(exhibit.seed, exhibit.case, f"sensitivity-n/{row}")
            sets[row, torch.randperm(n_parts, generator=drawn)[:n]] = True
        return sets

    def measure(self, exhibit: Exhibit) -> Measured:
        if (undefined := undefined_map(exhibit, "1")) is not None:
            return undefined
        numbers = cut(exhibit, self.n_parts, self.parts)
        n_parts = int(numbers.max()) + 1
        if n_parts < 2:
            return Measured.undefined("an image of one part")
        sets = self._sets(exhibit, n_parts)
        removed = torch.cat([torch.zeros(1, n_parts, dtype=torch.bool), sets])
        figures, curve = {}, {}
        about = f"sensitivity-n/{self.parts}/{n_parts}/{self.shares}/{self.n_sets}"
        for kind in self.fillers:
            fill = exhibit.keep(f"{about}/{kind}/fill", partial(filling, exhibit, kind, numbers))
            # The sets know nothing of the map: the network is asked once for all maps of a case.
            found = exhibit.keep(
                f"{about}/{kind}", partial(values_without, exhibit, fill, numbers, removed, "sensitivity-n")
            )
            changes = found[0] - found[1:]
            if exhibit.sign is Sign.UNSIGNED:
                changes = changes.abs()
            sums = sets.double() @ per_part(claims(exhibit, fill), numbers)
            each = torch.tensor(
                [
                    correlation(said, happened)
                    for said, happened in zip(sums.split(self.n_sets), changes.split(self.n_sets), strict=True)
                ],
                dtype=torch.float64,
            )
            figures[str(kind)] = float(each.mean())
            curve[f"correlation/{kind}"] = each
        curve["share of the parts"] = torch.tensor(self.shares, dtype=torch.float64)
        sizes = torch.bincount(numbers.flatten())
        notes = {
            "parts": self.parts,
            "n_parts": n_parts,
            "voxels_a_part": [int(sizes.min()), int(sizes.max())],
            "n_passes": len(removed) * len(self.fillers),
        }
        return together(figures, "1", notes, curve)
