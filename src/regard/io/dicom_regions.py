"""Regions from DICOM: segments of a SEG, structures of an RTSTRUCT.

A structure is contours in parallel planes (PS3.3, C.8.8.6). It is filled on a grid of its own, fine within the planes;
contours of one plane that lie in each other make holes (exclusive or, as CLOSED_PLANAR_XOR says and as others do).
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset
from skimage.draw import polygon2mask

from regard.core.errors import FileError, GeometryError, InputError
from regard.core.optional import need
from regard.core.volume import Volume
from regard.io.dicom_plane import UNREADABLE, open_header
from regard.io.reading import is_dicom

__all__ = ["dicom_region", "region_kind"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FINEST_MM, _MOST_POINTS = 0.25, 512
_SAME_PLANE_MM = 0.01
_UNEVEN = 0.05
_HALF = 0.5


def region_kind(path: Path) -> str | None:
    """``"SEG"`` or ``"RTSTRUCT"`` where a file is one, else None."""
    if not path.is_file() or not is_dicom(path):
        return None
    modality = str(open_header(path).get("Modality"))
    return modality if modality in ("SEG", "RTSTRUCT") else None


def dicom_region(path: Path, label: str) -> Volume:
    """Read a segment or structure as a mask of 1 and 0.

    Parameters
    ----------
    path
        A DICOM SEG or RTSTRUCT.
    label
        Its name or number; empty for all segments of a SEG, or the one structure of an RTSTRUCT.

    Raises
    ------
    InputError
        If there is no such one, or several.
    FileError
        If the file cannot be read.
    MissingDependencyError
        If highdicom, which reads SEG, is not installed.
    """
    try:
        return _structure(path, label) if region_kind(path) == "RTSTRUCT" else _segment(path, label)
    except InputError:
        raise
    except UNREADABLE as error:
        got = f"'{path}' has segments or contours that cannot be read"
        raise FileError(got, "a whole DICOM SEG or RTSTRUCT", "export it again") from error


def _chosen(names: dict[int, str], label: str, path: Path) -> list[int]:
    """Numbers of the segments or structures that a label stands for."""
    alike = [n for n, name in names.items() if label == name] or [n for n in names if label == str(n)]
    if len(alike) == 1:
        return alike
    known = ", ".join(f"{name} (number {n})" for n, name in names.items()) or "none with an area"
    got = f"the region '{label}' of '{path}'" if label else f"'{path}' of several regions"
    raise InputError(got + (f", which {len(alike)} have" if alike else ""), f"one of: {known}",
                     "give its name or number as FILE#NAME")  # fmt: skip


def _segment(path: Path, label: str) -> Volume:
    highdicom = need("highdicom", extra="dicom", purpose="reading DICOM SEG")
    segmentation = highdicom.seg.segread(str(path))
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in segmentation.SegmentSequence}
    names.pop(0, None)  # the background of a label map
    numbers = _chosen(names, label, path) if label else list(names)
    volume = segmentation.get_volume(segment_numbers=numbers, allow_missing_positions=True)
    values = np.asarray(volume.array, dtype=np.float64)
    values = values.max(-1) if values.ndim == 4 else values
    inside = torch.from_numpy(np.ascontiguousarray(values > (0 if values.max(initial=0) > 1 else _HALF)))
    return Volume(inside[None].float(), _LPS_TO_RAS @ np.asarray(volume.affine), "label", str(path))


def _structure(path: Path, label: str) -> Volume:
    dataset = open_header(path)
    contours: dict[int, list[np.ndarray]] = {}
    for item in dataset.get("ROIContourSequence") or []:
        planar = [c for c in item.get("ContourSequence") or [] if _is_closed(c)]
        if planar:
            contours[int(item.ReferencedROINumber)] = [
                np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in planar
            ]
    all_names = {int(s.ROINumber): str(s.get("ROIName", "")) for s in dataset.get("StructureSetROISequence") or []}
    names = {n: name for n, name in all_names.items() if n in contours}
    number = _chosen(names, label, path)[0] if label or len(names) != 1 else next(iter(names))
    return _filled(contours[number], path)


def _is_closed(contour: Dataset) -> bool:
    kind = str(contour.get("ContourGeometricType"))
    return kind.startswith("CLOSED_PLANAR") and len(contour.get("ContourData") or []) >= 9


def _filled(polygons: list[np.ndarray], path: Path) -> Volume:
    """Fill contours (n, 3) [mm, LPS] of parallel planes, each plane as thick as the step to the next."""
    normal = _normal(polygons)
    across = np.linalg.svd(normal[None])[2][1:]
    if abs(normal[2]) > 1 - 1e-6:
        across = np.eye(3)[:2]
    along = np.array([float((p @ normal).mean()) for p in polygons])
    if max(np.ptp(p @ normal) for p in polygons) > 1.0:
        raise GeometryError(f"'{path}' with contours that are not flat, or not parallel", "parallel planes",
                            "export the structure as a SEG or NIfTI mask")  # fmt: skip
    places = np.unique(np.round(along / _SAME_PLANE_MM).astype(int)) * _SAME_PLANE_MM
    step = float(np.diff(places).min()) if len(places) > 1 else 1.0
    numbers = (along - places[0]) / step
    if np.abs(numbers - np.rint(numbers)).max() > _UNEVEN + _SAME_PLANE_MM / step:
        raise GeometryError(f"'{path}' with planes of contours {step:g} mm apart and others between them",
                            "evenly spaced planes", "export the structure as a SEG or NIfTI mask")  # fmt: skip
    flat = [p @ across.T for p in polygons]
    low, high = np.concatenate(flat).min(0), np.concatenate(flat).max(0)
    fine = max(_FINEST_MM, float((high - low).max()) / _MOST_POINTS)
    low = low - fine
    size = tuple(int(v) for v in np.ceil((high - low) / fine) + 2)
    planes: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(size, dtype=bool))
    for number, polygon in zip(np.rint(numbers).astype(int), flat, strict=True):
        planes[int(number)] ^= polygon2mask(size, (polygon - low) / fine)
    mask = np.zeros((*size, max(planes) + 1), dtype=np.float32)
    for number, plane in planes.items():
        mask[..., number] = plane
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across[0] * fine, across[1] * fine, normal * step], axis=1)
    affine[:3, 3] = across.T @ low + normal * places[0]
    return Volume(torch.from_numpy(mask)[None], _LPS_TO_RAS @ affine, "label", str(path))


def _normal(polygons: list[np.ndarray]) -> np.ndarray:
    """Normal of the planes, from the largest contour (Newell), pointing to rising z."""
    areas = [np.cross(p - p.mean(0), np.roll(p, -1, axis=0) - p.mean(0)).sum(0) for p in polygons]
    largest = max(areas, key=lambda a: float(np.linalg.norm(a)))
    length = float(np.linalg.norm(largest))
    if not length > 0:
        raise InputError("contours without an area", "closed contours", "choose another structure")
    normal = largest / length
    return normal * (np.sign(normal[np.abs(normal).argmax()]))
