"""Correlations of two maps, and the share that their largest values have in common."""

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import ShapeError

__all__ = ["correlation", "correlations", "ranks", "spearman", "top_overlap"]


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
