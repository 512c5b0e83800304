"""Everything that depends on how many spatial axes there are, for 1D, 2D and 3D alike.

Tensors are ``(batch, channel, *space)``. No other file asks for the number of axes.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import ShapeError

__all__ = [
    "along",
    "axis_matrix",
    "blur",
    "blur_in_double",
    "box_mean",
    "expand_cases",
    "has_space",
    "interpolate",
    "n_space",
    "over_channels",
    "per_axis",
    "row_sums",
    "space",
    "space_axes",
    "spread",
    "windows",
]

_PART = 2**20
_MOST_DENSE = 2**26
"""Entries of a matrix along one axis up to which it is kept whole."""

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def space(x: Tensor) -> tuple[int, ...]:
    """Sizes of the spatial axes of ``x`` (batch, channel, \\*space)."""
    return tuple(x.shape[2:])


def n_space(x: Tensor) -> int:
    """Number of spatial axes of ``x`` (batch, channel, \\*space)."""
    return x.ndim - 2


def space_axes(x: Tensor) -> tuple[int, ...]:
    """Indices of the spatial axes of ``x`` (batch, channel, \\*space)."""
    return tuple(range(2, x.ndim))


def has_space(x: object) -> bool:
    """Whether ``x`` is a tensor (batch, channel, \\*space) with more than one place."""
    return isinstance(x, Tensor) and x.ndim >= 3 and math.prod(x.shape[2:]) > 1


def expand_cases(values: Tensor, like: Tensor) -> Tensor:
    """Shape ``values`` (batch,) so that it broadcasts against ``like`` (batch, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def per_axis(value: int | Sequence[int], sizes: Sequence[int], name: str) -> tuple[int, ...]:
    """Read a knob that is one number or one per spatial axis, clipped to the sizes.

    Raises
    ------
    ShapeError
        If a sequence does not have one entry per spatial axis, or an entry is below 1.
    """
    values = [value] * len(sizes) if isinstance(value, int) else list(value)
    if len(values) != len(sizes) or any(int(v) < 1 for v in values):
        raise ShapeError(
            f"{name}={value}",
            f"one whole number of at least 1, or {len(sizes)} of them for an image of {tuple(sizes)}",
            f"set {name} to fit the image",
        )
    return tuple(min(int(v), size) for v, size in zip(values, sizes, strict=True))


def axis_matrix(n_out: int, n_in: int, scale: float, offset: float, *, antialias: bool = True) -> Tensor:
    """Linear interpolation along one axis as a matrix.

    Output cell ``o`` is centred at input coordinate ``scale * o + offset``; its weights are a triangle, widened by
    ``abs(scale)`` when the step is longer than an input cell. A cell whose centre lies off the input has a zero row.

    Returns
    -------
    Tensor
        Weights (n_out, n_in), float64; each row sums to 1, or to 0 off the input. Sparse where it would be large, as
        between recordings of hours; `row_sums` and `along` take both.
    """
    centres = scale * torch.arange(n_out, dtype=torch.float64) + offset
    width = max(1.0, abs(scale)) if antialias else 1.0
    if n_out * n_in > _MOST_DENSE:
        return _sparse_axis_matrix(centres, n_in, width)
    cells = torch.arange(n_in, dtype=torch.float64)
    weights = (1 - (cells[None] - centres[:, None]).abs() / width).clamp(min=0)
    inside = (centres >= -0.5 - 1e-6) & (centres <= n_in - 0.5 + 1e-6)
    sums = weights.sum(1, keepdim=True)
    return torch.where(inside[:, None] & (sums > 0), weights / sums.clamp(min=1e-12), 0.0)


def _sparse_axis_matrix(centres: Tensor, n_in: int, width: float) -> Tensor:
    """The same weights with only what is not 0."""
    reach = math.ceil(width)
    cells = centres.floor().long()[:, None] + torch.arange(-reach, reach + 1)
    weights = (1 - (cells - centres[:, None]).abs() / width).clamp(min=0)
    inside = (centres >= -0.5 - 1e-6) & (centres <= n_in - 0.5 + 1e-6)
    weights = torch.where((cells >= 0) & (cells < n_in) & inside[:, None], weights, 0.0)
    sums = weights.sum(1, keepdim=True)
    weights = torch.where(sums > 0, weights / sums.clamp(min=1e-12), 0.0)
    rows, columns = (weights > 0).nonzero(as_tuple=True)
    places = torch.stack([rows, cells[rows, columns]])
    return torch.sparse_coo_tensor(
        places, weights[rows, columns], (len(centres), n_in), check_invariants=True
    ).coalesce()


def row_sums(matrix: Tensor) -> Tensor:
    """Sum of each row of `axis_matrix`, dense or sparse."""
    return torch.sparse.sum(matrix, 1).to_dense() if matrix.is_sparse else matrix.sum(1)


def along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """``x`` with its cells along one axis joined by `axis_matrix`, dense or sparse."""
    if not matrix.is_sparse:
        return torch.tensordot(x, matrix.to(x), dims=([axis], [1])).movedim(-1, axis)
    moved = x.movedim(axis, 0)
    joined = torch.sparse.mm(matrix.to(device=x.device, dtype=x.dtype), moved.reshape(x.shape[axis], -1))
    return joined.reshape(matrix.shape[0], *moved.shape[1:]).movedim(0, axis)


def interpolate(x: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation of ``x`` (batch, channel, \\*space) to ``size``, corners not aligned."""
    if space(x) == tuple(size):
        return x
    mode = _MODES.get(n_space(x))
    if mode is not None:
        return functional.interpolate(x, size=tuple(size), mode=mode, align_corners=False)
    for axis, n_out in zip(space_axes(x), size, strict=True):
        ratio = x.shape[axis] / n_out
        x = along(x, axis_matrix(n_out, x.shape[axis], ratio, ratio / 2 - 0.5, antialias=False), axis)
    return x


def spread(x: Tensor, size: Sequence[int]) -> Tensor:
    """Share each coarse cell of ``x`` (batch, channel, \\*space) among the fine cells of ``size``, keeping the total.

    The adjoint of averaging the fine grid down to the coarse one; what a contribution on a feature map needs.
    """
    for axis, n_fine in zip(space_axes(x), size, strict=True):
        n_coarse = x.shape[axis]
        if n_coarse != n_fine:
            ratio = n_fine / n_coarse
            down = axis_matrix(n_coarse, n_fine, ratio, ratio / 2 - 0.5)
            x = along(x, down.T, axis)
    return x


def over_channels(x: Tensor) -> Tensor:
    """Sum ``x`` (batch, channel, \\*space) over the channels of which something is known, (batch, 1, \\*space).

    NaN where nothing is known of any channel.
    """
    unknown = torch.isnan(x).all(1, keepdim=True)
    return torch.where(unknown, torch.nan, x.nansum(1, keepdim=True))


def blur(x: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Gaussian blur of ``x`` (batch, channel, \\*space); ``sigma`` in voxels, edges repeated."""
    for axis, matrix in _blurring(x, sigma):
        x = along(x, matrix, axis)
    return x


def blur_in_double(x: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """As `blur`, computed in double and of the type of ``x``; beside the result it takes one copy in double."""
    exact = x.to(torch.float64, copy=True)
    for axis, matrix in _blurring(exact, sigma):
        # Across another axis, so that each part holds whole lines along this one.
        across = next((a for a in space_axes(x) if a != axis), None)
        n = 1 if across is None else x.shape[across]
        step = max(1, n * _PART // max(1, x.numel()))
        for start in range(0, n, step):
            part = exact if across is None else exact.narrow(across, start, min(step, n - start))
            part.copy_(along(part, matrix, axis))
    return exact.to(x)


def _blurring(x: Tensor, sigma: float | Sequence[float]) -> Iterator[tuple[int, Tensor]]:
    """For each axis of space that is blurred, the matrix (place, place) that does it."""
    axes = space_axes(x)
    sigmas = [float(sigma)] * len(axes) if isinstance(sigma, (int, float)) else [float(s) for s in sigma]
    for axis, width in zip(axes, sigmas, strict=True):
        size = x.shape[axis]
        if width <= 0 or size < 2:
            continue
        radius = max(1, math.ceil(4 * width))
        offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
        kernel = torch.exp(-(offsets**2) / (2 * width**2))
        kernel = kernel / kernel.sum()
        places = torch.arange(size, device=x.device)[:, None] + torch.arange(-radius, radius + 1, device=x.device)
        if size * size > _MOST_DENSE:
            rows = torch.arange(size, device=x.device)[:, None].expand_as(places)
            where = torch.stack([rows.reshape(-1), places.clamp(0, size - 1).reshape(-1)])
            yield (
                axis,
                torch.sparse_coo_tensor(where, kernel.repeat(size), (size, size), check_invariants=True).coalesce(),
            )
            continue
        matrix = torch.zeros(size, size, dtype=x.dtype, device=x.device)
        matrix.scatter_add_(1, places.clamp(0, size - 1), kernel.expand(size, -1))
        yield axis, matrix


def box_mean(x: Tensor, width: int) -> Tensor:
    """Mean of ``x`` (batch, channel, \\*space) over a box of ``width`` voxels (made odd), over what lies inside."""
    for axis in space_axes(x):
        size, half = x.shape[axis], width // 2
        if size * size > _MOST_DENSE:
            x = _long_box_mean(x, half, axis)
            continue
        cells = torch.arange(size, device=x.device)
        near = ((cells[:, None] - cells[None]).abs() <= half).to(x.dtype)
        x = along(x, near / near.sum(1, keepdim=True), axis)
    return x


def _long_box_mean(x: Tensor, half: int, axis: int) -> Tensor:
    """As `box_mean` along one long axis, by sums from its beginning."""
    size = x.shape[axis]
    zero = torch.zeros_like(x.narrow(axis, 0, 1), dtype=torch.float64)
    sums = torch.cat([zero, x.double().cumsum(axis)], axis)
    cells = torch.arange(size, device=x.device)
    low, high = (cells - half).clamp(min=0), (cells + half + 1).clamp(max=size)
    shape = [-1 if a == axis else 1 for a in range(len(x.shape))]
    return ((sums.index_select(axis, high) - sums.index_select(axis, low)) / (high - low).reshape(shape)).to(x)


def windows(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Boxes of ``window`` voxels every ``stride`` voxels that cover ``size``; the last ones are moved inside."""
    starts = []
    for n, w, s in zip(size, window, stride, strict=True):
        along = list(range(0, n - w + 1, s))
        if along[-1] + w < n:
            along.append(n - w)
        starts.append(along)
    for corner in torch.cartesian_prod(*[torch.tensor(a) for a in starts]).reshape(-1, len(starts)).tolist():
        yield tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
