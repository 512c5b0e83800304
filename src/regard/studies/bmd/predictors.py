"""Predictors that need no network: the floors that one has to be above, and the ceiling."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from regard.studies.bmd.cohort import WINDOW, Cohort

__all__ = ["floors"]

_BINS = 24
_SKIN = -300.0
"""What is above is body, not air [HU]."""


def _histogram(images: Tensor, edges: np.ndarray) -> np.ndarray:
    flat = images.flatten(1).clamp(*WINDOW).numpy()
    counts = np.stack([np.histogram(row, edges)[0] for row in flat]) / flat.shape[1]
    found: np.ndarray = counts * _BINS
    return found


def _ridge(known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Linear regression with a penalty, on centred columns."""
    middle, label = known.mean(0), wanted.mean()
    centred = known - middle
    solved = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(known.shape[1]), centred.T @ (wanted - label)
    )
    found: np.ndarray = (asked - middle) @ solved + label
    return found


def _line(known: np.ndarray, wanted: np.ndarray, asked: np.ndarray) -> np.ndarray:
    usable = np.isfinite(known)
    filler = known[usable].mean() if usable.any() else 0.0
    known, asked = np.where(usable, known, filler), np.where(np.isfinite(asked), asked, filler)
    if np.ptp(known) == 0:
        return np.full(len(asked), wanted.mean())
    return _ridge(known[:, None], wanted, asked[:, None], 1e-9 * known.var() * len(known))


def region_hu(cohort: Cohort, body: Tensor) -> np.ndarray:
    """Mean HU of the pixels that are surely L1's body, as a reader's circle gives it; NaN where there are none."""
    inside = body > 0.9
    total = (cohort.images[:, 0] * inside).sum((1, 2)).double()
    count = inside.sum((1, 2)).double()
    found: np.ndarray = torch.where(count > 0, total / count.clamp(min=1), torch.nan).numpy()
    return found


def _size(cohort: Cohort) -> np.ndarray:
    found: np.ndarray = (cohort.images[:, 0] > _SKIN).double().mean((1, 2)).numpy()
    return found


def floors(learn: Cohort, test: Cohort, bodies: tuple[Tensor, Tensor]) -> Mapping[str, np.ndarray]:
    """Predictions [g/cm2] of predictors without a network on the test cases, by name.

    Parameters
    ----------
    learn, test
        Cases to fit on, and to predict.
    bodies
        Probability of L1's body in both, (case, row, column).

    Returns
    -------
    mapping
        ``mean``: of the training labels; ``histogram``: ridge on the histogram of the slice; ``region_hu``: a line on
        the mean HU of L1's body as the segmentation network outlines it, the hand measurement; ``body_size``: a line on
        the share of the slice that is body; ``decoy``: a line on the decoy's own factor, where there is one.
    """
    y = learn.y
    edges = np.quantile(learn.images.clamp(*WINDOW).numpy()[:: max(1, len(learn) // 60)], np.linspace(0, 1, _BINS + 1))
    edges = np.unique(edges)
    found = {
        "mean": np.full(len(test), y.mean()),
        "histogram": _ridge(_histogram(learn.images, edges), y, _histogram(test.images, edges), 1.0),
        "region_hu": _line(region_hu(learn, bodies[0]), y, region_hu(test, bodies[1])),
        "body_size": _line(_size(learn), y, _size(test)),
    }
    if bool(torch.isfinite(learn.decoy).all()):
        found["decoy"] = _line(learn.decoy.double().numpy(), y, test.decoy.double().numpy())
    return found
