"""What may leave with an output: header fields on an allow-list, and text without identifiers.

A field leaves only if its name is on the list *and* its value has the form that the field must have. The form matters:
free text is typed into any field, so a field that may hold any text is on no list.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ALLOWED", "allowed_header", "hide_paths", "hide_uids"]

_MODALITIES = "CR CT DX MG MR NM OT PT PX RF US XA"
_POSITIONS = "HFP HFS HFDR HFDL FFDR FFDL FFP FFS"
_VIEWS = "AP PA LL RL RLD LLD RLO LLO"
_KERNELS = "STANDARD SOFT LUNG BONE BONEPLUS DETAIL EDGE CHEST"
_BODY_PARTS = (
    "ABDOMEN ABDOMENPELVIS ANKLE AORTA ARM BRAIN BREAST CSPINE CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COLON "
    "ELBOW EXTREMITY EYE FEMUR FINGER FOOT HAND HEAD HEADNECK HEART HIP JAW KIDNEY KNEE LEG LIVER LSPINE LUNG NECK "
    "ORBIT PANCREAS PELVIS PROSTATE RIB SHOULDER SKULL SPINE SPLEEN SSPINE TSPINE THIGH TIBIA UTERUS WHOLEBODY WRIST"
)


def _one_of(words: str) -> Callable[[str], str | None]:
    known = frozenset(words.split())
    return lambda text: text if text in known else None


def _number(text: str) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return f"{value:g}" if math.isfinite(value) and 0 <= value < 1e5 else None


def _kernel(text: str) -> str | None:
    known = text in _KERNELS.split() or re.fullmatch(r"[A-Z][a-z]?\d\d[a-z]|FC\d\d", text)
    return text if known else None


ALLOWED: Mapping[str, Callable[[str], str | None]] = {
    "Modality": _one_of(_MODALITIES),
    "BodyPartExamined": _one_of(_BODY_PARTS),
    "ViewPosition": _one_of(_VIEWS),
    "PatientPosition": _one_of(_POSITIONS),
    "ConvolutionKernel": _kernel,
    "KVP": _number,
    "SliceThickness": _number,
    "SpacingBetweenSlices": _number,
    "MagneticFieldStrength": _number,
    "RepetitionTime": _number,
    "EchoTime": _number,
    "InversionTime": _number,
    "FlipAngle": _number,
}
"""DICOM keyword to the function that gives the value as it may leave, or None when it has not the field's form."""


def allowed_header(dataset: Any) -> dict[str, str]:
    """The header fields of a DICOM dataset that may leave with an output.

    Parameters
    ----------
    dataset
        A `pydicom.Dataset`, or a mapping of keyword to value.

    Returns
    -------
    dict
        Keyword to text; a field that is absent, or whose value has not the form the field must have, is left out.
    """
    kept = {}
    for keyword, form in ALLOWED.items():
        value = dataset.get(keyword)
        if isinstance(value, (list, tuple)) or (hasattr(value, "__iter__") and not isinstance(value, str)):
            value = next(iter(value), None)
        text = None if value is None else form(str(value).strip())
        if text is not None:
            kept[keyword] = text
    return kept


def hide_uids(text: str) -> str:
    """Replace DICOM unique identifiers in ``text``: a hospital's archive leads from one to the patient."""
    return re.sub(r"\d+(?:\.\d+){5,}", "<uid>", text)


def hide_paths(text: str) -> str:
    """Replace what looks like a path, or is one, in ``text``, such as an argument of the command line.

    Separators of Regard's own small languages (``=``, ``:``, ``,``, ``#``) are kept.
    """

    def hidden(match: re.Match[str]) -> str:
        part = match[0]
        is_path = os.sep in part or (os.altsep or os.sep) in part or _exists(part)
        return "<path>" if is_path else part

    return re.sub(r"[^=:,#]+", hidden, text)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
