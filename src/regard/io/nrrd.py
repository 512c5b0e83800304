"""NRRD volumes, where pynrrd is installed."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from regard.core.errors import FileError, GeometryError
from regard.core.optional import need
from regard.core.stored import Stored
from regard.core.volume import PIXEL_AFFINE, Volume

__all__ = ["Segment", "read_nrrd", "read_segments"]

_TO_RAS = {
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
}


class Segment(NamedTuple):
    """One segment of a ``.seg.nrrd``: its label value, the layer that it is drawn on, and its identifier."""

    value: int
    layer: int
    identifier: str


def read_segments(path: Path) -> dict[str, Segment]:
    """The segments that the header of an NRRD file names (``Segment0_Name`` and so on), by name; none in others.

    Raises
    ------
    FileError
        If the header cannot be read.
    MissingDependencyError
        If pynrrd is not installed.
    """
    header = _header(path)
    found: dict[str, Segment] = {}
    for key, text in header.items():
        match = re.fullmatch(r"(Segment[0-9]+)_LabelValue", str(key))
        if match is None or not str(text).strip().lstrip("-").isdecimal():
            continue
        start = match[1]
        name = str(header.get(f"{start}_Name", start))
        layer = str(header.get(f"{start}_Layer", "0")).strip()
        segment = Segment(int(text), int(layer) if layer.isdecimal() else 0, str(header.get(f"{start}_ID", start)))
        found[name if name not in found else segment.identifier] = segment
    return found


def _header(path: Path) -> dict[str, Any]:
    nrrd = need("nrrd", extra="nrrd", purpose="reading NRRD files")
    try:
        with path.open("rb") as stream:
            header: dict[str, Any] = nrrd.read_header(stream)
    except Exception as error:  # pynrrd lets whatever its parsing meets through
        raise _unreadable(path) from error
    return header


def _unreadable(path: Path) -> FileError:
    got = f"'{path}' is not a readable NRRD file, or is truncated"
    return FileError(got, "a whole one", "copy or export it again")


def _inside(path: Path, header: dict[str, Any]) -> None:
    """Refuse a header whose data lie outside the header's own folder, or in several files."""
    folder = path.resolve().parent
    for name in (header[key] for key in ("data file", "datafile") if key in header):
        target = (folder / str(name)).resolve()
        if isinstance(name, list) or "%" in str(name) or str(name).startswith("LIST") or folder not in target.parents:
            got = f"'{path}', whose data are elsewhere, or in several files"
            raise FileError(got, "data in the same file or folder", "save it as one .nrrd file")
        if not target.is_file():
            got = f"'{path}', whose data file '{name}' is not there"
            raise FileError(got, "that file beside its header", "copy both into one folder")


def _affine(header: dict[str, Any], axes: list[int], path: Path) -> np.ndarray:
    space = str(header.get("space", "")).lower()
    if "space directions" not in header or space not in _TO_RAS:
        got = f"'{path}' in space '{space or 'none'}'" + ("" if "space directions" in header else " without directions")
        raise GeometryError(got, "space left-posterior-superior or its like, with directions", "export it again")
    units = {str(u).strip('"').lower() for u in header.get("space units", [])} - {"mm", "millimeter", "millimetre", ""}
    if units:
        raise GeometryError(f"'{path}' in {', '.join(sorted(units))}", "millimetres", "export it again")
    directions = np.asarray(header["space directions"], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = directions[axes].T
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), dtype=np.float64)
    affine[:3] *= np.array(_TO_RAS[space])[:, None]
    return affine


def read_nrrd(path: Path) -> Volume:
    """Read an NRRD file of three spatial axes, with or without one of channels, or a picture of two.

    Raises
    ------
    FileError
        If it is truncated, corrupt, or points to data elsewhere.
    GeometryError
        If its space, directions or unit are missing or unknown.
    MissingDependencyError
        If pynrrd is not installed.
    """
    nrrd = need("nrrd", extra="nrrd", purpose="reading NRRD files")
    _inside(path, _header(path))
    try:
        values, header = nrrd.read(str(path), index_order="F")
    except Exception as error:  # pynrrd lets whatever its parsing meets through
        raise _unreadable(path) from error
    if values.dtype.kind not in "iuf":
        raise FileError(f"'{path}' of type {values.dtype}", "one real number for each voxel", "export it again")
    directions = header.get("space directions")
    if directions is None and values.ndim == 2:
        tensor = torch.from_numpy(values.astype(np.float32))[None, :, :, None]
        limits = np.iinfo(values.dtype) if values.dtype.kind in "iu" else None
        stored = Stored(levels=None if limits is None else (float(limits.min), float(limits.max)))
        return Volume(tensor, PIXEL_AFFINE, "grey level", str(path), has_geometry=False, stored=stored)
    rows = np.zeros((values.ndim, 3)) if directions is None else np.asarray(directions, dtype=np.float64)
    axes = [n for n in range(values.ndim) if bool(np.isfinite(rows[n]).all())]
    if len(axes) != 3 or values.ndim > 4:
        raise FileError(f"'{path}' of shape {values.shape}", "three axes in space and at most one of channels")
    affine = _affine(header, axes, path)
    other = [n for n in range(values.ndim) if n not in axes]
    channels = values.transpose(other + axes) if other else values[None]
    tensor = torch.from_numpy(np.ascontiguousarray(channels, dtype=np.float32))
    return Volume(tensor, affine, source=str(path))
