"""Explanations as DICOM Parametric Maps, for archives and viewers of a hospital."""

import io
import logging
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from regard.core.errors import FileError, GeometryError, InputError
from regard.core.explanation import Explanation
from regard.core.optional import need
from regard.core.volume import Grid
from regard.io.atomic import write_bytes
from regard.io.dicom import read_planes
from regard.io.dicom_plane import Plane
from regard.io.dicom_series import series_affine, sorted_planes

__all__ = ["SERIES_NUMBER", "complete_headers", "save_parametric_map", "short_code", "source_planes"]

logger = logging.getLogger(__name__)

_UCUM = {
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "years": ("a", "year"),
    "year": ("a", "year"),
    "mg/cm3": ("mg/cm3", "milligram per cubic centimetre"),
    "g/cm2": ("g/cm2", "gram per square centimetre"),
    "mm": ("mm", "millimetre"),
    "%": ("%", "percent"),
}
_PRIVATE_SCHEME = "99REGARD"
SERIES_NUMBER = 9000

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"),
    *("StudyID", "ReferringPhysicianName"),
)


def short_code(text: str, most: int) -> str:
    """A text as a code or label may be: letters, digits and a few marks, cut."""
    return re.sub(r"[^A-Za-z0-9 _.-]", " ", text).strip()[:most] or "regard"


def complete_headers(headers: Sequence[Dataset]) -> list[Dataset]:
    """Copies of headers with what a Parametric Map must repeat, where taking identity out has emptied it."""
    study, series = generate_uid(), generate_uid()
    if not headers[0].get("StudyInstanceUID"):
        logger.warning("the source has no StudyInstanceUID: an archive will not file its Parametric Map beside it")
    complete = []
    for header in headers:
        copy = Dataset(header)
        meta = getattr(header, "file_meta", {})
        copy.SOPClassUID = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
        copy.SOPInstanceUID = header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or generate_uid()
        copy.StudyInstanceUID = header.get("StudyInstanceUID") or study
        copy.SeriesInstanceUID = header.get("SeriesInstanceUID") or series
        for keyword in _MAY_BE_EMPTY:
            if keyword not in copy:
                setattr(copy, keyword, None)
        complete.append(copy)
    return complete


def source_planes(
    explanation: Explanation, sources: Path | Sequence[Path], *, private: bool, series: str | int | None
) -> list[Plane]:
    """The planes of the series that an explanation is of, sorted; what may be refused is (`save_parametric_map`)."""
    if private:
        raise InputError(
            "a DICOM file of a map in a private run",
            "no output that identifies a patient, as that file must",
            "leave out --dicom or --private",
        )
    planes = sorted_planes(read_planes(sources, series), "the source series")
    rows, columns = planes[0].shape
    grid = Grid((columns, rows, len(planes)), series_affine(planes))
    if not grid.matches(explanation.scan.grid, tolerance_mm=1e-2):
        raise GeometryError(
            f"source images of {grid.shape} for a map of {explanation.scan.shape}",
            "the series that was explained",
            "give the DICOM files of this case",
        )
    if not planes[0].header.get("FrameOfReferenceUID"):
        raise GeometryError("source images without FrameOfReferenceUID", "one", "export the original images")
    return planes


def save_parametric_map(
    explanation: Explanation,
    sources: Path | Sequence[Path],
    path: str | Path,
    *,
    private: bool = False,
    series: str | int | None = None,
) -> None:
    """Write an explanation as one float32 Parametric Map that refers to the series it explains.

    The standard requires that such a file repeats the patient, the study and the frame of reference of its source: it
    identifies the patient as much as the scan does, which no other output of Regard does. Values are stored as they
    are, signed, NaN where the network saw nothing. Frames may be written in another order than the scan's slices:
    match them by the affine, never by their number.

    Parameters
    ----------
    explanation
        The explanation; its scan must have been read from ``sources``.
    sources
        The file or folder of the scan, or its files.
    path
        Where to, usually ending in ``.dcm``.
    private
        Whether the run is private; then the file is refused.
    series
        SeriesInstanceUID or SeriesNumber, where the folder holds several series.

    Raises
    ------
    InputError
        If the run is private.
    GeometryError
        If the sources have no place in the patient or another grid than the map.
    FileError
        If a source cannot be read, or the file cannot be written.
    MissingDependencyError
        If highdicom is not installed.
    """
    highdicom = need("highdicom", extra="dicom", purpose="writing DICOM Parametric Maps")
    coded = need("highdicom.sr", extra="dicom", purpose="writing DICOM Parametric Maps").CodedConcept
    planes = source_planes(explanation, sources, private=private, series=series)
    # (column, row, slice) to (slice, row, column), as DICOM keeps frames.
    values = explanation.relevance.tensor[0].detach().cpu().to(torch.float32).permute(2, 1, 0).contiguous().numpy()
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scheme = "UCUM" if explanation.unit in _UCUM else _PRIVATE_SCHEME
    code, meaning = _UCUM.get(explanation.unit, (short_code(explanation.unit, 16), explanation.unit[:64]))
    quantity = short_code(str(explanation.quantity), 16)
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=short_code(explanation.name, 16),
        lut_explanation=f"{explanation.quantity}; {explanation.sign}"[:64],
        unit=coded(code, scheme, meaning),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coded(quantity, _PRIVATE_SCHEME, f"relevance: {explanation.quantity}"[:64]),
    )
    span = max(abs(low), abs(high)) or 1.0
    # Each frame's place is given in full: what a frame shows must not hang on the order of the source files.
    positions = [
        highdicom.PlanePositionSequence(highdicom.CoordinateSystemNames.PATIENT, [float(v) for v in p.place().position])
        for p in planes
    ]
    first, place = planes[0], planes[0].place()
    thickness = float(first.thickness or np.linalg.norm(explanation.scan.affine[:3, 2]))
    headers = complete_headers([p.header for p in planes] if first.frame is None else [first.header])
    try:
        parametric_map = highdicom.pm.ParametricMap(
            source_images=headers,
            pixel_array=values,
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="Regard",
            manufacturer_model_name="Regard",
            software_versions=version("regard"),
            device_serial_number="none",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=0.0, window_width=2 * span)],
            pixel_measures=highdicom.PixelMeasuresSequence(list(place.spacing), thickness),
            plane_orientation=highdicom.PlaneOrientationSequence(
                highdicom.CoordinateSystemNames.PATIENT, [float(v) for v in place.orientation]
            ),
            plane_positions=positions,
            content_label="RELEVANCE",
            content_description=short_code(f"{explanation.method} for {explanation.target}", 64),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        got = "source images whose headers a Parametric Map cannot refer to"
        raise FileError(
            got, "headers as the scanner wrote them", "give the original images, or leave out --dicom"
        ) from error
    parametric_map.SeriesDescription = short_code(f"Regard {explanation.name}, research use", 64)
    out = io.BytesIO()
    parametric_map.save_as(out)
    write_bytes(path, out.getvalue())
