"""How few places a map names."""

from typing import ClassVar

import torch
from torch import Tensor

from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured

__all__ = ["Entropy", "Gini", "entropy", "gini"]


def gini(relevance: Tensor) -> float:
    """Gini index of |r|, 0 for an even map, 1 - 1/n for one voxel alone; NaN for a map of zeros.

    With the n sizes in rising order: sum_i (2 i - n - 1) |r|_i / (n sum_i |r|_i), i from 1 (Hurley and Rickard 2009,
    IEEE TIT 55(10)).
    """
    size = relevance.detach().double().flatten().cpu().abs().sort().values
    n = len(size)
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return float((weights * size).sum() / (n * size.sum()))


def entropy(relevance: Tensor) -> float:
    """Entropy of the shares |r| / sum |r|, in nats, 0 for one voxel alone, log n for an even map; NaN for zeros."""
    size = relevance.detach().double().flatten().cpu().abs()
    share = size / size.sum()
    return float(-torch.xlogy(share, share).sum())


class Gini(AbstractMeasure):
    """Gini index of |relevance| (`gini`): near 1 for a map that names few places. Not evidence of being true.

    Notes
    -----
    Chalasani et al. 2020, ICML (arXiv 1810.06583).
    """

    direction: ClassVar[Direction] = "higher"
    family: ClassVar[str] = "complexity"

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        return Measured(gini(exhibit.relevance))


class Entropy(AbstractMeasure):
    """Entropy of |relevance| as shares (`entropy`), in nats: low for a map that names few places.

    Not evidence of being true. Grows with the number of voxels: compare maps on one grid.

    Notes
    -----
    Bhatt, Weller and Moura 2020, IJCAI (arXiv 2005.00631), complexity.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "complexity"

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere", "nat")
        return Measured(entropy(exhibit.relevance), "nat")
