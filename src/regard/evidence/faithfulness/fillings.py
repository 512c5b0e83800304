"""Like with like: a map is tested with the filling that its numbers speak of, and looked at with others beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from regard.core.quantity import Quantity
from regard.evidence.faithfulness.removal import FILLERS, filling
from regard.evidence.measure import Exhibit
from regard.explainers.perturbation.fillers import FillerLike

__all__ = ["OWN", "STEP", "Filling", "fillings"]

OWN = "own reference"
"""What a map's own filling is called: the reference of a contribution, the filler of an effect."""

STEP = 0.1
"""How far towards a filling places go for a sensitivity, which speaks of small changes only."""


@dataclass(frozen=True, eq=False)
class Filling:
    """What parts of an image are filled with.

    Parameters
    ----------
    name
        How figures call it.
    image
        (1, channel, \\*space).
    decides
        Whether the map's own numbers speak of it; others are looked at, as the map's slope is carried over to them.
    """

    name: str
    image: Tensor
    decides: bool = True


def fillings(
    exhibit: Exhibit, numbers: Tensor, kinds: Sequence[FillerLike] | None = None, *, deciding: bool = False
) -> list[Filling]:
    """The fillings that a map is tested with.

    A contribution counted from r claims f(x) - f(x with a part set to r): its reference decides, and blur and mean
    stand beside it. An effect has its own filler and no other. A sensitivity claims r (x - filling) for any filling
    near x, so that places go a tenth of the way. Everything else is tested with blur and with mean, and both decide.

    Parameters
    ----------
    exhibit
        The case.
    numbers
        Number of the part of each voxel, (\\*space): a blur is as wide as a part.
    kinds
        Fillers to take instead, all the way, each of which decides.
    deciding
        Only those that decide.
    """

    def made(kind: FillerLike) -> Tensor:
        about = f"fill/{exhibit.number('cut', numbers)}/{kind}"
        return exhibit.keep(about, lambda: filling(exhibit, kind, numbers))

    if kinds is not None:
        return [Filling(str(k), filling(exhibit, k, numbers) if k == "reference" else made(k)) for k in kinds]
    own = exhibit.reference
    if own is not None and exhibit.quantity is Quantity.EFFECT:
        return [Filling(OWN, own)]
    if own is not None and exhibit.quantity is Quantity.CONTRIBUTION:
        return [Filling(OWN, own), *([] if deciding else [Filling(str(k), made(k), False) for k in FILLERS])]
    if exhibit.quantity is Quantity.SENSITIVITY:

        def nearer(kind: FillerLike) -> Tensor:
            about = f"fill/{exhibit.number('cut', numbers)}/{kind}/{STEP}"
            return exhibit.keep(about, lambda: exhibit.x + STEP * (made(kind) - exhibit.x))

        return [Filling(str(k), nearer(k)) for k in FILLERS]
    return [Filling(str(k), made(k)) for k in FILLERS]
