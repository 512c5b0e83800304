"""How a layer's output is laid out, when its operations do not tell: by changing the input at two places."""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.explainer import Query
from regard.core.places import Layout
from regard.core.spatial import has_space, n_space, space

__all__ = ["NEAR", "layout_by_probing", "readings"]

NEAR = 0.2
"""How far from where the input was changed the layer may change most, as a share of each axis."""

_PLACES = (0.3, 0.7)
_PATCHES = (1, 2, 4, 8, 14, 16, 32)


def readings(shape: Sequence[int], size: Sequence[int], n_cases: int) -> Iterator[Layout | None]:
    """How an output of ``shape`` may lie for an image of ``size``; None is (batch, channel, \\*space) as it is."""
    if len(shape) == len(size) + 2 and shape[0] == n_cases:
        if math.prod(shape[2:]) > 1:
            yield None
        if math.prod(shape[1:-1]) > 1:
            yield Layout("channels-last")
    if len(shape) == 3:
        for batch_second in (False, True):
            if shape[1 if batch_second else 0] != n_cases:
                continue
            n_tokens = shape[0 if batch_second else 1]
            for patch, extra in itertools.product(_PATCHES, range(9)):
                grid = tuple(math.ceil(n / patch) for n in size)
                if math.prod(grid) > 1 and math.prod(grid) + extra == n_tokens:
                    yield Layout("tokens", grid, extra, 0, batch_second)
    if len(shape) == len(size) + 1 and shape[0] == n_cases * size[0]:
        yield Layout("slices", (size[0],))


def layout_by_probing(query: Query, layer: nn.Module, output: Tensor) -> tuple[Layout | None, bool]:
    """The layout under which the layer changes most where the input was changed, at two places inside the foreground.

    Parameters
    ----------
    query
        Network and inputs; the network is run twice.
    layer
        The layer.
    output
        What it gives for the inputs.

    Returns
    -------
    tuple
        The layout (None: as it is) and whether the probe was clear: exactly one reading fits at both places.
    """
    x = next(t for t in query.inputs.tensors if has_space(t))
    possible = list(readings(output.shape, space(x), query.inputs.n_cases))
    off = dict.fromkeys(range(len(possible)), 0.0)
    for at in _PLACES:
        place = _foreground(x, at)
        changed = [_changed(t, place) if t.shape[2:] == x.shape[2:] else t.clone() for t in query.inputs.tensors]
        with torch.no_grad(), recording.replaced_output(layer, lambda t: t.clone()) as outputs:
            query.forward(changed)
        change = (outputs[0] - output).abs().float()
        for n, layout in enumerate(possible):
            laid = change if layout is None else layout(change)
            if n_space(laid) != n_space(x):
                off[n] = math.inf
                continue
            off[n] = max(off[n], _distance(laid.sum((0, 1)), place, space(x)))
    fitting = [n for n in off if off[n] <= NEAR]
    if len(fitting) == 1:
        return possible[fitting[0]], True
    return None, False


def _foreground(x: Tensor, at: float) -> tuple[int, ...]:
    """Where, along each axis in turn, a share ``at`` of what differs from the lowest value has been passed."""
    weight = (x[0] - x[0].amin()).sum(0)
    found = []
    for axis in range(weight.ndim):
        along = weight.sum([a for a in range(weight.ndim) if a != axis]).double()
        total = along.sum()
        if not bool(total > 0):
            found.append(int(at * len(along)))
            continue
        found.append(min(int((along.cumsum(0) / total < at).sum()), len(along) - 1))
    return tuple(found)


def _changed(x: Tensor, place: Sequence[int]) -> Tensor:
    """The input with a small box at ``place`` three standard deviations brighter."""
    changed = x.clone()
    boxes = []
    for at, n in zip(place, space(x), strict=True):
        half = max(1, n // 16)
        boxes.append(slice(max(0, at - half), at + half + 1))
    changed[(slice(None), slice(None), *boxes)] += 3 * x.std().clamp_min(1e-3)
    return changed


def _distance(change: Tensor, place: Sequence[int], size: Sequence[int]) -> float:
    """How far the largest change lies from ``place``, along the worst axis, as a share of the axis."""
    if not bool(change.max() > 0):
        return math.inf
    top = torch.unravel_index(change.argmax(), change.shape)
    return max(
        abs((float(t) + 0.5) / n - (p + 0.5) / s) if n > 1 else 0.0
        for t, n, p, s in zip(top, change.shape, place, size, strict=True)
    )
