"""RTDOSE: a dose grid of one file, whose frames lie at offsets along the normal of the first (DICOM PS3.3, C.8.8.3)."""

from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset

from regard.core.errors import FileError, GeometryError
from regard.core.volume import Volume
from regard.io.dicom_plane import Plane, planes_of
from regard.io.dicom_series import series_affine
from regard.io.dicom_values import file_values
from regard.io.privacy import allowed_header

__all__ = ["read_dose"]

_UNITS = {"GY": "Gy", "RELATIVE": "relative dose"}
_UNEVEN = 0.01


def read_dose(path: Path, header: Dataset) -> Volume:
    """Read a dose grid, float32, scaled by DoseGridScaling, in ``"Gy"`` (or ``"relative dose"``).

    Raises
    ------
    FileError
        If its pixels cannot be read, or it does not say its scaling.
    GeometryError
        If it does not say where it lies, or its frames are not evenly spaced.
    """
    scaling = header.get("DoseGridScaling")
    if scaling in (None, ""):
        raise FileError(f"'{path}' without DoseGridScaling", "a dose that says its unit", "export it again")
    n_frames = int(header.get("NumberOfFrames") or 1)
    single = Dataset(header)
    single.NumberOfFrames = 1
    first: Plane = planes_of(path, single)[0]
    offsets = np.array([float(v) for v in np.atleast_1d(header.get("GridFrameOffsetVector") or [0.0])])
    if len(offsets) != n_frames:
        got = f"'{path}' with {n_frames} frames and {len(offsets)} offsets (GridFrameOffsetVector)"
        raise GeometryError(got, "one offset for each frame", "export it again")
    affine = series_affine([first])
    steps = np.diff(offsets)
    if len(steps):
        if not steps[0] or np.abs(steps - steps[0]).max() > _UNEVEN * abs(steps[0]):
            got = f"'{path}' with frames {steps.min():g} to {steps.max():g} mm apart"
            raise GeometryError(got, "one step between frames", "resample it first")
        affine = affine.copy()
        affine[:3, 2] *= steps[0] / np.linalg.norm(affine[:3, 2])
    read = file_values(path)
    if read.values.shape != (n_frames, *first.shape):
        got = f"'{path}' with pixels of shape {read.values.shape}"
        raise FileError(got, f"{(n_frames, *first.shape)}", "export it again")
    values = (read.values.astype(np.float64) * float(scaling)).astype(np.float32)
    unit = _UNITS.get(str(header.get("DoseUnits")).upper(), "intensity")
    tensor = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0)))[None]
    return Volume(tensor, affine, unit, str(path), header=allowed_header(header))
