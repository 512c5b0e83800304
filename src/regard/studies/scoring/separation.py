"""How far two groups lie apart in all of their features, case by case."""

from collections.abc import Sequence

import numpy as np

from regard.core.errors import ShapeError

__all__ = ["neighbours_right", "silhouettes", "standardised_features"]


def standardised_features(features: np.ndarray) -> np.ndarray:
    """Features (case, feature) with mean 0 and deviation 1 each; those that do not vary become 0."""
    centred = features - features.mean(0)
    deviation = centred.std(0)
    found: np.ndarray = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return found


def _distances(features: np.ndarray, labels: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    x, is_so = np.asarray(features, dtype=float), np.asarray(labels, dtype=bool)
    if x.ndim != 2 or len(x) != len(is_so):
        raise ShapeError(f"features of {x.shape} and {len(is_so)} labels", "(case, feature) and (case,)")
    square = (x**2).sum(1)
    apart = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0))
    np.fill_diagonal(apart, 0)
    return apart, is_so


def silhouettes(features: np.ndarray, labels: Sequence[bool]) -> np.ndarray:
    """Silhouette of each case (Rousseeuw 1987), -1 to 1: how much nearer its own group is than the other.

    Parameters
    ----------
    features
        (case, feature); distances are Euclidean.
    labels
        (case,).

    Returns
    -------
    array
        (case,); 0 for a case alone in its group, NaN where there is one group only.
    """
    apart, is_so = _distances(features, labels)
    if is_so.all() or not is_so.any():
        return np.full(len(is_so), np.nan)
    found = np.zeros(len(is_so))
    for n, own in enumerate(is_so):
        same = (is_so == own) & (np.arange(len(is_so)) != n)
        if same.any():
            within, across = apart[n, same].mean(), apart[n, is_so != own].mean()
            found[n] = (across - within) / max(within, across) if max(within, across) > 0 else 0.0
    return found


def neighbours_right(features: np.ndarray, labels: Sequence[bool], *, n_neighbours: int = 5) -> np.ndarray:
    """Share of each case's nearest other cases that are of its group, (case,).

    Parameters
    ----------
    features, labels
        As in `silhouettes`.
    n_neighbours
        How many, at most all others.
    """
    apart, is_so = _distances(features, labels)
    np.fill_diagonal(apart, np.inf)
    k = min(n_neighbours, len(is_so) - 1)
    if k < 1:
        return np.full(len(is_so), np.nan)
    near = np.argsort(apart, axis=1, kind="stable")[:, :k]
    found: np.ndarray = (is_so[near] == is_so[:, None]).mean(1)
    return found
