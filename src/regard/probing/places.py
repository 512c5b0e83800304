"""Whether the axes of a layer are the places of the input: what a change at two places changes there."""

from collections.abc import Sequence

from torch import Tensor

from regard.core.errors import CapabilityError
from regard.probing.changes import Places
from regard.probing.probe import Probe, refused

__all__ = ["agreement"]

FEW = 8
"""With fewer places along an axis than this, a change that is seen elsewhere proves nothing."""

CLEAR, FAINT, NONE = 0.4, 0.1, 0.2
"""Contrast between the two places that is enough by itself; that is needed at all; below which there may be none."""


def agreement(name: str, layer: str, first: Tensor, second: Tensor, places: Places, sizes: Sequence[int]) -> Probe:
    """Compare where a layer changes with where its input was changed.

    Along each axis the squares of the two changes are summed over the other axes, each to a total of 1. Their
    difference must be largest near the first place and smallest near the second, so that what answers to everything
    does not count. The contrast is that difference between the two places, as a share of what is there: 1 where each
    change stays at its place, 0 where both change the same.

    Parameters
    ----------
    name
        Of the probe.
    layer
        Of the layer.
    first, second
        Square of how much the layer changed, (\\*space), after the change at either place.
    places
        Where the input was changed.
    sizes
        Of the input's spatial axes.
    """
    first, second = first / first.sum().clamp_min(1e-300), second / second.sum().clamp_min(1e-300)
    right, wrong, contrasts = 0, [], []
    for axis, (cells, size) in enumerate(zip(first.shape, sizes, strict=True)):
        a, b = (int((at + 0.5) * cells / size) for at in (places.first[axis], places.second[axis]))
        if a == b:
            continue
        rest = [k for k in range(first.ndim) if k != axis]
        one, other = (first.sum(rest), second.sum(rest)) if rest else (first, second)
        profile = one - other
        contrast = float(profile[a] - profile[b]) / max(float(one[a] + one[b] + other[a] + other[b]), 1e-300)
        wide = places.size[axis] * cells / size
        near = min(max(1, round(0.1 * cells), round(wide / 2)), (abs(a - b) - 1) // 2)
        there = [abs(int(profile.argmax()) - a) <= near, abs(int(profile.argmin()) - b) <= near]
        contrasts.append(contrast)
        right += contrast >= CLEAR or (contrast >= FAINT and all(there))
        if cells >= FEW and contrast < NONE and not any(there):
            wrong.append(axis)
    judged, figure = len(contrasts), min(contrasts, default=None)
    if wrong:
        axes = " and ".join(str(axis + 1) for axis in wrong)
        return refused(
            name,
            CapabilityError(
                f"the layer '{layer}', whose space axis {axes} does not follow a change at two places of the input",
                "activations (N, C, *space) whose axes are the input's places",
                "name another layer, or give reshape=, a function from the layer's output to (N, C, *space)",
            ),
            figure,
        )
    if judged and right == judged:
        return Probe(name, "ok", "a change at two places of the input changes the layer most at those places", figure)
    return Probe(
        name,
        "unclear",
        "a change at two places of the input does not change the layer most at those places, nor clearly elsewhere",
        figure,
    )
