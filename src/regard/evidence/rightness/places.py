"""What the measures against a known truth share: the voxels that count."""

from typing import ClassVar

import torch
from torch import Tensor

from regard.core.errors import InputError, ShapeError
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Places

__all__ = ["AbstractRight", "counted", "places_of"]


def places_of(exhibit: Exhibit) -> Places:
    """The exhibit's truth, on the CPU.

    Raises
    ------
    InputError
        If it has none.
    ShapeError
        If it is on another grid.
    """
    places = exhibit.places
    if places is None:
        raise InputError("an exhibit without a truth", "one with `places`", "ask the measure whether it `can`")
    if places.core.shape != exhibit.relevance.shape[2:]:
        raise ShapeError(
            f"a truth of shape {tuple(places.core.shape)}", f"the map's, {tuple(exhibit.relevance.shape[2:])}"
        )
    masks = [None if m is None else m.detach().cpu().bool() for m in (places.core, places.allowed, places.decoy)]
    core = masks[0] if masks[0] is not None else torch.zeros(0, dtype=torch.bool)
    return Places(core, masks[1], masks[2], places.spacing)


def counted(exhibit: Exhibit) -> tuple[Tensor, Tensor]:
    """Size of the relevance and whether it lies in the core, each (n,), at the voxels that count."""
    places = places_of(exhibit)
    size = exhibit.relevance[0, 0].detach().double().cpu().abs()
    return size[places.counted], places.core[places.counted]


class AbstractRight(AbstractMeasure):
    """A measure against a known truth; places that are allowed count neither way."""

    direction: ClassVar[Direction] = "higher"
    family: ClassVar[str] = "right"
    needs: ClassVar[frozenset[str]] = frozenset({"places"})
