"""Large tensors part by part, so that no copy of the whole is made; the range of a map's finite values."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["finite_extent", "slabs"]

_PART = 2**20


def finite_extent(values: Tensor) -> tuple[float, float] | None:
    """The least and the greatest finite value; None where there is none."""
    found = []
    for part in values.detach().reshape(-1).split(_PART):
        finite = part[torch.isfinite(part)]
        if finite.numel():
            found.append(torch.stack(torch.aminmax(finite)))
    if not found:
        return None
    ends = torch.stack(found)
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def slabs(x: Tensor) -> Iterator[tuple[slice, ...]]:
    """Places of the parts of a tensor (batch, channel, \\*space), across its first axis of space, of a million values.

    An input without space (batch, feature) is one part.
    """
    if x.ndim < 3:
        yield (slice(None),)
        return
    step = max(1, x.shape[2] * _PART // max(1, x.numel()))
    for start in range(0, x.shape[2], step):
        yield (slice(None), slice(None), slice(start, start + step))
