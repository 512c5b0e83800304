"""Maps compared at a resolution that suits each: the best of three blurs, chosen on other patients."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core.spatial import blur

__all__ = ["BLURS", "at_blur", "blurred", "matched"]

BLURS = (0.0, 1 / 24, 1 / 12)
"""Standard deviations of the kernel [share of the shortest side]."""


def at_blur(number: int) -> str:
    """What figures at a blur are kept as in a cell."""
    return f"average-precision at blur {number}"


def blurred(relevance: Tensor) -> list[Tensor]:
    """The size of a map (1, 1, \\*space) by each of `BLURS`; NaN stays where it was."""
    size, gone = relevance.detach().double().abs(), torch.isnan(relevance)
    side = min(relevance.shape[2:])
    return [torch.where(gone, torch.nan, blur(size.nan_to_num(), share * side) if share else size) for share in BLURS]


def matched(values: Sequence[np.ndarray]) -> np.ndarray:
    """Figures at the blur that is best for the other half of the patients.

    A method whose maps are finer than the truth is not below a coarse one for its grain alone; and as no patient has a
    say in its own blur, choosing costs nothing in truth.

    Parameters
    ----------
    values
        For each of `BLURS` the figures (network, patient), higher is better; NaN is undefined.

    Returns
    -------
    numpy.ndarray
        (network, patient).
    """
    stack = np.stack(values)
    found = np.full(stack.shape[1:], np.nan)
    halves = np.arange(stack.shape[-1]) % 2
    for half in (0, 1):
        others = stack[:, :, halves != half].reshape(len(stack), -1)
        counted = np.isfinite(others)
        means = np.where(counted, others, 0).sum(1) / np.maximum(counted.sum(1), 1)
        means = np.where(counted.any(1), means, -np.inf)
        found[:, halves == half] = stack[int(means.argmax())][:, halves == half]
    return found
