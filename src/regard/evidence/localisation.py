"""Right or wrong, where the truth is known: how much of a map lies where it should.

All take the size of the relevance, |r|, on the scan's grid, and a mask of the places the output truly depends on;
voxels that the network never saw (NaN) count neither way.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = [
    "LOCALISATION",
    "average_precision",
    "average_precision_by_chance",
    "pointing_game",
    "relevance_mass",
    "relevance_rank",
]


def _seen(relevance: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if relevance.shape != truth.shape:
        raise InputError(
            f"a truth of shape {tuple(truth.shape)} for a map of {tuple(relevance.shape)}", "one grid", "resample it"
        )
    seen = torch.isfinite(relevance)
    inside = (truth > 0.5)[seen]
    if not 0 < int(inside.sum()) < len(inside):
        raise InputError(f"a truth of {int(inside.sum())} among {len(inside)} voxels", "some inside and some outside")
    return relevance[seen].double().abs(), inside


def relevance_mass(relevance: Tensor, truth: Tensor) -> float:
    """Share of the relevance that lies inside the truth, 0 to 1; the truth's share of voxels by chance.

    Arras, Osman and Samek, Information Fusion 2022 (CLEVR-XAI). NaN for a map of zeros: undefined, not wrong.
    """
    size, inside = _seen(relevance, truth)
    total = size.sum()
    return float(size[inside].sum() / total) if total > 0 else float("nan")


def relevance_rank(relevance: Tensor, truth: Tensor) -> float:
    """Share of the truth's K voxels among the K largest of the map, 0 to 1 (CLEVR-XAI); ties count by their share."""
    size, inside = _seen(relevance, truth)
    k = int(inside.sum())
    threshold = size.topk(k).values[-1]
    above, tied = size > threshold, size == threshold
    room = k - int(above.sum())
    return float((inside & above).sum() + room * (inside & tied).sum() / tied.sum()) / k


def average_precision(relevance: Tensor, truth: Tensor) -> float:
    """Area under precision and recall of the map as a detector of the truth, ties averaged.

    By chance it is `average_precision_by_chance`, a little above the truth's share of voxels.
    """
    size, inside = _seen(relevance, truth)
    values, order = size.sort(descending=True)
    hits = inside[order].double().cumsum(0)
    last = torch.cat([values[1:] != values[:-1], torch.ones(1, dtype=torch.bool, device=values.device)])
    found, taken = hits[last], torch.arange(1, len(values) + 1, device=values.device)[last].double()
    gained = torch.diff(found, prepend=torch.zeros(1, dtype=torch.float64, device=values.device))
    return float((gained * found / taken).sum() / inside.sum())


def average_precision_by_chance(n_inside: int, n: int) -> float:
    """Expected average precision of voxels in random order.

    With K of N voxels inside and H the N-th harmonic number it is ((K - 1) / (N - 1) (N - H) + H) / N: the mean over
    ranks r of the expected precision there, given that the voxel at r is inside, (1 + (r - 1) (K - 1) / (N - 1)) / r.
    The share K / N that is often quoted is its limit for many voxels inside.
    """
    if not 0 < n_inside < n:
        raise InputError(f"{n_inside} of {n} voxels inside", "some inside and some outside")
    harmonic = math.fsum(1 / r for r in range(1, n + 1)) if n < 10_000 else math.log(n) + 0.5772156649015329 + 0.5 / n
    return ((n_inside - 1) / (n - 1) * (n - harmonic) + harmonic) / n


def pointing_game(relevance: Tensor, truth: Tensor) -> float:
    """Share of the map's largest voxels (all that tie) that lie inside the truth (Zhang et al. 2018)."""
    size, inside = _seen(relevance, truth)
    return float(inside[size == size.max()].double().mean())


LOCALISATION: dict[str, Callable[[Tensor, Tensor], float]] = {
    "relevance mass": relevance_mass,
    "relevance rank": relevance_rank,
    "average precision": average_precision,
    "pointing game": pointing_game,
}
