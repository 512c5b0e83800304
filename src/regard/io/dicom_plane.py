"""One image plane of a DICOM file, and where it lies.

Positions are in the patient's LPS millimetres, as DICOM has them.
"""

import logging
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from regard.core.errors import FileError, GeometryError
from regard.io.dicom_file import read_dataset

__all__ = ["TOMOGRAPHIC", "UNREADABLE", "Place", "Plane", "group_of", "open_header", "pixel_spacing", "planes_of"]

logger = logging.getLogger(__name__)

TOMOGRAPHIC = ("CT", "MR", "PT", "NM")
"""Modalities whose images have a place in the patient and measured values."""

# What pydicom lets through when a file's content is not what its header says.
UNREADABLE = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


class Place(NamedTuple):
    """Where a plane lies in the patient: first pixel's centre, directions and pixel spacing; fields as in `Plane`."""

    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """One image plane of a file.

    Parameters
    ----------
    path
        The file.
    frame
        Number of the plane in a multi-frame file, or None.
    shape
        Rows and columns.
    position
        Centre of the first pixel (3,) [mm, LPS], or None.
    orientation
        Direction of rising column number, then of rising row number (6,), or None.
    spacing
        Distance between rows, then between columns [mm], or None.
    thickness
        Slice thickness [mm], or None.
    series
        SeriesInstanceUID.
    header
        The file's header, without pixels.
    """

    path: Path
    frame: int | None
    shape: tuple[int, int]
    position: np.ndarray | None
    orientation: np.ndarray | None
    spacing: tuple[float, float] | None
    thickness: float | None
    series: str
    header: Dataset = field(repr=False)

    @property
    def missing(self) -> list[str]:
        """Keywords of the geometry that the plane lacks."""
        have = {
            "ImagePositionPatient": self.position,
            "ImageOrientationPatient": self.orientation,
            "PixelSpacing": self.spacing,
        }
        return [keyword for keyword, value in have.items() if value is None]

    def place(self) -> Place:
        """Where the plane lies.

        Raises
        ------
        GeometryError
            If the header does not say it.
        """
        if self.position is None or self.orientation is None or self.spacing is None:
            got = f"'{self.path}' without {' and '.join(self.missing)}"
            raise GeometryError(got, "the place of every image", "export the original images")
        return Place(self.position, self.orientation, self.spacing)


def open_header(path: Path) -> Dataset:
    """Read a DICOM header without its pixels.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    try:
        header = read_dataset(path, pixels=False)
        header.get("Rows"), header.get("SOPClassUID")
    except FileError:
        raise
    except UNREADABLE as error:
        raise FileError(f"'{path}' is not a readable DICOM file", "a whole one", "export it again") from error
    if not header:
        raise FileError(f"'{path}' is not a readable DICOM file", "a whole one", "export it again")
    return header


def _numbers(dataset: Dataset | None, keyword: str, n: int) -> np.ndarray | None:
    value = None if dataset is None else dataset.get(keyword)
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != n:
        return None
    array = np.array([float(v) for v in value])
    return array if np.isfinite(array).all() else None


def pixel_spacing(header: Dataset) -> tuple[float, float] | None:
    """Distance between rows, then between columns [mm], at the patient or else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = _numbers(header, keyword, 2)
        if spacing is not None and spacing.min() > 0:
            return float(spacing[0]), float(spacing[1])
    return None


def group_of(header: Dataset, frame: int, keyword: str) -> Dataset | None:
    """A functional group of one frame: its own, or the one that all frames share."""
    for groups in (header.PerFrameFunctionalGroupsSequence[frame], *header.get("SharedFunctionalGroupsSequence", [])):
        if groups.get(keyword):
            found: Dataset = groups[keyword].value[0]
            return found
    return None


def planes_of(path: Path, header: Dataset) -> list[Plane]:
    """The planes of a file: one, or one for each frame of an enhanced multi-frame image.

    Raises
    ------
    FileError
        If it is a film: several frames without a place for each.
    """
    try:
        return _planes_of(path, header)
    except FileError:
        raise
    except UNREADABLE as error:
        raise FileError(f"'{path}' has a header that contradicts itself", "a valid one", "export it again") from error


def _planes_of(path: Path, header: Dataset) -> list[Plane]:
    shape = (int(header.Rows), int(header.Columns))
    series = str(header.get("SeriesInstanceUID", ""))
    n_frames = int(header.get("NumberOfFrames") or 1)
    if not header.get("PerFrameFunctionalGroupsSequence"):
        if n_frames > 1:
            got = f"'{path}' with {n_frames} frames and no place for each"
            raise FileError(got, "one image, a series, or an enhanced multi-frame file", "export single frames")
        spacing = _numbers(header, "PixelSpacing", 2)
        thickness = header.get("SliceThickness")
        return [
            Plane(
                path,
                None,
                shape,
                _numbers(header, "ImagePositionPatient", 3),
                _numbers(header, "ImageOrientationPatient", 6),
                None if spacing is None or spacing.min() <= 0 else (float(spacing[0]), float(spacing[1])),
                None if thickness in (None, "") else float(thickness),
                series,
                header,
            )
        ]
    planes = []
    for frame in range(n_frames):
        measures = group_of(header, frame, "PixelMeasuresSequence")
        spacing = _numbers(measures, "PixelSpacing", 2)
        thickness = None if measures is None else measures.get("SliceThickness")
        planes.append(
            Plane(
                path,
                frame,
                shape,
                _numbers(group_of(header, frame, "PlanePositionSequence"), "ImagePositionPatient", 3),
                _numbers(group_of(header, frame, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
                None if spacing is None or spacing.min() <= 0 else (float(spacing[0]), float(spacing[1])),
                None if thickness in (None, "") else float(thickness),  # type: ignore[arg-type]
                series,
                header,
            )
        )
    return planes
