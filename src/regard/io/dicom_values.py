"""Pixels of a DICOM file as real numbers: rescaled, turned so that more is brighter, padding told apart."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, get_decoder

from regard.core.errors import FileError, MissingDependencyError
from regard.io.decoder import decode
from regard.io.dicom_file import read_dataset
from regard.io.dicom_plane import TOMOGRAPHIC, UNREADABLE, group_of
from regard.io.limits import check_size

__all__ = ["FileValues", "file_values", "fill_padding", "levels_of"]

logger = logging.getLogger(__name__)


class FileValues(NamedTuple):
    """Real values of all planes of a file (plane, row, column[, channel]), and which of them are padding, if any."""

    values: np.ndarray
    padding: np.ndarray | None


def _check_decoder(path: Path, dataset: Dataset) -> None:
    """Say which extra brings the decoder of a compressed file, when there is none."""
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None or not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        able = get_decoder(syntax).is_available
    except NotImplementedError:
        got = f"'{path}' in the transfer syntax {syntax.name}"
        raise FileError(got, "a still image", "export it as Explicit VR Little Endian") from None
    if not able:
        raise MissingDependencyError(
            f"'{path}' is compressed ({syntax.name}), and no decoder of that is installed",
            "the extra 'dicom'",
            "pip install 'regard[dicom]'",
        )


def _stored(path: Path, dataset: Dataset) -> np.ndarray:
    """Stored values; compressed ones are decoded in a process of their own, as their decoders are native code."""
    samples, bits = int(dataset.get("SamplesPerPixel", 1)), int(dataset.BitsAllocated)
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    shape = (n_frames, int(dataset.Rows), int(dataset.Columns), samples)
    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    check_size(path, shape, max(1, bits // 8), path.stat().st_size if compressed else None)
    if not compressed:
        return np.asarray(dataset.pixel_array)
    found = decode(path, "dicom")
    return np.frombuffer(found.content, np.dtype(found.said["dtype"])).reshape(found.said["shape"])


def _rescaled(stored: np.ndarray, dataset: Dataset, transform: Dataset | None) -> np.ndarray:
    """Stored values to real ones: slope and intercept as floats, or a lookup table."""
    if transform is None and dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    source = dataset if transform is None else transform
    slope, intercept = (source.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    slope = 1.0 if slope in (None, "") else float(slope)
    intercept = 0.0 if intercept in (None, "") else float(intercept)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _inverted(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """MONOCHROME1 to MONOCHROME2: turned about the middle of the range that BitsStored allows."""
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    total = -1 if signed else 2 ** int(dataset.BitsStored) - 1
    return total - stored.astype(np.int64)


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Which stored values are padding (PixelPaddingValue, up to PixelPaddingRangeLimit); None if none is.

    Padding lies outside of all that was measured, as the standard asks. A value within it is a header that is wrong,
    and is no padding: a CT whose header says 0 would lose its water.
    """
    value = dataset.get("PixelPaddingValue")
    if value in (None, "") or int(dataset.get("SamplesPerPixel", 1)) > 1:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    bits, signed = int(dataset.BitsAllocated), int(dataset.get("PixelRepresentation", 0)) == 1
    # Written as unsigned numbers beside signed pixels, or the other way round, by many machines.
    ends = [_as_stored(int(v), bits, signed) for v in (value, value if limit in (None, "") else limit)]
    low, high = min(ends), max(ends)
    padded = (stored >= low) & (stored <= high)
    if not padded.any():
        return None
    others = stored[~padded]
    if others.size and others.min() < low and others.max() > high:
        logger.warning("PixelPaddingValue %s lies within the measured values, and is not taken for padding", value)
        return None
    return np.asarray(padded)


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value &= 2**bits - 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def fill_padding(values: np.ndarray, padding: np.ndarray, what: str) -> None:
    """Give padding the lowest value that was measured in the image, in place: in CT air, elsewhere the darkest.

    Raises
    ------
    FileError
        If all of the image is padding.
    """
    if padding.all():
        raise FileError(f"{what} of padding alone", "an image", "export it again")
    values[padding] = values[~padding].min()


def levels_of(dataset: Dataset) -> tuple[float, float] | None:
    """Lowest and highest grey level that a file can hold (BitsStored), rescaled as its values are."""
    bits = int(dataset.get("BitsStored") or 0)
    if dataset.get("ModalityLUTSequence"):
        descriptor = dataset.ModalityLUTSequence[0].get("LUTDescriptor")
        return None if descriptor is None else (0.0, float(2 ** int(descriptor[2]) - 1))
    if not 1 <= bits <= 32:
        return None
    low = -(2 ** (bits - 1)) if int(dataset.get("PixelRepresentation", 0)) == 1 else 0
    slope, intercept = (dataset.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    slope = 1.0 if slope in (None, "") else float(slope)
    intercept = 0.0 if intercept in (None, "") else float(intercept)
    ends = sorted(v * slope + intercept for v in (low, low + 2**bits - 1))
    return ends[0], ends[1]


def file_values(path: Path) -> FileValues:
    """Real values of all planes of a file, float32 (plane, row, column[, channel]), and what of them is padding.

    MONOCHROME1 is turned so that more is brighter, except in tomography (CT, MR, PT, NM), where the value is a
    measurement and MONOCHROME1 a wish about its display: turned Hounsfield units would make bone of air.

    Raises
    ------
    FileError
        If the pixels are missing, truncated or of a kind that cannot be read.
    MissingDependencyError
        If the decoder of its compression is not installed.
    """
    try:
        dataset = read_dataset(path)
        if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
            dataset.ensure_file_meta()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        _check_decoder(path, dataset)
        if str(dataset.get("PhotometricInterpretation")) == "PALETTE COLOR":
            raise FileError(f"'{path}' in colours of a palette", "grey levels or RGB", "export it as a PNG picture")
        stored = _stored(path, dataset)
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        if n_frames == 1:
            stored = stored.reshape(1, *stored.shape[-3 if int(dataset.get("SamplesPerPixel", 1)) > 1 else -2 :])
        padding = _padding(stored, dataset)
        measured = str(dataset.get("Modality")) in TOMOGRAPHIC
        if str(dataset.get("PhotometricInterpretation")) == "MONOCHROME1" and not measured:
            stored = _inverted(stored, dataset)
        if not dataset.get("PerFrameFunctionalGroupsSequence"):
            return FileValues(_rescaled(stored, dataset, None), padding)
        transforms = [group_of(dataset, n, "PixelValueTransformationSequence") for n in range(n_frames)]
        values = np.stack([_rescaled(p, dataset, t) for p, t in zip(stored, transforms, strict=True)])
        return FileValues(values, padding)
    except (FileError, MissingDependencyError):
        raise
    except UNREADABLE as error:
        got = f"'{path}' has pixels that are missing, truncated or corrupt"
        raise FileError(got, "a whole DICOM image", "export it again") from error
