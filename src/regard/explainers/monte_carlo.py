"""Means over random draws, their standard error, and when it is small enough."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["CHECK_EVERY", "RunningMean", "resolved"]

CHECK_EVERY = 8
"""Stopping is considered after every so many draws: never at the end of a batch, which would make it matter."""


def _percentile(values: Tensor, share: float) -> float:
    n = values.numel()
    return float(values.flatten().kthvalue(max(1, min(n, round(share * n)))).values)


def resolved(means: Sequence[Tensor], errors: Sequence[Tensor], tolerance: float | None) -> bool:
    """Whether the median standard error is at most ``tolerance`` times the 99th percentile of the absolute mean."""
    if tolerance is None:
        return False
    error = torch.cat([e.flatten() for e in errors])
    size = torch.cat([m.abs().flatten() for m in means])
    return _percentile(error, 0.5) <= tolerance * _percentile(size, 0.99)


class RunningMean:
    """Mean and standard error of tensors that come one by one, in float64.

    Notes
    -----
    Welford 1962, Technometrics 4(3): exact also when the spread is small beside the mean.
    """

    def __init__(self) -> None:
        self.n = 0
        self.means: tuple[Tensor, ...] = ()
        self._squares: tuple[Tensor, ...] = ()

    def add(self, values: Sequence[Tensor]) -> None:
        """Take in one draw: one tensor per map."""
        if not self.n:
            self.means = tuple(torch.zeros_like(v, dtype=torch.float64) for v in values)
            self._squares = tuple(torch.zeros_like(m) for m in self.means)
        self.n += 1
        for value, mean, squares in zip(values, self.means, self._squares, strict=True):
            off = value.double() - mean
            mean += off / self.n
            squares += off * (value.double() - mean)

    def standard_errors(self) -> tuple[Tensor, ...]:
        """Standard error of each mean; infinite for a single draw."""
        if self.n < 2:
            return tuple(torch.full_like(m, torch.inf) for m in self.means)
        return tuple((s.clamp(min=0) / (self.n - 1) / self.n).sqrt() for s in self._squares)

    def enough(self, tolerance: float | None) -> bool:
        """Whether this is a place to stop, and the means are resolved to ``tolerance``."""
        return self.n % CHECK_EVERY == 0 and resolved(self.means, self.standard_errors(), tolerance)
