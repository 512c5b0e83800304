"""How much of a map lies in each region: sums, signed parts and sizes, of one case.

Shares and densities follow from them for one case or for many, in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

__all__ = ["RegionFigures", "region_figures"]


@dataclass(frozen=True, eq=False)
class RegionFigures:
    """Figures (case, region) of one map; the last axis has one entry more, for what lies in no region.

    Parameters
    ----------
    n
        Voxels that were seen.
    positive, negative
        Sum of the values above zero, and of those below.
    """

    n: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    @property
    def sum(self) -> np.ndarray:
        """Sum over the region, (case, region)."""
        return self.positive + self.negative

    @property
    def mean(self) -> np.ndarray:
        """Mean of the region's voxels; NaN where none was seen."""
        return _ratio(self.sum, self.n)

    @property
    def share(self) -> np.ndarray:
        """Share of the map's relevance |value| that lies in the region; NaN for a map of zeros."""
        size = self.positive - self.negative
        return _ratio(size, size.sum(-1, keepdims=True))

    @property
    def density(self) -> np.ndarray:
        """Share of relevance over share of volume: 1 where a map is spread evenly."""
        return _ratio(self.share, _ratio(self.n, self.n.sum(-1, keepdims=True)))

    def of(self, rows: np.ndarray) -> "RegionFigures":
        """Of some of the cases."""
        return RegionFigures(*(getattr(self, f.name)[rows] for f in fields(self)))

    def plain(self) -> dict[str, list[float]]:
        """As lists, for a file."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def stacked(cls, rows: Sequence[Mapping[str, Any]]) -> "RegionFigures":
        """Of several cases, each as `plain` gave it."""
        return cls(*(np.array([row[f.name] for row in rows], dtype=np.float64) for f in fields(cls)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def region_figures(values: np.ndarray, place: np.ndarray, n_regions: int) -> RegionFigures:
    """Figures of one map, each (region,) with what lies in no region last.

    Parameters
    ----------
    values
        Map (i, j, k), NaN where nothing was seen: that counts neither as relevance nor as volume.
    place
        Number of each voxel's region, from 1; 0 where there is none, (i, j, k).
    n_regions
        Number of regions.
    """
    seen = np.isfinite(values)
    where, kept = place[seen], values[seen].astype(np.float64)

    def added(weights: np.ndarray | None) -> np.ndarray:
        return np.roll(np.bincount(where, weights, minlength=n_regions + 1).astype(np.float64), -1)

    return RegionFigures(added(None), added(np.maximum(kept, 0)), added(np.minimum(kept, 0)))
