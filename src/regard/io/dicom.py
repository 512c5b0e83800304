"""DICOM: one file, a series in a folder, an enhanced multi-frame file, or a radiograph.

Voxel axes of the volume: i = column, j = row, k = slice, slices in rising order along the normal of the planes, which
is (row direction) x (column direction). The affine is DICOM's LPS turned to RAS. File names play no part.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.dataset import Dataset
from pydicom.uid import UID

from regard.core.errors import FileError
from regard.core.stored import Stored
from regard.core.volume import Volume
from regard.io.dicom_dose import read_dose
from regard.io.dicom_folder import chosen_series, folder_files
from regard.io.dicom_plane import TOMOGRAPHIC, Plane, open_header, pixel_spacing, planes_of
from regard.io.dicom_series import series_affine, sorted_planes
from regard.io.dicom_values import file_values, fill_padding, levels_of
from regard.io.privacy import allowed_header

__all__ = ["read_dicom", "read_planes"]

logger = logging.getLogger(__name__)

_NOT_IMAGES = ("SEG", "PR", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "KO", "REG", "FID")


def _holds_no_image(header: Dataset) -> bool:
    """Whether a file is a report, a segmentation or the like, by its SOP class and modality."""
    meta = getattr(header, "file_meta", {})
    sop_class = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    other = sop_class is not None and "Image Storage" not in UID(sop_class).name and "Rows" not in header
    return other or str(header.get("Modality")) in _NOT_IMAGES


def read_planes(paths: Path | Sequence[Path], series: str | int | None = None) -> list[Plane]:
    """The image planes of a file, of a folder, or of given files, as they come; without pixels.

    Files that hold no image (reports, segmentations, presentation states) are skipped; with ``series``, planes of
    other series are too.

    Raises
    ------
    FileError
        If there is no image, or a file cannot be read or holds a mosaic.
    GeometryError
        If there is no such series.
    """
    if isinstance(paths, Path):
        files = folder_files(paths) if paths.is_dir() else [paths]
        what = f"'{paths}'"
    else:
        files, what = [Path(p) for p in paths], f"{len(paths)} files"
    planes, skipped = [], 0
    for path in files:
        header = open_header(path)
        if _holds_no_image(header):
            skipped += 1
            continue
        if "Rows" not in header or "Columns" not in header:
            raise FileError(f"'{path}' is truncated in its header", "a whole DICOM image", "export it again")
        if "MOSAIC" in _words(header.get("ImageType")):
            got = f"'{path}' is a mosaic: many slices side by side in one picture (ImageType MOSAIC)"
            raise FileError(got, "one slice in each image", "convert the series to NIfTI with dcm2niix, and give that")
        planes += planes_of(path, header)
    if skipped:
        logger.info("skipped %d DICOM files that hold no image", skipped)
    if not planes:
        got = f"{what} without a DICOM image"
        raise FileError(got, "a DICOM image or a folder of one series", "give the image file itself")
    return chosen_series(planes, series, what)


def _words(value: Any) -> list[str]:
    """The parts of a header field that may hold one text or several."""
    return [] if value is None else [value] if isinstance(value, str) else [str(v) for v in value]


def _unit(header: Any) -> str:
    """Unit of the values, as far as the header says it."""
    modality = str(header.get("Modality"))
    if modality == "CT":
        known = header.get("RescaleIntercept") not in (None, "") or header.get("PerFrameFunctionalGroupsSequence")
        return "HU" if known and str(header.get("RescaleType") or "HU") in ("HU", "HU_MOD") else "intensity"
    if modality == "PT":
        return {"BQML": "Bq/mL", "GML": "g/mL"}.get(str(header.get("Units")), "intensity")
    return "intensity" if modality in ("MR", "NM") else "grey level"


def _radiograph(plane: Plane) -> Volume:
    """A picture (channel, column, row, 1) whose pixels may have a size but no place in the patient."""
    read = file_values(plane.path)
    if read.padding is not None:
        fill_padding(read.values, read.padding, f"'{plane.path}'")
    values = read.values[0]
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    spacing = pixel_spacing(plane.header)
    rows, columns = spacing or (1.0, 1.0)
    return Volume(
        torch.from_numpy(np.ascontiguousarray(planes.transpose(0, 2, 1)))[..., None],
        np.diag([-columns, -rows, 1.0, 1.0]),
        _unit(plane.header),
        str(plane.path),
        has_geometry=False,
        header=allowed_header(plane.header),
        stored=Stored(
            levels=levels_of(plane.header),
            spacing_known=spacing is not None,
            at_detector=spacing is not None and plane.spacing is None,
        ),
    )


def read_dicom(path: Path, series: str | int | None = None) -> Volume:
    """Read one DICOM file, or one series of a folder, as float32 in real values.

    Rescale slope and intercept are applied, each slice's own. CT is in ``"HU"``. Padding takes the lowest value that
    was measured (`fill_padding`). A radiograph (CR, DX) without a place
    in the patient becomes a picture with axes (column, row) and its pixel spacing, if known. An RTDOSE is in Gy.

    Raises
    ------
    FileError
        If there is no image, or a file is truncated, corrupt or of a kind that cannot be read.
    GeometryError
        If series are mixed and none of them is chosen, images are missing, double or of different sizes, or their
        place is not known.
    MissingDependencyError
        If the decoder of a compressed file is not installed.
    """
    if path.is_file() and str((header := open_header(path)).get("Modality")) == "RTDOSE":
        return read_dose(path, header)
    planes = read_planes(path, series)
    what = f"'{path}'"
    modality = str(planes[0].header.get("Modality"))
    if len(planes) == 1 and planes[0].missing and modality not in TOMOGRAPHIC:
        return _radiograph(planes[0])
    planes = sorted_planes(planes, what)
    rows, columns = planes[0].shape
    volume = np.empty((len(planes), rows, columns), dtype=np.float32)
    places: dict[Path, list[int]] = {}
    for n, plane in enumerate(planes):
        places.setdefault(plane.path, []).append(n)
    padding = np.zeros(volume.shape, dtype=bool)
    for file, numbers in places.items():
        read, frames = file_values(file), [planes[n].frame or 0 for n in numbers]
        volume[numbers] = _grey(read.values, planes[numbers[0]])[frames]
        if read.padding is not None:
            padding[numbers] = read.padding[frames]
    if padding.any():
        fill_padding(volume, padding, what)
    unit = _unit(planes[0].header)
    return Volume(
        torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 1, 0)))[None],
        series_affine(planes),
        unit,
        str(path),
        header=allowed_header(planes[0].header),
        stored=Stored(levels=levels_of(planes[0].header) if unit == "grey level" else None),
    )


def _grey(values: np.ndarray, plane: Plane) -> np.ndarray:
    if values.ndim != 3 or values.shape[1:] != plane.shape:
        got = f"'{plane.path}' with pixels of shape {values.shape[1:]}"
        raise FileError(got, f"grey levels of {plane.shape[0]} x {plane.shape[1]}", "export the original images")
    return values
