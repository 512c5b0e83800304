"""How good a restored image is: errors in its unit, likeness, information, and lesions that an observer still sees.

Images are (batch, 1, row, column); every measure gives one value per image, so that patients can be resampled.
"""

import math

import numpy as np
import torch
from scipy.stats import norm
from skimage.metrics import structural_similarity
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.spatial import blur

__all__ = ["Observer", "mean_square", "observe", "peak_ratio", "similarity", "visual_information"]


def _pair(found: Tensor, wanted: Tensor) -> None:
    if found.shape != wanted.shape:
        raise ShapeError(f"images of {tuple(found.shape)} and {tuple(wanted.shape)}", "one shape")


def mean_square(found: Tensor, wanted: Tensor) -> Tensor:
    """Root mean square error of each image, in its unit (batch,)."""
    _pair(found, wanted)
    return (found.double() - wanted.double()).square().flatten(1).mean(1).sqrt()


def peak_ratio(found: Tensor, wanted: Tensor, span: float) -> Tensor:
    """Peak signal-to-noise ratio of each image [dB] for intensities that ``span`` so much (batch,)."""
    return 20 * torch.log10(span / mean_square(found, wanted).clamp_min(1e-30))


def similarity(found: Tensor, wanted: Tensor, span: float) -> Tensor:
    """Structural similarity of each image (batch,), Gaussian weights of 1.5 pixels as first published."""
    _pair(found, wanted)
    values = [
        structural_similarity(
            a[0].double().cpu().numpy(),
            b[0].double().cpu().numpy(),
            data_range=span,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64)


def visual_information(found: Tensor, wanted: Tensor, *, eye: float = 2.0) -> Tensor:
    """Visual information fidelity in the pixel domain of each image (batch,); 1 for the wanted image itself.

    Sheikh and Bovik, IEEE Transactions on Image Processing 2006: four scales, Gaussian windows of 17, 9, 5 and 3
    pixels with a fifth of that as width.

    Parameters
    ----------
    found, wanted
        Images scaled to 0 to 255.
    eye
        Variance of the noise of the visual system.
    """
    _pair(found, wanted)
    told, whole = torch.zeros(len(found), dtype=torch.float64), torch.zeros(len(found), dtype=torch.float64)
    a, b = wanted.double(), found.double()
    for scale in range(4):
        width = (2 ** (4 - scale) + 1) / 5.0
        if scale:
            a, b = (blur(x, width)[..., ::2, ::2] for x in (a, b))
        mean_a, mean_b = blur(a, width), blur(b, width)
        var_a = (blur(a * a, width) - mean_a**2).clamp_min(0)
        var_b = (blur(b * b, width) - mean_b**2).clamp_min(0)
        both = blur(a * b, width) - mean_a * mean_b
        gain = torch.where(var_a > 1e-10, both / var_a.clamp_min(1e-10), 0.0)
        left = (var_b - gain * both).clamp_min(1e-10)
        left = torch.where(gain < 0, var_b.clamp_min(1e-10), left)
        gain = gain.clamp_min(0)
        told += torch.log2(1 + gain**2 * var_a / (left + eye)).flatten(1).sum(1)
        whole += torch.log2(1 + var_a / eye).flatten(1).sum(1)
    return told / whole.clamp_min(1e-30)


class Observer:
    """A channelised Hotelling observer with Laguerre-Gauss channels around a known place.

    Parameters
    ----------
    shape
        Rows and columns of the images.
    place
        Where the lesion is, (row, column).
    width
        Of the channels' Gaussian [pixel], about the lesion's diameter.
    n_channels
        Number of channels.

    Notes
    -----
    Gallas and Barrett, Journal of the Optical Society of America A 2003.
    """

    def __init__(self, shape: tuple[int, int], place: tuple[float, float], width: float, n_channels: int = 6) -> None:
        row, column = (np.arange(n, dtype=np.float64) - p for n, p in zip(shape, place, strict=True))
        far = (row[:, None] ** 2 + column[None] ** 2) * (2 * math.pi / width**2)
        channels = [np.exp(-far / 2) * np.polynomial.laguerre.lagval(far, [0.0] * n + [1.0]) for n in range(n_channels)]
        flat = np.stack([c / np.linalg.norm(c) for c in channels]).reshape(n_channels, -1)
        self.channels = torch.from_numpy(flat)

    def seen(self, images: Tensor) -> Tensor:
        """Answers of the channels (batch, channel)."""
        return images.double().cpu().flatten(1) @ self.channels.T


def observe(observer: Observer, present: Tensor, absent: Tensor) -> tuple[float, float]:
    """How well the observer tells images with a lesion from those without.

    Each image is judged with a template that was made of all others, so that no image judges itself.

    Returns
    -------
    area
        Area under the curve of all pairs.
    d_prime
        ``sqrt(2)`` times the normal quantile of the area, which is bounded by the number of pairs.

    Raises
    ------
    ShapeError
        If there are fewer than three images of either.
    """
    if min(len(present), len(absent)) < 3:
        raise ShapeError(f"{len(present)} and {len(absent)} images", "at least three of each")
    one, two = observer.seen(present), observer.seen(absent)
    scores = []
    for group, images in enumerate((one, two)):
        values = []
        for n in range(len(images)):
            rest = torch.cat([images[:n], images[n + 1 :]])
            a, b = (rest, two) if group == 0 else (one, rest)
            within = (torch.cov(a.T) + torch.cov(b.T)) / 2
            within = within + 1e-6 * within.diagonal().mean() * torch.eye(len(within)).double()
            template = torch.linalg.solve(within, a.mean(0) - b.mean(0))
            # Around the middle of both groups: templates differ, and so would the zero of their scores.
            values.append(float(template @ (images[n] - (a.mean(0) + b.mean(0)) / 2)))
        scores.append(torch.tensor(values))
    pairs = scores[0][:, None] - scores[1][None]
    area = float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)
    bound = 1 / (2 * pairs.numel())
    return area, math.sqrt(2) * float(norm.ppf(min(max(area, bound), 1 - bound)))
