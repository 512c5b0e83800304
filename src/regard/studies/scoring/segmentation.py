"""How well a structure is outlined: overlap, and the distance of the outlines."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from regard.core.errors import ShapeError

__all__ = ["dice", "hausdorff_95"]


def _both(found: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(found, dtype=bool), np.asarray(wanted, dtype=bool)
    if a.shape != b.shape:
        raise ShapeError(f"masks of {a.shape} and {b.shape}", "one shape")
    return a, b


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Dice coefficient of two masks (\\*space): twice what is common over what both have; NaN for two empty masks."""
    a, b = _both(found, wanted)
    whole = int(a.sum() + b.sum())
    return float(2 * (a & b).sum() / whole) if whole else float("nan")


def _border(mask: np.ndarray) -> np.ndarray:
    inner: np.ndarray = ndimage.binary_erosion(mask)  # what touches the edge of the image is border
    return mask & ~inner


def hausdorff_95(found: np.ndarray, wanted: np.ndarray, spacing: Sequence[float]) -> float:
    """95th percentile of the distances from each border to the other one [mm], the larger of both ways.

    Parameters
    ----------
    found, wanted
        Masks (\\*space); where one is empty and the other is not, the distance is infinite; NaN for two empty masks.
    spacing
        Size of a voxel along each axis [mm].

    Notes
    -----
    Each way's 95th percentile first and their maximum then, as MONAI does; pooling both ways first gives less.
    """
    a, b = _both(found, wanted)
    if not a.any() and not b.any():
        return float("nan")
    if not a.any() or not b.any():
        return float("inf")
    ways = []
    for here, there in ((a, b), (b, a)):
        distance = ndimage.distance_transform_edt(~_border(there), sampling=spacing)
        ways.append(float(np.percentile(distance[_border(here)], 95)))
    return max(ways)
