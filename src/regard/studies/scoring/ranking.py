"""How well scores rank ill above well: the area under the ROC curve, within folds."""

from collections.abc import Sequence

import numpy as np

from regard.core.errors import ShapeError
from regard.studies.scoring.studentised import Measured

__all__ = ["area", "area_statistic"]


def _pairs(
    labels: Sequence[bool], scores: Sequence[float], folds: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions of ill and well cases, what each pair of them counts as won, and whether it is of one fold."""
    is_so, s = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=float)
    where = np.zeros(len(is_so), dtype=int) if folds is None else np.asarray(folds)
    if not is_so.shape == s.shape == where.shape or is_so.ndim != 1:
        raise ShapeError(f"{is_so.shape} labels, {s.shape} scores and {where.shape} folds", "as many of each, (case,)")
    ill, well = np.flatnonzero(is_so), np.flatnonzero(~is_so)
    ahead = s[ill][:, None] - s[well][None]
    won = (ahead > 0) + 0.5 * (ahead == 0)
    return ill, well, won, where[ill][:, None] == where[well][None]


def area_statistic(labels: Sequence[bool], scores: Sequence[float], folds: Sequence[int] | None = None) -> Measured:
    """Area under the ROC curve as a statistic of weights (sample, case).

    The share of pairs of an ill and a well case that are ranked right, ties half (Mann and Whitney). Scores of
    different networks are on different scales: with folds, only pairs of one fold are compared. An area of 1 (or 0) has
    the exact interval of a share over as many pairs as share no patient.

    Parameters
    ----------
    labels, scores, folds
        One per case.

    Raises
    ------
    ShapeError
        If their numbers differ.
    """
    ill, well, won, same = _pairs(labels, scores, folds)
    right, counted = won * same, same.astype(float)

    def statistic(weights: np.ndarray) -> np.ndarray:
        up, down = weights[:, ill], weights[:, well]
        whole = ((up @ counted) * down).sum(1)
        return np.divide(((up @ right) * down).sum(1), whole, out=np.full(len(weights), np.nan), where=whole > 0)

    def at_limit(own: np.ndarray, level: float) -> tuple[float, float]:
        # Pairs that share no patient are independent: as many as there are of the fewer kind, fold by fold.
        where = np.zeros(len(own), dtype=int) if folds is None else np.asarray(folds)
        apart = sum(min(len(set(own[k[where[k] == f]])) for k in (ill, well)) for f in np.unique(where))
        edge = float(((1 - level) / 2) ** (1 / max(1, apart)))
        return (edge, 1.0) if statistic(np.ones((1, len(own))))[0] == 1 else (0.0, 1 - edge)

    return Measured(statistic, "share", at_limit=at_limit)


def area(labels: Sequence[bool], scores: Sequence[float], folds: Sequence[int] | None = None) -> float:
    """Area under the ROC curve; parameters as `area_statistic`; NaN without an ill and a well case of one fold."""
    return float(area_statistic(labels, scores, folds)(np.ones((1, len(labels))))[0])
