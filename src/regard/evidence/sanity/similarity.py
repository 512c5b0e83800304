"""How alike two maps are."""

from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.likeness import correlation, correlations, ranks, spearman, top_overlap
from regard.core.quantity import Sign
from regard.core.spatial import blur

__all__ = ["correlation", "correlations", "likeness_to", "ranks", "spearman", "ssim", "top_overlap"]


def ssim(a: Tensor, b: Tensor, *, sigma: float = 1.5) -> float:
    """Structural similarity of two maps (1, 1, \\*space), -1 to 1, each divided by its own root mean square first.

    The mean over voxels of the product of likeness in mean and in structure, under a Gaussian window of ``sigma``
    voxels with edges repeated; the constants are .01 and .03 of the larger range of the two maps. Both are first raised
    by their common minimum where that is below 0: with means of either sign, the signs of mean and structure would
    cancel, and a map would be like its negative. NaN where one map is zero.

    Notes
    -----
    Wang et al. 2004, IEEE TIP 13(4), eq. 13.
    """
    if a.shape != b.shape:
        raise ShapeError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}", "one shape")
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    sizes = [float(t.square().mean().sqrt()) for t in (a, b)]
    if not min(sizes) > 0:
        return float("nan")
    a, b = a / sizes[0], b / sizes[1]
    lowest = min(0.0, float(a.min()), float(b.min()))
    a, b = a - lowest, b - lowest
    widest = max(float(t.max() - t.min()) for t in (a, b))
    luminance, contrast = (0.01 * widest) ** 2, (0.03 * widest) ** 2
    mean_a, mean_b = blur(a, sigma), blur(b, sigma)
    variance_a = blur(a * a, sigma) - mean_a**2
    variance_b = blur(b * b, sigma) - mean_b**2
    covariance = blur(a * b, sigma) - mean_a * mean_b
    above = (2 * mean_a * mean_b + luminance) * (2 * covariance + contrast)
    below = (mean_a**2 + mean_b**2 + luminance) * (variance_a + variance_b + contrast)
    # Two constant maps: nothing above and nothing below, and no difference.
    alike = torch.where(below > 0, above / below.clamp(min=1e-300), 1.0)
    return float(alike.mean())


def likeness_to(relevance: Tensor, sign: Sign) -> Callable[[Tensor], float]:
    """How alike other maps are to one map, whichever way their sign falls, 0 to 1 or a little below 0.

    For unsigned maps Spearman's correlation of the sizes |r|; for signed ones the larger of that and of the size of
    Spearman's correlation of the maps themselves, so that neither a map that only flipped nor one that only lost its
    signs passes for another map. Chance is not 0: compare with surrogates. NaN where a map is constant.
    """
    own, own_size = ranks(relevance), ranks(relevance.abs())

    def likeness(other: Tensor) -> float:
        by_size = correlation(own_size, ranks(other.abs()))
        if sign is Sign.UNSIGNED:
            return by_size
        signed = abs(correlation(own, ranks(other)))
        known = [v for v in (by_size, signed) if v == v]
        return max(known) if known else float("nan")

    return likeness
