"""Whether a cohort's maps are one atlas, or each subject's own."""

import numpy as np
from numpy.typing import ArrayLike

from regard.core.errors import ShapeError

__all__ = ["atlas_share"]


def atlas_share(maps: ArrayLike) -> float:
    """Share of the variance of a cohort's maps, over places, that one common map explains.

    A model that makes maps for a whole cohort can learn the atlas of its training cases instead of looking at the case:
    then this is near 1. It is near 1 as well where the network itself looks at one place in everyone, so compare it
    with the share of maps that were found image by image.

    Parameters
    ----------
    maps
        (case, \\*space), on one grid; a place that is NaN in any map is left out.

    Returns
    -------
    float
        V / (V + W): W the variance between cases at a place (mean over places), V the variance over places of the mean
        map, freed of what W adds to it, W / n. So independent maps give 0 in expectation, and a little below by chance.
        Each map's own mean over places is taken out first. NaN for maps without any variance.

    Raises
    ------
    ShapeError
        If there are fewer than two maps, or no place that all of them know.

    Notes
    -----
    The intraclass correlation of places in a one-way layout; Shrout and Fleiss 1979, Psychological Bulletin 86(2).
    """
    values = np.asarray(maps, dtype=np.float64)
    if values.shape[0] < 2 or values.size == 0:
        raise ShapeError(f"maps of shape {values.shape}", "at least two, (case, *space)")
    values = values.reshape(values.shape[0], -1)
    values = values[:, np.isfinite(values).all(0)]
    if not values.shape[1]:
        raise ShapeError(f"{values.shape[0]} maps of which every place is NaN in one", "a place that all of them know")
    values = values - values.mean(1, keepdims=True)
    between_cases = float(values.var(0, ddof=1).mean())
    common = float(values.mean(0).var()) - between_cases / values.shape[0]
    total = common + between_cases
    return common / total if total > 0 else float("nan")
