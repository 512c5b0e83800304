"""Likeness to the maps of networks with drawn weights: the figure of dependence that a verdict asks for."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor

from regard.core.errors import InputError
from regard.core.quantity import Sign
from regard.core.recording import LAYERS
from regard.evidence.again import explain_again
from regard.evidence.controls import randomised
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import correlation, ranks

__all__ = ["RandomisedSimilarity", "resemblance"]


def resemblance(maps: Sequence[Tensor], sign: Sign) -> Callable[[Tensor], float]:
    """Mean rank correlation of a map with ``maps``, each (1, 1, \\*space): with its sign, or by size if unsigned.

    Unlike `regard.evidence.sanity.similarity.likeness_to` it can be negative: a map that only flipped is not alike.
    NaN where every correlation is undefined.
    """
    sizes = sign is Sign.UNSIGNED
    others = [ranks(m.abs() if sizes else m) for m in maps]

    def likeness(relevance: Tensor) -> float:
        own = ranks(relevance.abs() if sizes else relevance)
        known = [v for v in (correlation(own, other) for other in others) if not math.isnan(v)]
        return sum(known) / len(known) if known else math.nan

    return likeness


class RandomisedSimilarity(AbstractMeasure):
    """Mean rank correlation with the same method's maps of networks whose weights are all drawn anew.

    Signed maps are compared with their sign, unsigned ones by size. `regard weigh` compares the figure with that of
    the map's surrogates, and the verdict asks it to be no more than 0.1 above theirs.

    Parameters
    ----------
    n_draws
        Networks with drawn weights.

    Notes
    -----
    Adebayo et al. 2018, NeurIPS (arXiv 1810.03292), section 3, with all layers at once.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "sane"
    needs: ClassVar[frozenset[str]] = frozenset({"explain", LAYERS})

    def __init__(self, n_draws: int = 1) -> None:
        if n_draws < 1:
            raise InputError(f"{n_draws} randomised networks", "at least one")
        self.n_draws = n_draws

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        networks = (
            randomised(exhibit.network, seed=exhibit.seed, case=exhibit.case, draw=n) for n in range(self.n_draws)
        )
        maps = [explain_again(exhibit, network=network) for network in networks]
        value = resemblance(maps, exhibit.sign)(exhibit.relevance)
        if math.isnan(value):
            return Measured.undefined("the maps of the randomised networks are constant")
        return Measured(value, "1", {"n_draws": self.n_draws})
