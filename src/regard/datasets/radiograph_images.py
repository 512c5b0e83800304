"""Radiographs as squares in [0, 1], a twin by its radiograph's own display, and what is wrong with some."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import CardError, InputError, RegardError
from regard.core.spatial import box_mean
from regard.io import read

__all__ = ["FEWEST_PIXELS", "grey_of", "prepared", "saturated_pair", "square", "twice_seen", "upside_down"]

FEWEST_PIXELS = 64
"""Sides of an image that is no thumbnail."""

_ALIKE = 16
"""Sides of the coarse images that are compared."""


def grey_of(path: Path) -> Tensor:
    """Read a radiograph as grey levels (row, column), as stored; colours become their mean.

    Raises
    ------
    FileError
        If it cannot be read.
    InputError
        If it is not one flat picture, is too small, or shows nothing.
    """
    volume = read(path)
    plane = volume.tensor.float().mean(0)
    if plane.shape[2] != 1:
        raise InputError(f"'{path.name}' of {tuple(plane.shape)} voxels", "one flat picture", "export one radiograph")
    grey = plane[:, :, 0].T.contiguous()
    if min(grey.shape) < FEWEST_PIXELS:
        got = f"'{path.name}' of {grey.shape[1]} x {grey.shape[0]} pixels"
        raise InputError(got, f"at least {FEWEST_PIXELS} along each side", "give the radiograph, not a thumbnail")
    if not bool((grey != grey[0, 0]).any()):
        raise InputError(f"'{path.name}' of one grey level", "a radiograph", "export it again")
    return grey


def square(grey: Tensor, size: int) -> Tensor:
    """The whole picture (row, column) as a square (1, 1, size, size), as the paper did, also where it is not one."""
    return functional.interpolate(grey[None, None], (size, size), mode="bilinear", antialias=True)


def saturated_pair(images: Tensor, *others: Tensor, share: float = 0.01) -> tuple[Tensor, ...]:
    """Radiographs in [0, 1] with a share of their darkest pixels 0 and as many of their brightest 1.

    Parameters
    ----------
    images
        Radiographs (case, 1, row, column) of any unit.
    *others
        Twins of the same shape; they follow the radiograph's own line, so that a pair still differs by bone alone.
    share
        Of the pixels, at either end.

    Returns
    -------
    tuple of Tensor
        Radiographs, then twins.
    """
    flat = images.flatten(1).sort(1).values
    last = flat.shape[1] - 1
    low = flat[:, round(share * last)].reshape(-1, 1, 1, 1)
    high = flat[:, round((1 - share) * last)].reshape(-1, 1, 1, 1)
    span = (high - low).clamp(min=1e-6)
    return tuple(((x - low) / span).clamp(0, 1) for x in (images, *others))


def prepared(grey: Tensor, size: int, *, twin: Tensor | None = None, saturated: float = 0.01) -> tuple[Tensor, Tensor]:
    """A radiograph and its twin as squares in [0, 1], by the display that the radiograph fixes.

    Parameters
    ----------
    grey
        (row, column).
    size
        Pixels along each side.
    twin
        The same without bones, in the same unit, of the same shape.
    saturated
        Share of the pixels that becomes black, and white.

    Returns
    -------
    image, twin
        (1, size, size) each; NaN where there is no twin.
    """
    if twin is None:
        (shown,) = saturated_pair(square(grey, size), share=saturated)
        return shown[0], torch.full_like(shown[0], torch.nan)
    shown, other = saturated_pair(square(grey, size), square(twin, size), share=saturated)
    return shown[0], other[0]


def twice_seen(images: Mapping[str, Tensor], patients: Mapping[str, str]) -> dict[str, RegardError]:
    """Cases whose very pixels have been seen as another patient's, with the reason; the first of them is kept.

    A patient under two names may come to lie in two folds, and the scores become too good.

    Parameters
    ----------
    images
        By case, any shape.
    patients
        By case.
    """
    first: dict[str, str] = {}
    found: dict[str, RegardError] = {}
    for case in sorted(images):
        name = hashlib.sha256(images[case].contiguous().numpy().tobytes()).hexdigest()
        known = first.setdefault(name, case)
        if patients[known] != patients[case]:
            found[case] = CardError(
                f"the image of patient '{patients[known]}' again, as patient '{patients[case]}'",
                "one patient for one image",
                "correct the names: a patient in two folds makes the scores too good",
            )
    return found


def _coarse(image: Tensor) -> np.ndarray:
    small = functional.adaptive_avg_pool2d(box_mean(image[None], 3), _ALIKE).flatten().double().numpy()
    found: np.ndarray = small - small.mean()
    return found


def upside_down(images: Mapping[str, Tensor], *, fewest: int = 4) -> dict[str, RegardError]:
    """Cases whose grey levels run the other way than most, bone dark and lung bright, with the reason.

    Each is compared with the median of the others at 16 x 16 cells; a negative correlation beyond -0.2 is no anatomy.

    Parameters
    ----------
    images
        By case, (1, row, column) in [0, 1].
    fewest
        Cases from which it can be told what most are like.
    """
    names: Sequence[str] = sorted(images)
    if len(names) < fewest:
        return {}
    coarse = np.stack([_coarse(images[n]) for n in names])
    found: dict[str, RegardError] = {}
    for k, name in enumerate(names):
        usual = np.median(np.delete(coarse, k, 0), 0)
        size = np.linalg.norm(usual) * np.linalg.norm(coarse[k])
        if size > 0 and float(usual @ coarse[k]) / size < -0.2:
            found[name] = InputError(
                f"'{name}' with grey levels the other way than most", "bone bright and lung dark in all", "invert it"
            )
    return found
