"""What the network itself does when parts are taken away: measured once for a case, whatever the map."""

from functools import partial

import torch
from torch import Tensor

from regard.core.quantity import Quantity, Sign
from regard.core.spatial import blur
from regard.evidence.faithfulness.fillings import Filling
from regard.evidence.faithfulness.removal import values_without
from regard.evidence.measure import Exhibit
from regard.evidence.sanity.similarity import correlation, ranks
from regard.explainers.perturbation.segments import segment_size

__all__ = ["value", "filled_value", "set_effects", "single_effects", "speaks", "steadiness"]

_SOFT = 0.5


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
    """f(x) - f(x with one part filled), (n_parts,): the map of these parts that is measured, not claimed."""
    n_parts = int(numbers.max()) + 1
    each = torch.eye(n_parts, dtype=torch.bool)
    return set_effects(exhibit, filling, numbers, each, "one by one")


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
