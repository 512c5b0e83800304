"""Findings as boxes: connected parts of a map or a mask, their overlap, and the area under precision and recall."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from regard.core.errors import InputError, ShapeError
from regard.studies.scoring.studentised import Measured

__all__ = ["Box", "boxes_of_map", "boxes_of_mask", "iou", "matched", "precision_statistic"]


@dataclass(frozen=True)
class Box:
    """A box of voxels.

    Parameters
    ----------
    start, stop
        First voxel, and first beyond, along each axis.
    score
        How sure the finder is; of a true box it says nothing.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    score: float = float("nan")

    @property
    def size(self) -> int:
        """Voxels inside; 0 of an empty box."""
        return int(np.prod([max(b - a, 0) for a, b in zip(self.start, self.stop, strict=True)]))


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    if len(first.start) != len(second.start):
        raise ShapeError(f"boxes of {len(first.start)} and {len(second.start)} axes", "as many in each")
    common = Box(
        tuple(max(a, b) for a, b in zip(first.start, second.start, strict=True)),
        tuple(min(a, b) for a, b in zip(first.stop, second.stop, strict=True)),
    ).size
    whole = first.size + second.size - common
    return common / whole if whole else 0.0


def _parts(inside: np.ndarray) -> list[tuple[slice, ...]]:
    labels, _ = ndimage.label(inside, np.ones((3,) * inside.ndim))
    return list(ndimage.find_objects(labels))


def boxes_of_mask(mask: np.ndarray, *, grow: int = 0) -> list[Box]:
    """A box around each connected part of a mask (\\*space); parts whose corners touch are one.

    Parameters
    ----------
    mask
        Of bool.
    grow
        Parts that touch once each is grown by so many voxels are one, too.
    """
    inside, corners = np.asarray(mask, dtype=bool), np.ones((3,) * np.ndim(mask))
    grown = ndimage.binary_dilation(inside, corners, grow) if grow > 0 else inside
    labels, n = ndimage.label(grown, corners)
    found = ndimage.find_objects(np.where(inside, labels, 0), n)
    return [Box(tuple(s.start for s in own), tuple(s.stop for s in own)) for own in found if own is not None]


def boxes_of_map(relevance: np.ndarray, *, threshold: float = 0.2, score: float = 1.0, least: int = 1) -> list[Box]:
    """A box around each connected part of a map (\\*space) above a share of its maximum, the surest first.

    Negative values and NaN are no part of any box; a map without a positive value has no box.

    Parameters
    ----------
    relevance
        The map.
    threshold
        Share of the maximum, above 0.
    score
        Of the case, such as its probability; a box's score is its highest value over the maximum, times this.
    least
        Boxes of fewer voxels are left out.

    Notes
    -----
    As the code of Rajaraman et al. (Diagnostics 2021) makes them of class-selective relevance maps; there the score is
    the highest value of the map itself, normalised to 1 in each image, times the probability of the class.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold={threshold}", "above 0, at most 1")
    values = np.nan_to_num(np.asarray(relevance, dtype=float), nan=0.0)
    highest = values.max(initial=0.0)
    if highest <= 0:
        return []
    found = [
        Box(tuple(s.start for s in own), tuple(s.stop for s in own), float(values[own].max() / highest * score))
        for own in _parts(values >= threshold * highest)
    ]
    return sorted((b for b in found if b.size >= least), key=lambda b: -b.score)


def matched(found: Sequence[Box], wanted: Sequence[Box], least: float) -> list[bool]:
    """Whether each found box is a true one: the surest first, each takes the free true box it overlaps most.

    Parameters
    ----------
    found, wanted
        Of one case.
    least
        Intersection over union from which it counts.

    Returns
    -------
    list of bool
        In the order of ``found``.
    """
    free, right = set(range(len(wanted))), [False] * len(found)
    for n in sorted(range(len(found)), key=lambda n: -found[n].score):
        best = max(free, key=lambda k: iou(found[n], wanted[k]), default=None)
        if best is not None and iou(found[n], wanted[best]) >= least:
            free.discard(best)
            right[n] = True
    return right


def precision_statistic(
    found: Sequence[Sequence[Box]], wanted: Sequence[Sequence[Box]], thresholds: Sequence[float]
) -> Measured:
    """Mean average precision as a statistic of weights (sample, case).

    At each threshold the area under precision and recall over the boxes of all cases, precision taken as the highest
    at that recall or beyond (as in PASCAL VOC from 2010 on); then the mean over the thresholds. Boxes of equal score
    enter together. NaN where no case has a true box.

    Parameters
    ----------
    found, wanted
        Boxes of each case; a case without a true box can only hold false ones.
    thresholds
        Intersections over union.
    """
    if len(found) != len(wanted) or not thresholds:
        raise ShapeError(f"boxes of {len(found)} and {len(wanted)} cases, {len(thresholds)} thresholds", "as many each")
    case = np.array([n for n, boxes in enumerate(found) for _ in boxes], dtype=int)
    score = np.array([b.score for boxes in found for b in boxes])
    right = [
        np.array([r for f, w in zip(found, wanted, strict=True) for r in matched(f, w, t)], dtype=float)
        for t in thresholds
    ]
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True) if len(score) else np.zeros(0, dtype=bool)
    n_wanted = np.array([len(w) for w in wanted], dtype=float)

    def statistic(weights: np.ndarray) -> np.ndarray:
        whole = weights @ n_wanted
        if not len(score):
            return np.where(whole > 0, 0.0, np.nan)
        weight = weights[:, case[order]]
        total = np.zeros(len(weights))
        taken = weight.cumsum(1)[:, last]
        for true in right:
            hits = (weight * true[order]).cumsum(1)[:, last]
            precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            total += (np.diff(hits, axis=1, prepend=0) * best).sum(1)
        mean = total / len(thresholds)
        return np.divide(mean, whole, out=np.full(len(weights), np.nan), where=whole > 0)

    return Measured(statistic, "share")
