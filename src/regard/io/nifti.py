"""NIfTI (and FreeSurfer's MGH) volumes, read whole and checked to their last byte."""

import gzip
import io
import logging
import math
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError, SerializableImage
from nibabel.spatialimages import HeaderDataError, SpatialImage

from regard.core.errors import FileError
from regard.core.volume import Volume

__all__ = ["read_nifti"]

logger = logging.getLogger(__name__)

_MOST_CHANNELS = 64
_LARGEST_RATIO = 1100  # deflate cannot do better than 1032 to 1
_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
)
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


def _whole(path: Path, image: SpatialImage) -> bytes:
    """The file's bytes, decompressed, with its checksum verified and its length checked against its header."""
    size = math.prod(image.shape) * image.get_data_dtype().itemsize
    expected = int(image.dataobj.offset) + size
    packed = path.name.lower().endswith((".gz", ".mgz"))
    if size < 0 or expected > path.stat().st_size * (_LARGEST_RATIO if packed else 1):
        raise EOFError
    with gzip.open(path) if packed else path.open("rb") as stream:
        content = stream.read(expected)
        if len(content) < expected:
            raise EOFError
        # Reading to the end makes gzip compare its checksum; what follows the image is small, or not ours.
        for _ in range(64):
            if not stream.read(2**20):
                break
    return content


def _affine(image: SpatialImage, path: Path) -> np.ndarray:
    affine = np.array(image.affine, dtype=np.float64)
    if not isinstance(image, nibabel.Nifti1Image):
        return affine
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        logger.warning("%s: neither sform nor qform is set; left and right are a guess", path.name)
    if int(header["sform_code"]) and int(header["qform_code"]):
        differ = np.abs(header.get_sform() - header.get_qform()).max()
        if not differ < 0.1:
            logger.warning("%s: sform and qform differ by up to %.3g mm; the sform is used", path.name, differ)
    units = str(header.get_xyzt_units()[0])
    if units in _MILLIMETRES:
        logger.warning("%s: its header is in %ss; its affine is turned to mm", path.name, units)
        affine[:3] *= _MILLIMETRES[units]
    return affine


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file, float32, with its scale factors applied.

    A fourth axis becomes channels. The file cannot say its unit: it is ``"intensity"``.

    Raises
    ------
    FileError
        If it is truncated, corrupt, holds colours or complex numbers, or is a time series.
    """
    try:
        image = nibabel.load(path)
        if image.get_data_dtype().kind not in "iufb":
            got = f"'{path}' of type {image.get_data_dtype()}"
            raise FileError(got, "one real number for each voxel", "save magnitude or single channels")
        content = _whole(path, image)
        if isinstance(image, SerializableImage):
            image = type(image).from_stream(io.BytesIO(content))
        values = image.get_fdata(dtype=np.float32, caching="unchanged")
        affine = _affine(image, path)
    except EOFError as error:
        raise FileError(f"'{path}' is truncated", "as many voxels as its header says", "copy it again") from error
    except FileError:
        raise
    except _UNREADABLE as error:
        raise FileError(f"'{path}' is not a readable NIfTI file", "a whole one", "copy or export it again") from error
    shape = values.shape
    if len(shape) == 5 and shape[3] == 1:
        values = values[:, :, :, 0]
    while values.ndim > 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > 4 or values.ndim < 1 or (values.ndim == 4 and values.shape[3] > _MOST_CHANNELS):
        raise FileError(
            f"'{path}' of shape {shape}",
            f"three axes, or up to {_MOST_CHANNELS} channels on a fourth",
            "take one volume of the series",
        )
    values = values.reshape(*values.shape, *[1] * (3 - values.ndim)) if values.ndim < 3 else values
    channels = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    tensor = torch.from_numpy(np.ascontiguousarray(channels))
    return Volume(tensor, affine, source=str(path))
