"""A thresholded map as DICOM SEG, for viewers that show no Parametric Map."""

import io
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from regard.core.errors import FileError, InputError
from regard.core.explanation import Explanation
from regard.core.optional import need
from regard.io.atomic import write_bytes
from regard.io.parametric_map import SERIES_NUMBER, complete_headers, short_code, source_planes

__all__ = ["save_segmentation", "threshold_of"]


def threshold_of(text: str) -> float:
    """Read ``seg:THRESHOLD``.

    Raises
    ------
    InputError
        If it is not a number above 0.
    """
    kind, _, number = text.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if kind != "seg" or not (math.isfinite(value) and value > 0):
        raise InputError(f"--dicom {text}", "seg:THRESHOLD with a number above 0, in the map's unit, or nothing")
    return value


def save_segmentation(
    explanation: Explanation,
    sources: Path | Sequence[Path],
    path: str | Path,
    threshold: float,
    *,
    private: bool = False,
    series: str | int | None = None,
) -> bool:
    """Write where a map reaches a threshold as a binary SEG of the series it explains.

    Segment 1 is where the map is at least ``threshold``, segment 2 where it is at most minus that; one that is empty is
    left out. As a Parametric Map, the file identifies the patient (`regard.io.parametric_map.save_parametric_map`).

    Parameters
    ----------
    explanation, sources, path, private, series
        As of `save_parametric_map`.
    threshold
        Above 0, in the map's unit.

    Returns
    -------
    bool
        Whether a file was written; a map that stays below the threshold everywhere has none.
    """
    highdicom = need("highdicom", extra="dicom", purpose="writing DICOM SEG")
    coded = need("highdicom.sr", extra="dicom", purpose="writing DICOM SEG").CodedConcept
    planes = source_planes(explanation, sources, private=private, series=series)
    # (column, row, slice) to (slice, row, column), as DICOM keeps frames; NaN is on no side.
    values = explanation.relevance.tensor[0].detach().cpu().to(torch.float32).permute(2, 1, 0).contiguous().numpy()
    sides = {"at or above": values >= threshold, "at or below minus": values <= -threshold}
    kept = {words: side for words, side in sides.items() if side.any()}
    if not kept:
        return False
    finding = coded("relevance", "99REGARD", "region of relevance to a network")
    described = [
        highdicom.seg.SegmentDescription(
            number,
            f"{explanation.name} {words} {threshold:g}"[:64],
            finding,
            finding,
            highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            highdicom.AlgorithmIdentificationSequence(
                short_code(explanation.method, 64), coded("123110", "DCM", "Artificial Intelligence"), version("regard")
            ),
        )
        for number, words in enumerate(kept, start=1)
    ]
    place = planes[0].place()
    affine = explanation.scan.affine
    thickness = float(planes[0].thickness or np.linalg.norm(affine[:3, 2]))
    system = highdicom.CoordinateSystemNames.PATIENT
    try:
        segmentation = highdicom.seg.Segmentation(
            complete_headers([p.header for p in planes] if planes[0].frame is None else [planes[0].header]),
            np.stack(list(kept.values()), axis=-1),
            highdicom.seg.SegmentationTypeValues.BINARY,
            described,
            highdicom.UID(),
            SERIES_NUMBER,
            highdicom.UID(),
            1,
            "Regard",
            "Regard",
            version("regard"),
            "none",
            pixel_measures=highdicom.PixelMeasuresSequence(list(place.spacing), thickness),
            plane_orientation=highdicom.PlaneOrientationSequence(system, [float(v) for v in place.orientation]),
            plane_positions=[
                highdicom.PlanePositionSequence(system, [float(v) for v in p.place().position]) for p in planes
            ],
            content_label="RELEVANCE",
            content_description=short_code(f"{explanation.method} for {explanation.target}", 64),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        got = "source images whose headers a SEG cannot refer to"
        raise FileError(
            got, "headers as the scanner wrote them", "give the original images, or leave out --dicom"
        ) from error
    segmentation.SeriesDescription = short_code(f"Regard {explanation.name}, research use", 64)
    out = io.BytesIO()
    segmentation.save_as(out)
    write_bytes(path, out.getvalue())
    return True
