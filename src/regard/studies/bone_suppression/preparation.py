"""What radiographs become before a network sees them, and how pairs are varied in training."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.training.augmentation import Augmentation

__all__ = ["FILTERS", "Variation"]

FILTERS = ("none", "median", "maximum", "minimum", "unsharp")
"""What happens to both images of a pair, each as often."""


def _windows(pair: Tensor) -> Tensor:
    padded = functional.pad(pair, (1, 1, 1, 1), mode="replicate")
    n, c, rows, columns = pair.shape
    return functional.unfold(padded, 3).reshape(n, c, 9, rows, columns)


def _filtered(pair: Tensor, kind: str) -> Tensor:
    """One pair (1, 2, row, column) through a filter of 3 x 3 pixels."""
    if kind == "none":
        return pair
    if kind == "unsharp":
        blurred = _windows(pair).mean(2)
        return (pair + 0.8 * (pair - blurred)).clamp(0, 1)
    windows = _windows(pair)
    if kind == "median":
        return windows.median(2).values
    return windows.amax(2) if kind == "maximum" else windows.amin(2)


@dataclass(frozen=True)
class Variation:
    """Random moves, filters and squares of pairs, keyed by (seed, case, epoch); both images of a pair alike.

    Parameters
    ----------
    moves
        Rotation, mirroring, shift and zoom.
    filters
        Whether pairs go through one of ``FILTERS``.
    crop
        Side of the square that is cut out [pixel].
    """

    moves: Augmentation
    filters: bool
    crop: int

    def apply(self, pairs: Tensor, *, seed: int, cases: list[int], epoch: int) -> Tensor:
        """Vary pairs (batch, 2, row, column); returns (batch, 2, crop, crop)."""
        moved = self.moves.apply(pairs, seed=seed, cases=cases, epoch=epoch)
        found = []
        for pair, case in zip(moved.split(1), cases, strict=True):
            u = randomness.uniform((3,), seed, str(case), f"variation {epoch}").tolist()
            if self.filters:
                pair = _filtered(pair, FILTERS[int(u[0] * len(FILTERS))])
            row, column = (int(v * (s - self.crop + 1)) for v, s in zip(u[1:], pair.shape[2:], strict=True))
            found.append(pair[:, :, row : row + self.crop, column : column + self.crop])
        return torch.cat(found)
