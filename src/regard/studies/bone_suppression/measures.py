"""How good a bone-suppressed image is: errors, likeness, histograms, bone taken away, findings kept.

Images are (case, 1, row, column) in [0, 1]; every measure gives one value per case, (case,) float64.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.evidence.restoration import peak_ratio, similarity
from regard.training.similarity_loss import ms_ssim

__all__ = ["UNITS", "bone_suppression_ratio", "contrast", "kept", "likenesses", "suppression"]

UNITS = {"mae": "grey", "psnr": "dB", "changed_elsewhere": "grey", "histogram_earth_mover": "grey"}
"""Unit of the measures that have one; the others are shares."""

_RING = 7


def _histograms(images: Tensor, bins: int) -> np.ndarray:
    found = [torch.histc(x.float(), bins, 0, 1) / x.numel() for x in images]
    return np.stack([f.double().numpy() for f in found])


def likenesses(found: Tensor, wanted: Tensor, *, bins: int = 64, scales: int = 5) -> dict[str, Tensor]:
    """What the paper reports of an image and its truth.

    Parameters
    ----------
    found, wanted
        Clipped to [0, 1] first: two of the four networks have no bound.
    bins
        Of the histograms.
    scales
        Of MS-SSIM.

    Returns
    -------
    dict
        ``mae``, ``psnr`` [dB, of each image, where the paper takes the mean square over a batch], ``ssim``,
        ``ms_ssim``; of the two histograms ``correlation``, ``intersection``, ``chi_squared``, ``bhattacharyya`` and the
        ``earth_mover`` distance.
    """
    found, wanted = found.clamp(0, 1), wanted.clamp(0, 1)
    p, q = _histograms(found, bins), _histograms(wanted, bins)
    a, b = p - p.mean(1, keepdims=True), q - q.mean(1, keepdims=True)
    correlation = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1)).clip(1e-30)
    chi = ((p - q) ** 2 / (p + q).clip(1e-30)).sum(1) / 2
    overlap = np.sqrt(p * q).sum(1)
    named = {
        "correlation": correlation,
        "intersection": np.minimum(p, q).sum(1),
        "chi_squared": chi,
        "bhattacharyya": np.sqrt((1 - overlap).clip(0)),
        "earth_mover": np.abs(np.cumsum(p - q, 1)).sum(1) / bins,
    }
    return {
        "mae": (found - wanted).abs().double().flatten(1).mean(1),
        "psnr": peak_ratio(found, wanted, 1.0),
        "ssim": similarity(found, wanted, 1.0),
        "ms_ssim": ms_ssim(found.double(), wanted.double(), n_scales=scales),
        **{f"histogram_{k}": torch.from_numpy(v) for k, v in named.items()},
    }


def bone_suppression_ratio(found: Tensor, wanted: Tensor, images: Tensor) -> Tensor:
    """1 - |found - truth|^2 / |radiograph - truth|^2: 1 for the truth, 0 for the radiograph itself, below for worse."""
    left = (found.clamp(0, 1) - wanted).double().square().flatten(1).sum(1)
    whole = (images - wanted).double().square().flatten(1).sum(1)
    return 1 - left / whole.clamp_min(1e-30)


def suppression(found: Tensor, wanted: Tensor, images: Tensor) -> dict[str, Tensor]:
    """What was taken away, divided into bone and the rest.

    Returns
    -------
    dict
        ``bone_suppression_ratio``; ``bone_removed``: least-squares share of the true bone image in what was taken away
        (1 is right, more is too much); ``changed_elsewhere``: root mean square of the change where the true bone image
        is below a hundredth of its largest value [grey].
    """
    taken = (images - found.clamp(0, 1)).double().flatten(1)
    bone = (images - wanted).double().flatten(1)
    away = bone.abs() <= 0.01 * bone.abs().amax(1, keepdim=True)
    share = (taken * bone).sum(1) / bone.square().sum(1).clamp_min(1e-30)
    elsewhere = ((taken.square() * away).sum(1) / away.sum(1).clamp_min(1)).sqrt()
    return {
        "bone_suppression_ratio": bone_suppression_ratio(found, wanted, images),
        "bone_removed": share,
        "changed_elsewhere": torch.where(away.any(1), elsewhere, math.nan),
    }


def contrast(images: Tensor, mask: Tensor, lung: Tensor) -> Tensor:
    """Mean over a finding less the mean over the lung in a ring around it [grey]; NaN without a finding."""
    inside = mask[:, None].float()
    wide = functional.max_pool2d(inside, 2 * _RING + 1, 1, _RING)
    gap = functional.max_pool2d(inside, 3, 1, 1)
    ring = wide * (1 - gap) * lung[:, None].float()

    def mean(weights: Tensor) -> Tensor:
        total = weights.double().flatten(1).sum(1)
        value = (images.double() * weights).flatten(1).sum(1) / total.clamp_min(1e-30)
        return torch.where(total > 0, value, math.nan)

    return mean(inside) - mean(ring)


def kept(found: Tensor, plain: Tensor, wanted: Tensor, plain_wanted: Tensor, mask: Tensor) -> Tensor:
    """Share of a finding that is still there, (case,): 1 is all of it; NaN without a finding.

    Parameters
    ----------
    found, plain
        What the network makes of the radiograph, and of the same chest without the finding.
    wanted, plain_wanted
        The truth of both.
    mask
        Where the finding lies, (case, row, column).

    Notes
    -----
    The least-squares factor between the change that the finding makes in the network's image and in the truth. Nothing
    else differs between the two images, so that ribs cannot pass for a finding.
    """
    inside = mask.flatten(1).double()
    change = (found.clamp(0, 1) - plain.clamp(0, 1)).double().flatten(1) * inside
    true = (wanted - plain_wanted).double().flatten(1) * inside
    whole = true.square().sum(1)
    return torch.where(whole > 0, (change * true).sum(1) / whole.clamp_min(1e-30), math.nan)
