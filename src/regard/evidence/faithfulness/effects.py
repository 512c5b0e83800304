"""What the network itself does when parts are taken away: measured once for a case, whatever the map."""

import math
from functools import partial

import torch
from scipy import ndimage
from torch import Tensor

from regard.core import recording
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import blur
from regard.evidence.faithfulness.fillings import Filling
from regard.evidence.faithfulness.removal import values_without
from regard.evidence.measure import Exhibit
from regard.evidence.sanity.similarity import correlation, ranks
from regard.explainers.perturbation.occlusion import box_effects
from regard.explainers.perturbation.segments import segment_size

__all__ = ["value", "filled_value", "set_effects", "single_effects", "speaks", "steadiness"]

_SOFT = 0.5
_LARGE = 2**14
"""Values of an image from which it pays to look at what a part changes."""


def _about(exhibit: Exhibit, filling: Filling, numbers: Tensor) -> str:
    return f"{exhibit.number('cut', numbers)}/{exhibit.number('filling', filling.image)}"


def value(exhibit: Exhibit) -> float:
    """f(x)."""
    return float(exhibit.keep("f(x)", lambda: exhibit.values(1, lambda _: exhibit.x)))


def filled_value(exhibit: Exhibit, filling: Filling, numbers: Tensor) -> float:
    """F of the filling alone."""
    about = f"f(filled)/{_about(exhibit, filling, numbers)}"
    return float(exhibit.keep(about, lambda: exhibit.values(1, lambda _: filling.image)))


def set_effects(exhibit: Exhibit, filling: Filling, numbers: Tensor, sets: Tensor, draw: str) -> Tensor:
    """f(x) - f(x with a set of parts filled), (n,), for ``sets`` (n, n_parts) that ``draw`` names."""
    about = f"sets/{draw}/{_about(exhibit, filling, numbers)}"
    return value(exhibit) - exhibit.keep(
        about, partial(values_without, exhibit, filling.image, numbers, sets, "sets of parts")
    )


def single_effects(exhibit: Exhibit, filling: Filling, numbers: Tensor) -> Tensor:
    """f(x) - f(x with one part filled), (n_parts,): the map of these parts that is measured, not claimed.

    Of parts that are boxes only what one changes is computed anew, where the network allows it and is large.
    """
    about = f"one by one/{_about(exhibit, filling, numbers)}"

    def measured() -> Tensor:
        boxes = _boxes(numbers) if exhibit.x.numel() >= _LARGE else None
        if boxes is not None:
            return _of_boxes(exhibit, filling, boxes)
        each = torch.eye(int(numbers.max()) + 1, dtype=torch.bool)
        return set_effects(exhibit, filling, numbers, each, "one by one")

    return exhibit.keep(about, measured)


def _boxes(numbers: Tensor) -> list[tuple[slice, ...]] | None:
    """The box of each part of ``numbers`` (\\*space); None where a part is none."""
    boxes = ndimage.find_objects(numbers.numpy() + 1)
    filled = torch.bincount(numbers.flatten()).tolist()
    if len(boxes) != len(filled) or any(box is None for box in boxes):
        return None
    whole = all(math.prod(s.stop - s.start for s in box) == n for box, n in zip(boxes, filled, strict=True))
    return boxes if whole else None


def _of_boxes(exhibit: Exhibit, filling: Filling, boxes: list[tuple[slice, ...]]) -> Tensor:
    """f(x) - f(x with a box filled), (box,)."""
    query = Query(
        recording.unwrap(exhibit.network), Inputs.of(exhibit.x), exhibit.target, batch_size=exhibit.batch_size,
        case=exhibit.case, seed=exhibit.seed,
    )  # fmt: skip
    effects = torch.zeros(len(boxes), dtype=torch.float64)
    alike: dict[tuple[int, ...], list[int]] = {}
    for n, box in enumerate(boxes):
        alike.setdefault(tuple(s.stop - s.start for s in box), []).append(n)
    with recording.intact(exhibit.network):
        for numbers in alike.values():
            some, _ = box_effects(
                query, 0, [boxes[n] for n in numbers], lambda box: filling.image[0][(slice(None), *box)], value(exhibit)
            )
            effects[numbers] = torch.tensor(some, dtype=torch.float64)
    return effects


def speaks(exhibit: Exhibit, scores: Tensor) -> Tensor:
    """What may be read of a map's parts, or of measured effects in its place: sizes if unsigned, ranks of a score."""
    if exhibit.sign is Sign.UNSIGNED:
        scores = scores.abs()
    return ranks(scores) if exhibit.quantity is Quantity.SCORE else scores


def steadiness(exhibit: Exhibit, filling: Filling, numbers: Tensor, sets: Tensor, hard: Tensor, draw: str) -> float:
    """Whether what a filling does hangs on its borders: correlation of set effects with hard and with soft borders.

    A network that looks for edges or texture sees the border of a filling, not what is missing within. Soft borders
    are a Gaussian of half a part.
    """
    x = exhibit.x
    width = [_SOFT * edge if n > 1 else 0.0 for edge, n in zip(segment_size(numbers), numbers.shape, strict=True)]

    def softly() -> Tensor:
        def inputs(items: range) -> Tensor:
            gone = sets[items.start : items.stop][:, numbers.flatten()].reshape(len(items), 1, *numbers.shape)
            return x + blur(gone.to(x), width) * (filling.image - x)

        return exhibit.values(len(sets), inputs, "soft borders")

    about = f"soft/{draw}/{_about(exhibit, filling, numbers)}"
    return correlation(hard, value(exhibit) - exhibit.keep(about, softly))
