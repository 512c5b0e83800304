"""Rays from a point through the chest to a flat detector: paths through each material."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import UnknownNameError
from regard.phantoms.radiograph.chest import Chest

__all__ = ["VIEWS", "Field", "View", "project", "shadow"]


@dataclass(frozen=True)
class View:
    """Where source and detector stand.

    Parameters
    ----------
    name
        ``"PA"`` (the detector before the chest) or ``"AP"`` (behind the back).
    detector_y, source_y
        Coordinate y of the detector and of the source [mm]; rays run from one to the other.
    """

    name: str
    detector_y: float
    source_y: float

    def magnification(self, y: float | Tensor) -> float | Tensor:
        """How much larger a thing at y [mm] appears on the detector."""
        return (self.detector_y - self.source_y) / (y - self.source_y)


VIEWS: dict[str, View] = {"PA": View("PA", 170.0, 170.0 - 1800.0), "AP": View("AP", -130.0, -130.0 + 1050.0)}
"""PA standing at 1.8 m; AP at 1.05 m, as at the bedside: heart and shoulder blades wider."""


@dataclass(frozen=True)
class Field:
    """The part of the detector that becomes the picture: a square.

    Parameters
    ----------
    size
        Pixels along each side.
    side_mm
        Side of the square on the detector.
    middle
        Coordinates x and z that the central ray passes, in the middle of the picture [mm].
    """

    size: int = 256
    side_mm: float = 370.0
    middle: tuple[float, float] = (0.0, 172.0)

    @property
    def pixel_mm(self) -> float:
        """Size of a pixel on the detector."""
        return self.side_mm / self.size

    def offsets(self) -> Tensor:
        """Distance of the pixels' centres from the middle [mm], (size,), rising."""
        return (torch.arange(self.size, dtype=torch.float32) - (self.size - 1) / 2) * self.pixel_mm


def view_of(view: str) -> View:
    """The view of this name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if view not in VIEWS:
        raise UnknownNameError.suggest("view", view, VIEWS)
    return VIEWS[view]


@dataclass(frozen=True, eq=False)
class _Line:
    """Linear interpolation along one axis: two neighbours and the share of the second; beyond the ends is nothing."""

    first: Tensor
    second: Tensor
    share: Tensor
    inside: Tensor

    def take(self, values: Tensor, axis: int) -> Tensor:
        """Values (channel, i, k) at the places, along axis 1 or 2."""
        shape = [1, 1, 1]
        shape[axis] = -1
        share, inside = self.share.reshape(shape), self.inside.reshape(shape)
        return torch.lerp(values.index_select(axis, self.first), values.index_select(axis, self.second), share) * inside


def _line(places: Tensor, axis: Tensor) -> _Line:
    index = (places - float(axis[0])) / float(axis[1] - axis[0])
    first = index.floor().clamp(0, len(axis) - 2).long()
    inside = (index >= 0) & (index <= len(axis) - 1)
    return _Line(first, first + 1, index - first, inside.float())


def project(chest: Chest, volumes: Tensor, view: View, field: Field) -> Tensor:
    """Line integrals from the source to each pixel.

    Parameters
    ----------
    chest
        Whose grid the volumes lie on.
    volumes
        What is summed up, (channel, i, j, k) per cm.
    view, field
        Source, detector and picture.

    Returns
    -------
    Tensor
        (channel, row, column): row 0 is uppermost, column 0 the patient's right, as radiographs are hung.

    Notes
    -----
    Linear interpolation in each plane across the rays, one plane for each j; linear in the volumes. What lies outside
    the volume counts as air.
    """
    x, y, z = chest.axes
    offsets = field.offsets()
    step = chest.spacing_mm[1] / 10
    total = volumes.new_zeros(len(volumes), field.size, field.size)
    filled = volumes.abs().amax((1, 3)) > 0
    for j, depth in enumerate(y.tolist()):
        here = torch.nonzero(filled[:, j]).flatten()
        if not len(here):
            continue
        scale = float(view.magnification(depth))
        # Offsets rise to the image's right and downward, where x and z fall.
        across = _line(field.middle[0] - offsets / scale, x)
        up = _line(field.middle[1] - offsets / scale, z)
        plane = up.take(across.take(volumes[here, :, j], 1), 2)
        total[here] += plane.transpose(1, 2)
    distance = abs(view.detector_y - view.source_y)
    reach = offsets.square()[:, None] + offsets.square()[None]
    return total * step * (1 + reach / distance**2).sqrt().to(total)


def shadow(view: View, field: Field, points: Tensor) -> Tensor:
    """Where points (n, 3) in mm fall on the picture: rows, columns and magnification, (n, 3)."""
    scale = torch.as_tensor(view.magnification(points[:, 1]))
    half = (field.size - 1) / 2
    rows = half - (points[:, 2] - field.middle[1]) * scale / field.pixel_mm
    columns = half - (points[:, 0] - field.middle[0]) * scale / field.pixel_mm
    return torch.stack((rows, columns, scale), 1)
