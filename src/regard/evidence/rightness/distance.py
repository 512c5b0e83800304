"""How far from the truth a map's relevance lies."""

from typing import ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from regard.core.errors import ShapeError
from regard.evidence.measure import Direction, Exhibit, Measured, Places
from regard.evidence.rightness.places import AbstractRight, places_of

__all__ = ["Distance", "distance_to_core"]


def distance_to_core(places: Places) -> Tensor:
    """Distance from the centre of each voxel to the centre of the nearest core voxel, (\\*space), in mm.

    In voxels where the spacing is not known. 0 inside the core.

    Raises
    ------
    ShapeError
        If the spacing does not have a number for each axis.
    """
    core = places.core.cpu().bool().numpy()
    if places.spacing is not None and len(places.spacing) != core.ndim:
        raise ShapeError(f"a spacing {places.spacing}", f"{core.ndim} numbers, one per axis")
    found = ndimage.distance_transform_edt(~core, sampling=places.spacing)
    return torch.from_numpy(np.asarray(found, dtype=np.float64))


class Distance(AbstractRight):
    """Mean distance of the relevance from the nearest place of the core, weighted by |r|.

    In a formula::

        sum_i |r_i| d_i / sum_i |r_i|

    0 where all of it lies inside. In mm where the spacing is known, else in voxels. The mean over all voxels that
    count, which is what an even map gives, and the distance of the largest value stand in the notes.
    """

    direction: ClassVar[Direction] = "lower"

    def measure(self, exhibit: Exhibit) -> Measured:
        places = places_of(exhibit)
        unit = "voxel" if places.spacing is None else "mm"
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere", unit)
        if not bool(places.core.any()):
            return Measured.undefined("a truth of no voxel", unit)
        seen = places.counted
        size, far = exhibit.relevance[0, 0].detach().double().cpu().abs()[seen], distance_to_core(places)[seen]
        if not bool(size.any()):
            return Measured.undefined("the map is zero wherever a voxel counts", unit)
        largest = float(far[size == size.max()].mean())
        notes = {"by chance": float(far.mean()), "of the largest": largest}
        return Measured(float((size * far).sum() / size.sum()), unit, notes)
