"""DICOM: one file, a series in a folder, an enhanced multi-frame file, or a radiograph.

Voxel axes of the volume: i = column, j = row, k = slice, slices in rising order along the normal of the planes, which
is (row direction) x (column direction). The affine is DICOM's LPS turned to RAS. File names play no part.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.dataset import Dataset
from pydicom.uid import UID

from regard.core.errors import FileError, GeometryError
from regard.core.volume import Volume
from regard.io.dicom_plane import TOMOGRAPHIC, Plane, file_values, open_header, pixel_spacing, planes_of
from regard.io.privacy import allowed_header
from regard.io.reading import is_dicom

__all__ = ["read_dicom", "read_planes", "series_affine", "sorted_planes"]

logger = logging.getLogger(__name__)

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NOT_IMAGES = ("SEG", "PR", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "KO", "REG", "FID")
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.05


def _listed(items: Iterable[str], most: int = 5) -> str:
    items = list(items)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _folder_files(folder: Path) -> list[Path]:
    """DICOM files in a folder and its subfolders, without hidden ones and the index DICOMDIR."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    seen = [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    found = [p for p in seen if p.name.upper() != "DICOMDIR" and is_dicom(p)]
    broken = sorted(p for p in set(seen) - set(found) if p.suffix.lower() == ".dcm")
    if broken:
        # Left out in silence, a slice at the end of a series would be missing in silence.
        raise FileError(f"'{broken[0]}' is empty, or not DICOM", "a whole file", "export it again, or remove it")
    if len(found) < len(seen):
        logger.info("skipped %d files that are not DICOM", len(seen) - len(found))
    return found


def _holds_no_image(header: Dataset) -> bool:
    """Whether a file is a report, a segmentation or the like, by its SOP class and modality."""
    meta = getattr(header, "file_meta", {})
    sop_class = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    other = sop_class is not None and "Image Storage" not in UID(sop_class).name and "Rows" not in header
    return other or str(header.get("Modality")) in _NOT_IMAGES


def read_planes(paths: Path | Sequence[Path]) -> list[Plane]:
    """The image planes of a file, of a folder, or of given files, as they come; without pixels.

    Files that hold no image (reports, segmentations, presentation states) are skipped.

    Raises
    ------
    FileError
        If there is no image, or a file cannot be read.
    """
    if isinstance(paths, Path):
        files = _folder_files(paths) if paths.is_dir() else [paths]
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
        planes += planes_of(path, header)
    if skipped:
        logger.info("skipped %d DICOM files that hold no image", skipped)
    if not planes:
        got = f"{what} without a DICOM image"
        raise FileError(got, "a DICOM image or a folder of one series", "give the image file itself")
    return planes


def _check_one_series(planes: Sequence[Plane], what: str) -> None:
    series = Counter(p.series for p in planes)
    if len(series) > 1:
        counts = _listed(f"{uid or 'without a UID'} ({n} images)" for uid, n in series.most_common())
        raise GeometryError(
            f"{len(series)} series mixed in {what}: SeriesInstanceUID {counts}",
            "one series",
            "give each series a folder of its own",
        )
    lacking = Counter(keyword for p in planes for keyword in p.missing)
    if lacking:
        counts = _listed(f"{keyword} missing in {n} of {len(planes)} images" for keyword, n in lacking.items())
        raise GeometryError(f"{what} with {counts}", "the place of every image", "export the original images")
    places = [p.place() for p in planes]
    kinds = (
        ("sizes", Counter(f"{p.shape[0]} x {p.shape[1]}" for p in planes)),
        ("pixel spacings", Counter(f"{p.spacing[0]:.4g} x {p.spacing[1]:.4g} mm" for p in places)),
        ("orientations", Counter(_rounded(p.orientation) for p in places)),
    )
    for name, found in kinds:
        if len(found) > 1:
            counts = _listed(f"{value} ({n} images)" for value, n in found.most_common())
            raise GeometryError(
                f"{what} with images of {len(found)} {name}: {counts}",
                f"{name} that agree",
                "remove the images that do not belong, such as localisers",
            )


def _rounded(orientation: np.ndarray) -> str:
    return "\\".join(f"{v + 0.0:g}" for v in np.round(orientation, 2) + 0.0)


def _normal(plane: Plane) -> np.ndarray:
    orientation = plane.place().orientation
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    lengths = [np.linalg.norm(v) for v in (row, column, normal)]
    if max(abs(length - 1) for length in lengths) > 1e-2:
        raise GeometryError(
            f"'{plane.path}' with ImageOrientationPatient {_rounded(orientation)}",
            "two directions of length 1 at right angles",
            "export the original images",
        )
    return np.asarray(normal / lengths[2])


def _sorted_by_position(planes: Sequence[Plane], what: str) -> list[Plane]:
    """Planes in rising order along their normal, each exactly one step from the next.

    Raises
    ------
    GeometryError
        If two lie at one place, some are missing, or the steps differ.
    """
    normal = _normal(planes[0])
    along = np.array([float(p.place().position @ normal) for p in planes])
    order = np.argsort(along, kind="stable")
    planes, along = [planes[n] for n in order], along[order]
    steps = np.diff(along)
    if not len(steps):
        return planes
    twice = [n for n, step in enumerate(steps) if step < _SAME_PLACE_MM]
    if twice:
        where = _listed(f"{along[n]:.2f} mm ({_name(planes[n])} and {_name(planes[n + 1])})" for n in twice)
        raise GeometryError(
            f"{what} with two images at one place along the slice normal: {where}",
            "one image at each place",
            "split time points, echoes or copies into folders of their own",
        )
    step = float(steps.min())
    n_steps = np.rint(steps / step)
    if n_steps.max() > 1 and np.abs(steps / n_steps - step).max() <= _UNEVEN * step:
        lost = [f"{along[n] + step * m:.2f} mm" for n, wide in enumerate(n_steps) for m in range(1, int(wide))]
        raise GeometryError(
            f"{what} with a gap: {len(lost)} of {len(planes) + len(lost)} images missing along the slice normal, "
            f"at {_listed(lost)}",
            f"an image every {step:.4g} mm",
            "export the whole series",
        )
    step = float(np.median(steps))
    worst = int(np.abs(steps - step).argmax())
    if abs(steps[worst] - step) > _UNEVEN * step + _SAME_PLACE_MM:
        raise GeometryError(
            f"{what} with uneven steps: {steps[worst]:.4g} mm at {along[worst]:.2f} mm along the slice normal",
            f"{step:.4g} mm, as elsewhere",
            "export the original images, or resample them first",
        )
    return planes


def _name(plane: Plane) -> str:
    return plane.path.name if plane.frame is None else f"frame {plane.frame + 1}"


def series_affine(planes: Sequence[Plane]) -> np.ndarray:
    """Affine (4, 4) to RAS mm of sorted planes, voxel axes (column, row, slice).

    The slice axis runs from the first position to the last, so that a tilted gantry gives a sheared affine rather
    than a wrong one. A single plane is as thick as its header says, else 1 mm.
    """
    first, last = planes[0].place(), planes[-1].place()
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    if len(planes) > 1:
        affine[:3, 2] = (last.position - first.position) / (len(planes) - 1)
    else:
        affine[:3, 2] = _normal(planes[0]) * (planes[0].thickness or 1.0)
    affine[:3, 3] = first.position
    return np.asarray(_LPS_TO_RAS @ affine) + 0.0  # no minus zeros in a header


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
    values = file_values(plane.path)[0]
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    rows, columns = pixel_spacing(plane.header) or (1.0, 1.0)
    return Volume(
        torch.from_numpy(np.ascontiguousarray(planes.transpose(0, 2, 1)))[..., None],
        np.diag([-columns, -rows, 1.0, 1.0]),
        _unit(plane.header),
        str(plane.path),
        has_geometry=False,
        header=allowed_header(plane.header),
    )


def read_dicom(path: Path) -> Volume:
    """Read one DICOM file, or the one series of a folder, as float32 in real values.

    Rescale slope and intercept are applied, each slice's own. CT is in ``"HU"``. A radiograph (CR, DX) without a place
    in the patient becomes a picture with axes (column, row) and its pixel spacing, if known.

    Raises
    ------
    FileError
        If there is no image, or a file is truncated, corrupt or of a kind that cannot be read.
    GeometryError
        If series are mixed, images are missing, double or of different sizes, or their place is not known.
    MissingDependencyError
        If the decoder of a compressed file is not installed.
    """
    planes = read_planes(path)
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
    for file, numbers in places.items():
        values = _grey(file_values(file), planes[numbers[0]])
        volume[numbers] = values[[planes[n].frame or 0 for n in numbers]]
    return Volume(
        torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 1, 0)))[None],
        series_affine(planes),
        _unit(planes[0].header),
        str(path),
        header=allowed_header(planes[0].header),
    )


def sorted_planes(planes: Sequence[Plane], what: str) -> list[Plane]:
    """Check that planes make one volume, and sort them along their normal.

    Raises
    ------
    GeometryError
        If they do not; the message says which images are missing, double, mixed or different.
    """
    _check_one_series(planes, what)
    planes = _sorted_by_position(planes, what)
    affine = series_affine(planes)
    if len(planes) > 1:
        straight = [affine[:3, 3] + n * affine[:3, 2] for n in range(len(planes))]
        places = [_LPS_TO_RAS[:3, :3] @ p.place().position for p in planes]
        off = np.linalg.norm(np.array(straight) - np.array(places), axis=1)
        if off.max() > 0.5 * np.linalg.norm(affine[:3, 2]):
            got = f"{what} with images up to {off.max():.3g} mm off a straight line"
            raise GeometryError(got, "positions on a line", "export the original images, or resample them first")
    return planes


def _grey(values: np.ndarray, plane: Plane) -> np.ndarray:
    if values.ndim != 3 or values.shape[1:] != plane.shape:
        got = f"'{plane.path}' with pixels of shape {values.shape[1:]}"
        raise FileError(got, f"grey levels of {plane.shape[0]} x {plane.shape[1]}", "export the original images")
    return values
