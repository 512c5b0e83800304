"""Denoisers that nobody trained: what a network has to beat."""

from collections.abc import Callable

import numpy as np
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

__all__ = ["non_local_means"]


def non_local_means(
    deviation: float, *, strength: float = 0.8, patch: int = 5, distance: int = 6
) -> Callable[[Tensor], Tensor]:
    """Non-local means as a function of images (batch, 1, row, column), without gradients.

    Parameters
    ----------
    deviation
        Standard deviation of the noise.
    strength
        Cut-off of the weights, in that deviation.
    patch, distance
        Side of the patches that are compared, and how far they are looked for [pixel].
    """

    def denoise(x: Tensor) -> Tensor:
        found = [
            denoise_nl_means(
                one[0].detach().cpu().numpy().astype(np.float64),
                patch_size=patch,
                patch_distance=distance,
                h=strength * deviation,
                sigma=deviation,
                fast_mode=True,
            )
            for one in x
        ]
        return torch.from_numpy(np.stack(found))[:, None].to(x)

    return denoise
