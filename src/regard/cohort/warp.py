"""From the template's world to a scan's: an affine, or a displacement field as registration tools write it."""

import re
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from regard.core.errors import FileError
from regard.core.volume import Grid
from regard.io.guard import parsing, read_text, require_file

__all__ = ["Warp", "read_warp"]

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each place of the template lies in the scan's world.

    A place x [mm, RAS] of the template lies at ``matrix @ x + displacement(x)``; without a field at ``matrix @ x``.

    Parameters
    ----------
    matrix
        Affine (4, 4).
    field
        Displacement (3, i, j, k) [mm, RAS] on ``grid``, or None.
    grid
        Of the field.
    """

    matrix: np.ndarray
    field: np.ndarray | None = None
    grid: Grid | None = None

    def apply(self, world: np.ndarray) -> np.ndarray:
        """Points (3, ...) of the template's world in the scan's world."""
        shape = (3, *[1] * (world.ndim - 1))
        moved: np.ndarray = np.tensordot(self.matrix[:3, :3], world, 1) + self.matrix[:3, 3].reshape(shape)
        if self.field is None or self.grid is None:
            return moved
        inverse = np.linalg.inv(self.grid.affine)
        index = np.tensordot(inverse[:3, :3], world, 1) + inverse[:3, 3].reshape(shape)
        return moved + np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in self.field])

    def jacobian(self, template: Grid) -> np.ndarray:
        """Volume in the scan of a piece of the template, over its own: determinant of the derivative, (i, j, k).

        Above 1 where the scan's anatomy is larger than the template's: what a non-linear registration takes out of
        the image, and what travels in this channel instead.
        """
        index = np.indices(template.shape, dtype=np.float64)
        world = np.tensordot(template.affine[:3, :3], index, 1) + template.affine[:3, 3].reshape(3, 1, 1, 1)
        linear = np.tile(self.matrix[:3, :3].reshape(3, 3, 1, 1, 1), (1, 1, *template.shape)).astype(np.float64)
        if self.field is not None:
            moved = self.apply(world) - (
                np.tensordot(self.matrix[:3, :3], world, 1) + self.matrix[:3, 3].reshape(3, 1, 1, 1)
            )
            steps = np.zeros((3, 3, *template.shape))
            for axis in range(3):
                if template.shape[axis] > 1:
                    steps[:, axis] = np.gradient(moved, axis=axis + 1)
            linear += np.einsum("ca...,ab->cb...", steps, np.linalg.inv(template.affine[:3, :3]))
        return np.linalg.det(np.moveaxis(linear, (0, 1), (-2, -1)))


def read_warp(path: Path) -> Warp:
    """Read a displacement field (NIfTI, as ITK and ANTs write it) or an affine (text).

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz`` with three components in mm on the template's side, along ITK's axes (left, posterior,
        superior) when its intent is "vector" as ITK writes it, else along RAS; or a text file: four rows of four
        numbers (RAS to RAS, template to scan), or an ITK affine.

    Raises
    ------
    FileError
        If it is neither.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return Warp(_read_matrix(path))
    require_file(path)
    with parsing(path, "displacement field", do="write it again"):
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float64)
    values = np.squeeze(values[..., 0, :] if values.ndim == 5 else values)
    shape = tuple(image.shape[:3])
    values = values.reshape(*shape, -1) if values.size == 3 * np.prod(shape) else values
    if values.ndim != 4 or values.shape[3] != 3 or not np.isfinite(values).all():
        got = f"'{path}' of shape {tuple(image.shape)}"
        raise FileError(got, "three finite components for each voxel", "give the displacement field of the case")
    # ITK marks its fields with the vector intent and five axes, and counts along left and posterior.
    if int(image.header["intent_code"]) == 1007:
        values = values * np.array([-1.0, -1.0, 1.0])
    return Warp(np.eye(4), np.moveaxis(values, 3, 0), Grid(shape, image.affine))  # type: ignore[arg-type]


def _read_matrix(path: Path) -> np.ndarray:
    try:
        text = read_text(path, "transform", largest=2**20)
        if "#Insight Transform File" in text:
            return _itk(text)
        matrix = np.array([[float(v) for v in line.split()] for line in text.splitlines() if line.strip()])
        if matrix.shape == (4, 4) and np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9:
            return matrix
    except (FileError, ValueError, IndexError, KeyError) as error:
        raise _not_affine(path) from error
    raise _not_affine(path)


def _not_affine(path: Path) -> FileError:
    expected = "a NIfTI displacement field, four rows of four numbers, or an ITK affine as text"
    return FileError(f"'{path}' is no transform that I know", expected, "convert it")


def _itk(text: str) -> np.ndarray:
    """An ITK affine, which turns about a centre and counts along left and posterior, in RAS."""
    numbers = {
        key: np.array([float(v) for v in values.split()])
        for key, values in re.findall(r"^(Parameters|FixedParameters):(.*)$", text, re.MULTILINE)
    }
    turn, shift = numbers["Parameters"][:9].reshape(3, 3), numbers["Parameters"][9:12]
    centre = numbers.get("FixedParameters", np.zeros(3))[:3]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift + centre - turn @ centre
    return _LPS @ matrix @ _LPS
