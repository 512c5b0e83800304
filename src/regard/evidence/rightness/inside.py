"""How much of a map lies inside the truth, by mass, by rank and at its peak."""

from abc import abstractmethod

from torch import Tensor

from regard.evidence.localisation import (
    average_precision,
    average_precision_by_chance,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from regard.evidence.measure import Exhibit, Measured
from regard.evidence.rightness.places import AbstractRight, counted

__all__ = ["AveragePrecision", "Overlap", "PointingGame", "RelevanceMass", "RelevanceRank"]


class _Inside(AbstractRight):
    @abstractmethod
    def _figure(self, size: Tensor, core: Tensor) -> float:
        """The figure, of |relevance| and the core at the voxels that count, each (n,)."""

    def _chance(self, core: Tensor) -> float:
        """What a map in random order gives on average: the core's share, unless the figure has another."""
        return float(core.double().mean())

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        size, core = counted(exhibit)
        if not 0 < int(core.sum()) < len(core):
            return Measured.undefined(f"a truth of {int(core.sum())} among {len(core)} voxels that count")
        if not bool(size.any()):
            return Measured.undefined("the map is zero wherever a voxel counts")
        notes = {
            "share of the core": float(core.double().mean()),
            "by chance": self._chance(core),
            "n_counted": len(core),
        }
        return Measured(self._figure(size, core), "1", notes)


class RelevanceMass(_Inside):
    """Share of |relevance| inside the core, 0 to 1; the core's share of the voxels by chance.

    See `regard.evidence.localisation.relevance_mass` (Arras, Osman and Samek 2022).
    """

    def _figure(self, size: Tensor, core: Tensor) -> float:
        return relevance_mass(size, core)


class RelevanceRank(_Inside):
    """Share of the core's K voxels among the K largest of |relevance|, 0 to 1; the core's share by chance.

    See `regard.evidence.localisation.relevance_rank` (Arras, Osman and Samek 2022).
    """

    def _figure(self, size: Tensor, core: Tensor) -> float:
        return relevance_rank(size, core)


class AveragePrecision(_Inside):
    """Area under precision and recall of |relevance| as a detector of the core; what chance gives stands beside it.

    See `regard.evidence.localisation.average_precision` and `average_precision_by_chance`.
    """

    def _figure(self, size: Tensor, core: Tensor) -> float:
        return average_precision(size, core)

    def _chance(self, core: Tensor) -> float:
        return average_precision_by_chance(int(core.sum()), len(core))


class PointingGame(_Inside):
    """Whether the largest |relevance| lies in the core: 1, 0, or the share of those that tie.

    See `regard.evidence.localisation.pointing_game` (Zhang et al. 2018).
    """

    def _figure(self, size: Tensor, core: Tensor) -> float:
        return pointing_game(size, core)


class Overlap(_Inside):
    """Intersection over union of the core with the K largest of |relevance|, K the size of the core.

    Both have K voxels, so that with a share s of them in common (the relevance rank) it is s / (2 - s): no threshold is
    chosen, and a map cannot win by marking everything.
    """

    def _figure(self, size: Tensor, core: Tensor) -> float:
        common = relevance_rank(size, core)
        return common / (2 - common)
