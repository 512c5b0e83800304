"""How alike two maps are."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.quantity import Sign
from regard.core.spatial import blur

__all__ = ["correlation", "correlations", "likeness_to", "ranks", "spearman", "ssim", "top_overlap"]


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two tensors of one shape; NaN where one of them is constant."""
    if a.shape != b.shape:
        raise ShapeError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}", "one shape")
    a, b = a.detach().double().flatten().cpu(), b.detach().double().flatten().cpu()
    if not (a.max() > a.min() and b.max() > b.min()):
        return float("nan")
    # Scaled first: the squares of a map of 1e-200 would vanish.
    a, b = a - a.mean(), b - b.mean()
    a, b = a / a.abs().max(), b / b.abs().max()
    return float(((a @ b) / (a.norm() * b.norm())).clamp(-1, 1))


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """`correlation` row by row of two tensors (n, m), (n,), float64."""
    constant = (a.amax(1) <= a.amin(1)) | (b.amax(1) <= b.amin(1))
    a, b = (t.double() - t.double().mean(1, keepdim=True) for t in (a, b))
    a, b = (t / t.abs().amax(1, keepdim=True).clamp(min=1e-300) for t in (a, b))
    found = ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-300)).clamp(-1, 1)
    return torch.where(constant, torch.nan, found)


def ranks(values: Tensor) -> Tensor:
    """Ranks of all values of a tensor, 1 to n, ties by their mean, (n,), float64."""
    flat = values.detach().double().flatten().cpu()
    order = torch.from_numpy(np.argsort(flat.numpy()))
    ordered = flat[order]
    _, group, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    mean = counts.cumsum(0).double() - (counts - 1).double() / 2
    found = torch.empty_like(ordered)
    found[order] = mean[group]
    return found


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation of two tensors of one shape, ties by mean ranks; NaN where one of them is constant."""
    if a.shape != b.shape:
        raise ShapeError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}", "one shape")
    return correlation(ranks(a), ranks(b))


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


def _in_top(size: Tensor, k: int) -> Tensor:
    """Weight of each value among the k largest, (n,): 1, 0, or for those that tie at the end an equal share."""
    last = size.topk(k).values[-1]
    above, tied = size > last, size == last
    return above.double() + tied.double() * ((k - int(above.sum())) / int(tied.sum()))


def top_overlap(a: Tensor, b: Tensor, *, share: float = 0.1) -> float:
    """Share that the largest |values| of two maps have in common, 0 to 1; ``share`` by chance.

    The k largest of each, k a ``share`` of all voxels; values that tie at the end count in part. NaN where one map is
    zero.
    """
    if a.shape != b.shape:
        raise ShapeError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}", "one shape")
    a, b = (t.detach().double().flatten().cpu().abs() for t in (a, b))
    if not (a.any() and b.any()):
        return float("nan")
    k = max(1, round(share * len(a)))
    return float(torch.minimum(_in_top(a, k), _in_top(b, k)).sum() / k)


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
