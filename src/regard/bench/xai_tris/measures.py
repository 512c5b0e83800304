"""What XAI-TRIS measures of a map: the precision of its largest pixels, and how far its mass has to move."""

from functools import lru_cache

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, kron, vstack

__all__ = ["earth_movers_agreement", "precision_of_largest"]


def precision_of_largest(relevance: np.ndarray, places: np.ndarray) -> float:
    """Share of the k largest pixels, by size, that lie in the truth's k pixels; ties count by their share.

    Parameters
    ----------
    relevance
        Map (row, column).
    places
        Where the truth lies, (row, column) of bool.

    Notes
    -----
    Clark et al. 2024, "precision". A map of zeros has that of chance. There ties go to the pixels that come first, and
    pixels of 0 never count.
    """
    size, inside = np.abs(relevance).ravel().astype(float), places.ravel()
    k = int(inside.sum())
    threshold = np.sort(size)[-k]
    above, tied = size > threshold, size == threshold
    share = (k - above.sum()) / tied.sum()
    return float((inside[above].sum() + share * inside[tied].sum()) / k)


@lru_cache(maxsize=64)
def _constraints(n: int, k: int) -> csr_array:
    """Rows that add what leaves each of n pixels, and what comes to each of k."""
    return csr_array(vstack([kron(np.eye(n), np.ones((1, k))), kron(np.ones((1, n)), np.eye(k))]))


def earth_movers_agreement(relevance: np.ndarray, places: np.ndarray) -> float:
    """1 - EMD / D: how little of the map's mass has to move how far to lie evenly in the truth; 1 is best.

    Parameters
    ----------
    relevance
        Map (row, column); its size is its mass.
    places
        Where the truth lies, (row, column) of bool.

    Returns
    -------
    float
        NaN for a map of zeros.

    Notes
    -----
    Clark et al. 2024: the cost is the Euclidean distance [pixel], D the largest there is, the diagonal's. Solved as a
    linear programme over pixels that have mass and pixels of the truth, and so meant for images of few pixels.
    """
    mass = np.abs(relevance).ravel().astype(float)
    if not mass.sum() > 0:
        return float("nan")
    spots = np.argwhere(np.ones(relevance.shape, bool)).astype(float)
    holds = mass > 0
    here, there = spots[holds], spots[places.ravel()]
    cost = np.linalg.norm(here[:, None] - there[None], axis=-1)
    given = np.concatenate([mass[holds] / mass.sum(), np.full(len(there), 1 / len(there))])
    solved = linprog(cost.ravel(), A_eq=_constraints(*cost.shape), b_eq=given, method="highs")
    farthest = float(np.linalg.norm(spots[-1] - spots[0]))
    return 1 - float(solved.fun) / farthest if solved.success else float("nan")
