"""An image with its place in the patient: tensor, affine in millimetres, unit and origin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import nibabel
import numpy as np
import torch
from torch import Tensor

from regard.core.errors import GeometryError, ShapeError
from regard.core.stored import SignalFacts, Stored

__all__ = ["PIXEL_AFFINE", "Grid", "Volume", "orientation_of"]

PIXEL_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Affine of a picture without geometry: axes (column, row), in pixels."""


def orientation_of(affine: np.ndarray) -> str:
    """Anatomical direction in which each voxel axis runs, such as ``"RAS"``; the nearest one when oblique."""
    return "".join(code or "?" for code in nibabel.orientations.aff2axcodes(affine))


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: their number along three axes and the affine to RAS millimetres.

    Parameters
    ----------
    shape
        Number of voxels (i, j, k).
    affine
        Matrix (4, 4): voxel index (i, j, k, 1) to (x, y, z, 1) in mm, x to the patient's right, y anterior, z superior.

    Raises
    ------
    GeometryError
        If the affine is not finite and invertible, or there are not three axes.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid of {self.shape}", "three axes of at least one voxel")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"an affine {affine.tolist()}", "a finite 4x4 matrix", "repair the image's header")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GeometryError(
                f"an affine of determinant {np.linalg.det(affine[:3, :3]):.3g}",
                "voxel axes that are not parallel and not of length 0",
                "repair the image's header",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along each axis [mm]."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @property
    def orientation(self) -> str:
        """Anatomical direction of each axis, such as ``"RAS"``."""
        return orientation_of(self.affine)

    def to_world(self, index: Sequence[float]) -> np.ndarray:
        """Voxel index (i, j, k) to (x, y, z) in RAS mm."""
        return self.affine[:3, :3] @ np.asarray(index, dtype=float) + self.affine[:3, 3]

    def to_index(self, world: Sequence[float]) -> np.ndarray:
        """Position (x, y, z) in RAS mm to voxel index (i, j, k), not rounded."""
        return np.linalg.solve(self.affine[:3, :3], np.asarray(world, dtype=float) - self.affine[:3, 3])

    def matches(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels, to ``tolerance_mm`` at every corner."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        corners = np.vstack([corners, np.ones(corners.shape[1])])
        return bool(np.abs((self.affine - other.affine) @ corners).max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image tensor with its geometry, intensity unit and origin.

    A 2D image is a volume that is one slice thick, so that every image has an affine and a way home. A signal is one
    whose leads are channels and whose first axis is time: its "mm" are seconds (`of_signal`).

    Parameters
    ----------
    tensor
        Intensities (channel, i, j, k), floating point.
    affine
        Matrix (4, 4): voxel index to RAS mm. A picture without geometry has ``PIXEL_AFFINE``, axes (column, row).
    unit
        Unit of the intensities, such as ``"HU"``.
    source
        Where the image came from (a path or a sentence); stays on this machine, never written to an output.
    has_geometry
        False for a picture whose "mm" are pixels.
    header
        Header fields that may leave with an output (see ``regard.io.privacy``).
    stored
        What else the file says: its range of grey levels, its NIfTI forms.

    Raises
    ------
    ShapeError
        If the tensor does not have a channel axis and three spatial axes.
    GeometryError
        If the affine is not finite and invertible.
    """

    tensor: Tensor
    affine: np.ndarray
    unit: str = "intensity"
    source: str = ""
    has_geometry: bool = True
    header: Mapping[str, str] = field(default_factory=dict)
    stored: Stored = field(default_factory=Stored)

    def __post_init__(self) -> None:
        if not isinstance(self.tensor, Tensor) or self.tensor.ndim != 4:
            got = tuple(self.tensor.shape) if isinstance(self.tensor, Tensor) else type(self.tensor).__name__
            raise ShapeError(
                f"an image of shape {got}", "a tensor (channel, i, j, k)", "give a 2D image a last axis of 1"
            )
        if not self.tensor.is_floating_point():
            object.__setattr__(self, "tensor", self.tensor.float())
        object.__setattr__(self, "affine", self.grid.affine)

    def __repr__(self) -> str:
        if self.signal is not None:
            return (
                f"Volume({self.n_channels} lead(s), {self.shape[0]} samples at {self.signal.rate_hz:g} Hz "
                f"({self.shape[0] / self.signal.rate_hz:.4g} s), {self.unit})"
            )
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing)
        unit = "mm" if self.has_geometry or self.stored.spacing_known else "pixels"
        return (
            f"Volume({self.n_channels} channel(s), {' x '.join(map(str, self.shape))} voxels, "
            f"{spacing} {unit}, {self.orientation}, {self.unit})"
        )

    @classmethod
    def from_array(
        cls, array: np.ndarray | Tensor, affine: np.ndarray | None = None, *, unit: str = "intensity"
    ) -> "Volume":
        """Make a volume of an array (i, j, k), or of a picture (row, column) when no affine is given.

        A picture is turned to axes (column, row), as every picture without geometry is kept.
        """
        tensor = torch.as_tensor(np.asarray(array)) if not isinstance(array, Tensor) else array
        if affine is None and tensor.ndim == 2:
            return cls(tensor.float().T[None, ..., None], PIXEL_AFFINE, unit, has_geometry=False)
        while tensor.ndim < 3:
            tensor = tensor[..., None]
        return cls(tensor.float()[None], np.eye(4) if affine is None else affine, unit)

    @classmethod
    def of_signal(
        cls,
        samples: np.ndarray | Tensor,
        rate_hz: float,
        leads: Sequence[str] = (),
        *,
        unit: str | Sequence[str] = "intensity",
        start_s: float = 0.0,
        source: str = "",
    ) -> "Volume":
        """Make a volume of a recording: its leads are channels, and its first axis is time.

        Parameters
        ----------
        samples
            (lead, sample), or (sample,) of one lead.
        rate_hz
            Samples of each lead in a second [Hz].
        leads
            Name of each lead; by default ``"1"``, ``"2"`` and on.
        unit
            Of all leads, or of each.
        start_s
            Time of the first sample [s].
        source
            As of `Volume`.

        Raises
        ------
        ShapeError
            If there are not as many names or units as leads, or a name stands twice.
        GeometryError
            If the rate is no number above 0.
        """
        values = torch.as_tensor(samples)
        values = values[None] if values.ndim == 1 else values
        if values.ndim != 2 or 0 in values.shape:
            raise ShapeError(f"a recording of shape {tuple(values.shape)}", "(lead, sample) with at least one of each")
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise GeometryError(f"a rate of {rate_hz} Hz", "a number above 0", "say how many samples a second has")
        names = tuple(leads) or tuple(str(n + 1) for n in range(len(values)))
        units = (unit,) * len(values) if isinstance(unit, str) else tuple(unit)
        if len(names) != len(values) or len(units) != len(values) or len(set(names)) != len(names):
            got = f"the leads {', '.join(names)} and {len(units)} unit(s) for {len(values)} channel(s)"
            raise ShapeError(got, "a name of its own and a unit for each", "name each channel once")
        affine = np.diag([1.0 / rate_hz, 1.0, 1.0, 1.0])
        affine[0, 3] = start_s
        facts = SignalFacts(float(rate_hz), names, units)
        return cls(values.float()[..., None, None], affine, facts.unit, source, stored=Stored(signal=facts))

    @property
    def signal(self) -> SignalFacts | None:
        """What a recording says of its leads, or None for an image."""
        return self.stored.signal

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.shape, self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (i, j, k)."""
        return tuple(self.tensor.shape[1:])  # type: ignore[return-value]

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.tensor.shape[0])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along each axis [mm, or pixels for a picture without geometry]."""
        return self.grid.spacing

    @property
    def orientation(self) -> str:
        """Anatomical direction of each axis, such as ``"RAS"``."""
        return orientation_of(self.affine)

    @property
    def is_slice(self) -> bool:
        """Whether the image is one slice thick along at least one axis."""
        return min(self.shape) == 1

    def with_tensor(self, tensor: Tensor, *, unit: str | None = None) -> "Volume":
        """Copy with other intensities (channel, i, j, k) on the same grid."""
        if tuple(tensor.shape[1:]) != self.shape:
            raise ShapeError(f"a tensor of shape {tuple(tensor.shape)}", f"(channel, {self.shape})")
        return replace(self, tensor=tensor, unit=self.unit if unit is None else unit)

    def slice(self, axis: int, index: int) -> "Volume":
        """One slice of the volume, one voxel thick, at its own place.

        Parameters
        ----------
        axis
            Voxel axis 0, 1 or 2.
        index
            Slice number along it.
        """
        n = self.shape[axis]
        if not -n <= index < n:
            raise ShapeError(f"slice {index} of axis {axis}", f"0 to {n - 1}", "choose a slice inside the volume")
        index %= n
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, axis] * index
        stored = replace(self.stored, forms=None)
        return replace(self, tensor=self.tensor.narrow(axis + 1, index, 1).clone(), affine=affine, stored=stored)

    def channel(self, index: int) -> "Volume":
        """One of several volumes or channels, counted from 0.

        Raises
        ------
        ShapeError
            If there is no such one.
        """
        if not 0 <= index < self.n_channels:
            n = self.n_channels
            do = "choose one of them" if n > 1 else "leave the number out"
            raise ShapeError(f"volume {index} of an image of {n}", f"0 to {n - 1}" if n > 1 else "volume 0", do)
        return self.lead_numbers([index]) if self.signal else replace(self, tensor=self.tensor[index : index + 1])

    def lead_numbers(self, numbers: Sequence[int]) -> "Volume":
        """Some leads of a signal, by their numbers from 0, in that order."""
        if self.signal is None:
            raise ShapeError(f"an image of {self.n_channels} channel(s)", "a signal, which has leads")
        facts = self.signal.only(numbers)
        unit = facts.unit if self.unit == self.signal.unit else self.unit
        return replace(self, tensor=self.tensor[list(numbers)], unit=unit, stored=replace(self.stored, signal=facts))

    def check_finite(self) -> "Volume":
        """Return the volume, or say how many of its voxels are NaN or infinite.

        Raises
        ------
        ShapeError
            If a voxel is NaN or infinite.
        """
        bad = int((~torch.isfinite(self.tensor)).sum())
        if bad:
            what = "image" if self.signal is None else "signal"
            raise ShapeError(
                f"{bad} of {math.prod(self.tensor.shape)} {'voxels' if what == 'image' else 'samples'} are NaN or "
                "infinite",
                "finite intensities",
                f"fill them before explaining the {what}",
            )
        return self
