"""Superpixels, supervoxels and stretches of a signal: places that belong together by intensity and nearness."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core.spatial import space

__all__ = ["blocks", "equal_blocks", "parts_of", "segment_size", "supervoxels"]

_MOST_AXES = 3
_TOO_FEW = 2


def supervoxels(x: Tensor, n_segments: int, *, compactness: float = 0.1) -> Tensor:
    """Cut one image into about ``n_segments`` connected places.

    Axes of one voxel count for nothing, so that an image and the same image as a volume of one slice are cut alike.
    Signals, images of more than three axes, and those in which SLIC finds fewer than half of what is wanted (noise,
    very small images) are cut into blocks of equal size.

    Parameters
    ----------
    x
        Image (1, channel, \\*space).
    n_segments
        How many are wanted; at most one per voxel.
    compactness
        Weight of nearness against intensity, which is scaled to its range per channel; higher gives squarer places.

    Returns
    -------
    Tensor
        Number of the segment of each voxel, (\\*space), int64, 0 to n - 1 without gaps, on the CPU.

    Notes
    -----
    Achanta et al. 2012, IEEE TPAMI 34(11), SLIC, as scikit-image implements it.
    """
    size = space(x)
    kept = [n for n in size if n > 1]
    n_segments = min(n_segments, math.prod(kept))
    if n_segments <= 1:
        return torch.zeros(size, dtype=torch.int64)
    if not 2 <= len(kept) <= _MOST_AXES:
        return _blocks(kept, n_segments).reshape(size)
    image = x[0].double().cpu().reshape(x.shape[1], *kept).numpy()
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
    scaled = np.moveaxis((image - low) / np.where(high > low, high - low, 1), 0, -1)
    from skimage.segmentation import slic  # heavy, and no other method needs it

    labels = slic(
        scaled, n_segments=n_segments, compactness=compactness, start_label=0, channel_axis=-1, convert2lab=False
    )
    found, numbers = np.unique(labels, return_inverse=True)
    if len(found) < n_segments / _TOO_FEW:
        return _blocks(kept, n_segments).reshape(size)
    return torch.from_numpy(numbers.reshape(size).astype(np.int64))


def _blocks(size: list[int], n_segments: int) -> Tensor:
    """Number of the block of each voxel, (\\*size), for about ``n_segments`` blocks of equal size."""
    return equal_blocks(size, [(math.prod(size) / n_segments) ** (1 / len(size))] * len(size))


def equal_blocks(size: Sequence[int], edges: Sequence[float]) -> Tensor:
    """Number of the block of each voxel, (\\*size), int64, for blocks of about ``edges`` voxels along each axis."""
    numbers, after = torch.zeros(tuple(size), dtype=torch.int64), 1
    for axis in reversed(range(len(size))):
        n = size[axis]
        parts = max(1, min(n, round(n / edges[axis])))
        along = torch.arange(n) * parts // n
        numbers += after * along.reshape(-1, *[1] * (len(size) - axis - 1))
        after *= parts
    return numbers


def parts_of(x: Tensor, n_segments: int, *, compactness: float = 0.1) -> Tensor:
    """Number of the part of each place (\\*space) of ``x`` (1, channel, \\*space), as `supervoxels`.

    Of an input without space, (1, feature), each feature is a part: (feature,).
    """
    if not space(x):
        return torch.arange(x.shape[1])
    return supervoxels(x, n_segments, compactness=compactness)


def blocks(size: Sequence[int], n_segments: int) -> Tensor:
    """Number of the block of each voxel, (\\*size), for about ``n_segments`` blocks of equal size."""
    kept = [n for n in size if n > 1]
    if not kept or n_segments <= 1:
        return torch.zeros(tuple(size), dtype=torch.int64)
    return _blocks(kept, min(n_segments, math.prod(kept))).reshape(tuple(size))


def segment_size(segments: Tensor) -> list[float]:
    """Length of a segment of mean size along each spatial axis, in voxels; 1 along axes of one voxel."""
    kept = [n for n in segments.shape if n > 1]
    n_segments = int(segments.max()) + 1
    edge = (math.prod(kept) / n_segments) ** (1 / len(kept)) if kept else 1.0
    return [edge if n > 1 else 1.0 for n in segments.shape]
