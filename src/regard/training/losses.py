"""Losses of the networks that measure and that outline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.spatial import space_axes

__all__ = ["RarityWeight", "dice_loss", "weighted_huber"]


@dataclass(frozen=True)
class RarityWeight:
    """Weight of a label that grows where labels are rare: a parabola, 1 at its least over the histogram's bins.

    Parameters
    ----------
    coefficients
        Of w(y), highest power first.
    labels
        Smallest and largest bin centre with cases; outside, the weight is that of the nearer end, so that a label far
        outside the histogram does not outweigh all others.

    Notes
    -----
    Kang et al. 2023, as coded: the least-squares parabola p2 through N / (10 n_b) at the bin centres, and
    w = p2 / 8 - min(p2 / 8) + 1, the least over the parabola.
    """

    coefficients: tuple[float, float, float]
    labels: tuple[float, float]

    @classmethod
    def of_histogram(cls, centres: Sequence[float], counts: Sequence[int]) -> "RarityWeight":
        """Fit the weight to a histogram.

        Parameters
        ----------
        centres
            Bin centres, in the label's unit.
        counts
            Cases in each bin; empty bins say nothing and are left out.

        Raises
        ------
        InputError
            If fewer than three bins have cases.
        """
        kept = [(c, n) for c, n in zip(centres, counts, strict=True) if n > 0]
        if len(kept) < 3:
            raise InputError(f"a histogram with {len(kept)} bins that have cases", "at least three", "use wider data")
        places, numbers = np.array(kept, dtype=float).T
        # A tenth of the mean count for ten bins: in general, cases over (number of bins times the bin's count).
        rarity = numbers.sum() / (len(centres) * numbers)
        a, b, c = np.polyfit(places, rarity, 2) / 8
        # The least value over the labels that occur: at the vertex of a parabola that opens upward.
        ends = [a * y * y + b * y + c for y in (places[0], places[-1])]
        vertex = -b / (2 * a) if a > 0 else np.inf
        least = a * vertex**2 + b * vertex + c if places[0] <= vertex <= places[-1] else min(ends)
        return cls((float(a), float(b), float(c - least + 1)), (float(places[0]), float(places[-1])))

    @classmethod
    def of_labels(cls, labels: Sequence[float], *, n_bins: int = 10) -> "RarityWeight | None":
        """Fit the weight to labels in bins of equal width; None where fewer than three bins have cases."""
        counts, edges = np.histogram(np.asarray(labels, dtype=float), n_bins)
        if (counts > 0).sum() < 3:
            return None
        return cls.of_histogram(list((edges[1:] + edges[:-1]) / 2), [int(n) for n in counts])

    def __call__(self, labels: Tensor) -> Tensor:
        """Weight of each label, of the same shape."""
        y = labels.clamp(*self.labels)
        a, b, c = self.coefficients
        return a * y * y + b * y + c


def weighted_huber(
    predicted: Tensor, labels: Tensor, *, weight: RarityWeight | None = None, threshold: float = 0.05
) -> Tensor:
    """Mean Huber loss, each case weighted by the rarity of its label.

    e^2 / 2 for |e| up to the threshold, threshold (|e| - threshold / 2) beyond, times w(y) (Kang et al. 2023).

    Parameters
    ----------
    predicted, labels
        (batch,), in the label's unit.
    weight
        None: 1 for every label.
    threshold
        Where the loss turns from square to linear, in the label's unit.
    """
    error = (labels - predicted).abs()
    loss = torch.where(error <= threshold, 0.5 * error.square(), threshold * (error - 0.5 * threshold))
    return (loss if weight is None else weight(labels) * loss).mean()


def dice_loss(scores: Tensor, wanted: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice coefficient, mean over cases and structures (Milletari et al. 2016).

    Parameters
    ----------
    scores
        Before their sigmoid, (batch, structure, \\*space).
    wanted
        0 or 1, or shares of a voxel, of the same shape.
    smooth
        Added to both sides of the fraction, so that an empty structure found empty costs nothing.
    """
    share = scores.sigmoid()
    axes = space_axes(scores)
    both = (share * wanted).sum(axes)
    return (1 - (2 * both + smooth) / (share.sum(axes) + wanted.sum(axes) + smooth)).mean()
