"""Predictors that need no network: what a classifier has to be above."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["FLOORS"]

_BINS = 32
_SIDE = 12
"""Sides of the coarse image."""


def _histogram(images: Tensor) -> np.ndarray:
    edges = np.linspace(0, 1, _BINS + 1)
    found: np.ndarray = np.stack([np.histogram(row, edges)[0] for row in images.flatten(1).numpy()]) / images[0].numel()
    return found * _BINS


def _coarse(images: Tensor) -> np.ndarray:
    found: np.ndarray = functional.adaptive_avg_pool2d(images, _SIDE).flatten(1).numpy()
    return found


def _asymmetry(images: Tensor) -> np.ndarray:
    coarse = functional.adaptive_avg_pool2d(images, _SIDE)[:, 0]
    found: np.ndarray = (coarse - coarse.flip(-1)).abs()[:, :, : _SIDE // 2].flatten(1).numpy()
    return found


def _ridge(known: np.ndarray, ill: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Linear scores with a penalty, on standardised columns."""
    middle, width = known.mean(0), np.maximum(known.std(0), 1e-9)
    a, b, y = (known - middle) / width, (asked - middle) / width, np.where(ill, 1.0, -1.0)
    # As many equations as cases, which are fewer than columns.
    solved = a.T @ np.linalg.solve(a @ a.T + penalty * len(a) * np.eye(len(a)), y - y.mean())
    found: np.ndarray = b @ solved
    return found


def _fitted(features: Callable[[Tensor], np.ndarray]) -> Callable[[Tensor, np.ndarray, Tensor], np.ndarray]:
    def predict(known: Tensor, ill: np.ndarray, asked: Tensor) -> np.ndarray:
        return _ridge(features(known), ill, features(asked), 1.0)

    return predict


def _brightness(known: Tensor, ill: np.ndarray, asked: Tensor) -> np.ndarray:
    own, theirs = (torch.mean(x.flatten(1), 1).double().numpy() for x in (known, asked))
    sign = np.sign(own[ill].mean() - own[~ill].mean())
    found: np.ndarray = sign * theirs
    return found


FLOORS: Mapping[str, Callable[[Tensor, np.ndarray, Tensor], np.ndarray]] = {
    "brightness": _brightness,
    "histogram": _fitted(_histogram),
    "coarse_image": _fitted(_coarse),
    "asymmetry": _fitted(_asymmetry),
}
"""Name to a function (images to learn from, which are ill, images asked for) -> scores: the mean grey level, and ridge
regressions on the histogram, on the image of 12 x 12 cells, and on how left and right differ in it."""
