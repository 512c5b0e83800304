"""Structural similarity at several scales, as a loss of networks that restore."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import InputError, ShapeError
from regard.core.spatial import space, space_axes

__all__ = ["SCALES", "l1_penalty", "ms_ssim", "similarity_and_error"]

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weight of each scale, finest first (Wang, Simoncelli and Bovik 2003)."""

_KERNEL, _SIGMA = 11, 1.5


def _windowed(images: Tensor) -> Tensor:
    """Gaussian mean over each window that lies inside, one axis after the other: (batch, channel, \\*space)."""
    n_axes, channels = len(space(images)), images.shape[1]
    offset = torch.arange(_KERNEL, dtype=images.dtype, device=images.device) - (_KERNEL - 1) / 2
    line = torch.exp(-0.5 * (offset / _SIGMA).square())
    line = line / line.sum()
    conv = getattr(functional, f"conv{n_axes}d")
    for axis in range(n_axes):
        shape = [1] * n_axes
        shape[axis] = _KERNEL
        weight = line.reshape(1, 1, *shape).expand(channels, 1, *shape)
        images = conv(images, weight, groups=channels)
    return images


def _ssim_and_structure(found: Tensor, wanted: Tensor, span: float) -> tuple[Tensor, Tensor]:
    """Similarity, and its part of contrast and structure, at each place (batch, channel, \\*space)."""
    small, smaller = (0.01 * span) ** 2, (0.03 * span) ** 2
    moments = torch.cat((found, wanted, found.square(), wanted.square(), found * wanted), 1)
    a, b, aa, bb, ab = _windowed(moments).chunk(5, 1)
    structure = (2 * (ab - a * b) + smaller) / (aa - a.square() + bb - b.square() + smaller)
    return structure * (2 * a * b + small) / (a.square() + b.square() + small), structure


def ms_ssim(found: Tensor, wanted: Tensor, *, n_scales: int = 5, span: float = 1.0) -> Tensor:
    """Multi-scale structural similarity of each case.

    Contrast and structure at every scale, luminance at the coarsest, each to the power of its weight; a Gaussian of
    width 11 and sigma 1.5 without padding, means of 2 by 2 voxels between scales (Wang et al. 2003, as TensorFlow's
    ``ssim_multiscale`` computes it).

    Parameters
    ----------
    found, wanted
        (batch, channel, \\*space); 2D or 3D.
    n_scales
        Scales; with fewer than five, their weights are scaled to a sum of 1, and the figure is another one.
    span
        Range of the intensities.

    Returns
    -------
    Tensor
        (batch,), mean over channels.

    Raises
    ------
    ShapeError
        If the shapes differ, or the coarsest scale is smaller than the Gaussian.
    InputError
        If there are not 1 to 5 scales.
    """
    if not 1 <= n_scales <= len(SCALES):
        raise InputError(f"n_scales={n_scales}", f"1 to {len(SCALES)}")
    if found.shape != wanted.shape:
        raise ShapeError(f"images of shape {tuple(found.shape)} and {tuple(wanted.shape)}", "the same shape")
    if found.dtype in (torch.float16, torch.bfloat16):
        found = found.float()
    wanted = wanted.to(found)
    size = space(found)
    least = _KERNEL * 2 ** (n_scales - 1)
    if min(size) < least:
        raise ShapeError(
            f"images of {tuple(size)} voxels", f"at least {least} along every axis for {n_scales} scales", "take fewer"
        )
    weights = torch.tensor(SCALES[:n_scales], dtype=found.dtype, device=found.device)
    weights = weights / weights.sum() if n_scales < len(SCALES) else weights
    n_axes = len(size)
    pool = getattr(functional, f"avg_pool{n_axes}d")
    total = torch.ones(found.shape[:2], dtype=found.dtype, device=found.device)
    for n, weight in enumerate(weights):
        # A variance is a small difference of large numbers, which half precision would turn to noise.
        with torch.autocast(found.device.type, enabled=False):
            whole, structure = _ssim_and_structure(found, wanted, span)
        last = n == n_scales - 1
        mean = (whole if last else structure).mean(space_axes(found))
        # A power below 1 has no slope at 0: a hair above it keeps the gradient finite.
        total = total * mean.clamp_min(1e-6) ** weight
        if not last:
            found, wanted = pool(found, 2), pool(wanted, 2)
    return total.mean(1)


def similarity_and_error(found: Tensor, wanted: Tensor, *, n_scales: int = 5, similarity: float = 0.84) -> Tensor:
    """0.84 (1 - MS-SSIM) + 0.16 mean absolute error, mean over cases (Rajaraman et al. 2021).

    Parameters
    ----------
    found, wanted
        (batch, channel, \\*space), in [0, 1].
    n_scales
        As `ms_ssim` takes it; five as published.
    similarity
        Weight of the first term.
    """
    structure = 1 - ms_ssim(found, wanted, n_scales=n_scales).mean()
    return similarity * structure + (1 - similarity) * (found - wanted).abs().mean()


def l1_penalty(network: nn.Module, weight: float = 1e-9) -> Tensor:
    """Sum of the sizes of all convolution weights, times ``weight`` (ConvNet-BS of Rajaraman et al. 2021)."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    sizes = [m.weight.abs().sum() for m in network.modules() if isinstance(m, kinds)]
    return weight * torch.stack(sizes).sum()
