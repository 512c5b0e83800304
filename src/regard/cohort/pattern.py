"""What goes along with a reading over many subjects: the activation pattern of a network.

A map of importance says how a network reads. It need not look like what the reading stands for: places of much other
variation count little however strongly they follow it, and places that do not follow it count where they cancel that
variation. What the image does when the reading rises by one is the pattern, cov(x, f) / var(f) (Haufe et al. 2014,
NeuroImage 87:96-110, for one output). It says nothing of which of these places the network looks at.
"""

from dataclasses import dataclass

import numpy as np

from regard.cohort.moments import State, moments_of

__all__ = [
    "AS_TAKEN",
    "EXPLAINED",
    "MEANING",
    "PATTERN",
    "Pattern",
    "pattern_maps",
    "pattern_of",
    "patterns",
    "slope_and_t",
]

PATTERN = "desc-pattern"
"""How the names of its files begin, in ``population`` and ``figures``."""

AS_TAKEN = "intensity as taken"
"""Unit of the image as the network takes it."""

MEANING = "change of the image, as the network takes it, with one unit of the reading, cov(x, f) / var(f)"
"""What the slope is."""

EXPLAINED = (
    f"{MEANING}. A pattern goes along with the reading, and says nothing of which of these places the network looks "
    "at; maps of importance say that, and need not look like what the reading stands for."
)
"""What a reader of its picture must know."""

_IMAGE, _READING, _PRODUCT = ".pattern-image", ".pattern-reading", ".pattern-product"


@dataclass(frozen=True, eq=False)
class Pattern:
    """The pattern of a reading over a cohort.

    Parameters
    ----------
    slope
        Change of the image, as the network takes it, with one unit of the reading, (i, j, k).
    t
        Of the correlation of the two against none, (i, j, k).
    n
        Cases that saw the voxel, (i, j, k).
    """

    slope: np.ndarray
    t: np.ndarray
    n: np.ndarray


def pattern_maps(image: np.ndarray, reading: float) -> dict[str, np.ndarray]:
    """What a case adds to the state: its image (i, j, k) as the network takes it, and its reading there."""
    return {_IMAGE: image, _READING: np.where(np.isfinite(image), reading, np.nan), _PRODUCT: image * reading}


def pattern_of(state: State) -> Pattern:
    """The pattern over the cases of a state.

    Raises
    ------
    KeyError
        If it was not asked for.
    """
    image, reading, product = (moments_of(state, name) for name in (_IMAGE, _READING, _PRODUCT))
    n = image.n
    together = product.mean - image.mean * reading.mean
    with np.errstate(all="ignore"):
        slope, t = slope_and_t(together, image.m2 / n, reading.m2 / n, n)
    return Pattern(slope, t, n)


def slope_and_t(
    together: np.ndarray, of_image: np.ndarray, of_reading: np.ndarray | float, n: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """Slope of the image on the reading and the t of their correlation; NaN where one of them does not vary.

    Parameters
    ----------
    together, of_image, of_reading
        Covariance and variances, each over n.
    n
        Cases.
    """
    with np.errstate(all="ignore"):
        known = (of_image > 0) & (of_reading > 0) & (np.asarray(n) > 2)
        slope = np.where(known, together / of_reading, np.nan)
        r = np.clip(together / np.sqrt(of_image * of_reading), -1, 1)
        t = np.where(known, r * np.sqrt((np.asarray(n) - 2) / np.maximum(1 - r**2, 1e-12)), np.nan)
    return slope, t


def patterns(images: np.ndarray, readings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Patterns of a cohort in memory, one for each way to weigh its cases, (sample, voxel).

    Parameters
    ----------
    images
        (case, voxel).
    readings
        (case,).
    weights
        How often each case counts, (sample, case).
    """
    mean = weights @ readings / weights.sum(1)
    away = weights * (readings - mean[:, None])
    with np.errstate(all="ignore"):
        found: np.ndarray = (away.astype(images.dtype) @ images) / (away @ readings)[:, None]
    return found
