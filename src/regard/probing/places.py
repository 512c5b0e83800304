"""Whether the axes of a layer are the places of the input: what a change at two places changes there."""

from collections.abc import Sequence

from torch import Tensor

from regard.core.errors import CapabilityError
from regard.probing.changes import Places
from regard.probing.probe import Probe, refused

__all__ = ["agreement"]

FEW = 4
"""With fewer places along an axis than this, a change that is seen elsewhere proves nothing."""


def agreement(name: str, layer: str, first: Tensor, second: Tensor, places: Places, sizes: Sequence[int]) -> Probe:
    """Compare where a layer changes with where its input was changed.

    Along each axis the two changes are summed over the other axes; their difference must be largest near the first
    place and smallest near the second, so that places which answer to everything do not count.

    Parameters
    ----------
    name
        Of the probe.
    layer
        Of the layer.
    first, second
        How much the layer changed, (\\*space), after the change at either place.
    places
        Where the input was changed.
    sizes
        Of the input's spatial axes.
    """
    first, second = first / first.sum().clamp_min(1e-300), second / second.sum().clamp_min(1e-300)
    right, wrong, judged = 0, [], 0
    for axis, (cells, size) in enumerate(zip(first.shape, sizes, strict=True)):
        a, b = (int((at + 0.5) * cells / size) for at in (places.first[axis], places.second[axis]))
        if a == b:
            continue
        judged += 1
        others = [k for k in range(first.ndim) if k != axis]
        profile = (first - second).sum(others) if others else first - second
        half = places.size[axis] * cells / size / 2
        near = min(max(1, round(0.15 * cells), round(half)), (abs(a - b) - 1) // 2)
        there = [abs(int(profile.argmax()) - a) <= near, abs(int(profile.argmin()) - b) <= near]
        right += all(there)
        if (
            cells >= FEW
            and not any(there)
            and float(profile[a] - profile[b]) <= 0.1 * float(profile.max() - profile.min())
        ):
            wrong.append(axis)
    if wrong:
        axes = " and ".join(str(axis + 1) for axis in wrong)
        return refused(
            name,
            CapabilityError(
                f"the layer '{layer}', whose space axis {axes} does not follow a change at two places of the input",
                "activations (N, C, *space) whose axes are the input's places",
                "name another layer, or give reshape=, a function from the layer's output to (N, C, *space)",
            ),
            right / judged,
        )
    if judged and right == judged:
        return Probe(name, "ok", "a change at two places of the input changes the layer most at those places", 1.0)
    return Probe(
        name,
        "unclear",
        "a change at two places of the input does not change the layer most at those places, nor clearly elsewhere",
        right / judged if judged else None,
    )
