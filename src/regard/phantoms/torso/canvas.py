"""What a torso is painted on: soft tissue, bone mineral, calcium and labels on fine cells, averaged to voxels."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.phantoms.torso.cells import Box, Cells, averaged, coverage
from regard.phantoms.torso.fields import random_field
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.structures import STRUCTURES

__all__ = ["Canvas"]

AIR = -1000.0


@dataclass(eq=False)
class Canvas:
    """A part of the torso on fine cells; later paint covers earlier paint in proportion to its share of a cell.

    Parameters
    ----------
    cells
        The fine grid.
    shape
        What is painted.
    soft
        HU at 120 kVp of what is not mineral, (i, j, k) of cells.
    mineral, calcium
        Bone mineral, and calcium elsewhere [g/cm3].
    labels
        Structure that fills most of each cell, uint8.
    l1
        Averaged to voxels, share of L1's parts in a voxel, and its mineral [g/cm3] in body and posterior elements.
    """

    cells: Cells
    shape: TorsoShape
    soft: Tensor = field(init=False)
    mineral: Tensor = field(init=False)
    calcium: Tensor = field(init=False)
    labels: Tensor = field(init=False)
    l1: dict[str, Tensor] = field(default_factory=dict)
    _fields: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.cells.axes[0].device
        self.soft = torch.full(self.cells.shape, AIR, device=device)
        self.mineral = torch.zeros(self.cells.shape, device=device)
        self.calcium = torch.zeros(self.cells.shape, device=device)
        self.labels = torch.zeros(self.cells.shape, dtype=torch.uint8, device=device)

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Number of voxels (i, j, k)."""
        i, j, k = (n // f for n, f in zip(self.cells.shape, self.cells.finer, strict=True))
        return i, j, k

    @property
    def everywhere(self) -> Box:
        """The whole canvas."""
        i, j, k = (slice(0, n) for n in self.cells.shape)
        return i, j, k

    def field(self, name: str, wavelengths: tuple[float, float], box: Box | None = None) -> Tensor:
        """The torso's random field of this name, (i, j, k) of cells of the box; drawn once for the whole canvas."""
        if box is not None and name not in self._fields:
            part = self.cells.part(box)
            return random_field(part, wavelengths, self.shape.seed, self.shape.name, name)
        if name not in self._fields:
            self._fields[name] = random_field(self.cells, wavelengths, self.shape.seed, self.shape.name, name)
        return self._fields[name] if box is None else self._fields[name][box]

    def paint(self, box: Box, distance: Tensor, name: str, hu: float | Tensor) -> Tensor:
        """Cover a shape with soft tissue and return its share of each cell of the box."""
        share = coverage(distance, self.cells.width)
        self.cover(box, share, name, hu)
        return share

    def cover(self, box: Box, share: Tensor, name: str, hu: float | Tensor) -> None:
        """Cover cells in proportion to their share."""
        part = self.soft[box]
        part += share * (hu - part)
        self.labels[box].masked_fill_(share > 0.5, STRUCTURES[name])

    def bone(self, box: Box, share: Tensor, name: str, hu: float | Tensor, mineral: float | Tensor) -> None:
        """Cover cells with bone: ``hu`` of the marrow between, and mineral [g/cm3]."""
        self.cover(box, share, name, hu)
        part = self.mineral[box]
        part += share * (mineral - part)

    def keep(self, name: str, box: Box, values: Tensor) -> None:
        """Average a quantity of the box's cells to voxels and add it to ``l1``."""
        if name not in self.l1:
            self.l1[name] = torch.zeros(self.voxels, device=values.device)
        self.l1[name][self.cells.voxels(box)] += averaged(values, self.cells.finer)

    def keep_front(self, box: Box, share: Tensor) -> None:
        """Average to voxels how much of each column a solid covers as seen from the front, (i, 1, k)."""
        i, j, k = box
        cells = torch.zeros(self.cells.shape[0], 1, self.cells.shape[2], device=share.device)
        cells[i, :, k] = share.amax(1, keepdim=True)
        self.l1["front"] = averaged(cells, (self.cells.finer[0], 1, self.cells.finer[2]))

    def averaged_labels(self) -> Tensor:
        """The structure that most cells of a voxel hold, (i, j, k) of voxels, uint8."""
        cells = self.labels
        for axis in (2, 1, 0):
            cells = cells.unflatten(axis, (-1, self.cells.finer[axis]))
        i, j, k = self.voxels
        return cells.permute(0, 2, 4, 1, 3, 5).reshape(i, j, k, -1).mode(-1).values
