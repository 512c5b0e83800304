"""NIfTI volumes (and FreeSurfer's MGH, and Analyze), read whole and checked to their last byte."""

import gzip
import io
import logging
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import FileHolder, ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from regard.core.errors import FileError, ShapeError
from regard.core.stored import Stored
from regard.core.volume import Volume
from regard.io.first_bytes import first_bytes, in_words, is_gzip, unpacked
from regard.io.limits import check_size
from regard.io.nifti_forms import MILLIMETRES, forms_of, mend_quaternion, scale_of

__all__ = ["SHORTEST", "SIZES", "is_analyze", "is_nifti", "pair_of", "read_nifti"]

logger = logging.getLogger(__name__)

_MOST_CHANNELS = 64
_LARGEST_RATIO = 1100  # deflate cannot do better than 1032 to 1
SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))  # type: ignore[arg-type]
"""First bytes of a NIfTI or Analyze header: its length."""
SHORTEST = 348
"""Bytes of the shortest such header."""
_CIFTI = range(3000, 3100)
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


def is_nifti(head: bytes) -> bool:
    """Whether a (decompressed) beginning is that of a NIfTI file, or of the header of a pair."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def is_analyze(head: bytes) -> bool:
    """Whether a beginning is that of a header of Analyze 7.5, which has no mark: by its length field and data type."""
    for order in "<>":
        size, kind, bits = (*struct.unpack(f"{order}i", head[:4].ljust(4, b"\0")), *_types(head, order))
        if size == 348 and kind in (2, 4, 8, 16, 64, 256, 512, 768) and bits in (8, 16, 32, 64):
            return True
    return False


def _types(head: bytes, order: str) -> tuple[int, int]:
    return struct.unpack(f"{order}hh", head[70:74]) if len(head) >= 74 else (0, 0)  # type: ignore[return-value]


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """Header and data of a pair of files (``.hdr``, ``.img``), or None where the name is that of one file.

    Raises
    ------
    FileError
        If one of the two is missing.
    """
    name = path.name
    packed = name.lower().endswith(".gz")
    stem, ending = (name[:-3] if packed else name)[:-4], (name[:-3] if packed else name)[-4:]
    if ending.lower() not in (".hdr", ".img"):
        return None
    upper = ending.isupper()
    tail = name[-3:] if packed else ""
    both = [path.with_name(stem + (e.upper() if upper else e) + tail) for e in (".hdr", ".img")]
    for one in both:
        if not one.is_file():
            got = f"'{path.name}' without '{one.name}' beside it"
            raise FileError(got, "both files of a pair, .hdr and .img", "copy both into one folder")
    return both[0], both[1]


def _content(path: Path, expected: int) -> bytes:
    """The first bytes of a file, decompressed, with its checksum verified."""
    packed = is_gzip(first_bytes(path, 2))
    if expected < 0 or expected > path.stat().st_size * (_LARGEST_RATIO if packed else 1):
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


def _open(path: Path) -> SpatialImage:
    """The image in memory, its header mended."""
    pair = pair_of(path)
    place = path if pair is None else pair[0]
    head = first_bytes(place, 4096)
    if is_gzip(head):
        head = unpacked(head, 4096)
        if not head:
            raise zlib.error
    if len(head) < SHORTEST and head[:4] in SIZES:
        raise EOFError
    if not is_nifti(head):
        return _other(path, pair, head)
    second = head[4:8] in (b"n+2\0", b"ni2\0")
    single = (nibabel.Nifti1Image, nibabel.Nifti2Image)[second]
    # Without what follows the header: its extensions may be longer than what was looked at.
    header = single.header_class(head[: 540 if second else 348], check=False)
    if int(header["intent_code"]) in _CIFTI:
        got = f"'{path}' is a CIFTI file (intent {int(header['intent_code'])}), values of a surface and of parts"
        raise FileError(got, "voxels of a volume", "give the NIfTI volume, or export one from it")
    forms = forms_of(header)
    mend_quaternion(header)
    size = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    offset = int(header["vox_offset"])
    if size < 0 or offset < 0:
        raise EOFError
    _check_size(path if pair is None else pair[1], header)
    block = header.binaryblock
    if pair is None:
        content = _content(path, offset + size)
        image = single.from_bytes(block + content[len(block) :])
    else:
        kind = (nibabel.Nifti1Pair, nibabel.Nifti2Pair)[second]
        image = kind.from_file_map(_in_memory(header=block, image=_content(pair[1], offset + size)))
    image.extra["forms"] = forms
    return image


def _check_size(path: Path, header: Any) -> None:
    """Refuse what is larger than the limits; of a file that is cut off, that is what is told."""
    n_stored = path.stat().st_size
    packed = is_gzip(first_bytes(path, 2))
    shape, itemsize = header.get_data_shape(), header.get_data_dtype().itemsize
    if math.prod(shape) * itemsize > n_stored * (_LARGEST_RATIO if packed else 1):
        raise EOFError
    check_size(path, shape, itemsize, n_stored if packed else None)


def _in_memory(**parts: bytes) -> dict[str, FileHolder]:
    return {name: FileHolder(fileobj=io.BytesIO(content)) for name, content in parts.items()}


def _other(path: Path, pair: tuple[Path, Path] | None, head: bytes) -> SpatialImage:
    """FreeSurfer's MGH, or an Analyze pair."""
    if pair is None and path.name.lower().endswith((".mgh", ".mgz")):
        kind = nibabel.freesurfer.MGHImage
        header = kind.header_class.from_fileobj(io.BytesIO(head))
        size = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        _check_size(path, header)
        return kind.from_bytes(_content(path, int(header.get_data_offset()) + size))
    if pair is None or not is_analyze(head):
        raise FileError(f"'{path}' holds {in_words(head)}", "a NIfTI image", "export or download it again")
    header = nibabel.AnalyzeHeader.from_fileobj(io.BytesIO(head), check=False)
    size = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    _check_size(pair[1], header)
    files = _in_memory(header=head[:348], image=_content(pair[1], max(0, int(header["vox_offset"])) + size))
    logger.warning("%s: an Analyze file does not say left from right; its first axis is taken to run to the left",
                   path.name)  # fmt: skip
    return nibabel.AnalyzeImage.from_file_map(files)


def _affine(image: SpatialImage, path: Path) -> np.ndarray:
    affine = np.array(image.affine, dtype=np.float64)
    if not isinstance(image, nibabel.Nifti1Pair):
        return affine
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        logger.warning("%s: neither sform nor qform is set; left and right are a guess", path.name)
    if int(header["sform_code"]) and int(header["qform_code"]):
        differ = np.abs(header.get_sform() - header.get_qform()).max()
        if not differ < 0.1:
            logger.warning("%s: sform and qform differ by up to %.3g mm; the sform is used", path.name, differ)
    unit = int(header["xyzt_units"]) & 7
    if unit in MILLIMETRES:
        logger.warning("%s: its header is in %ss; its affine is turned to mm", path.name, MILLIMETRES[unit][0])
        affine[:3] *= scale_of(header)
    return affine


def _channel_axis(shape: tuple[int, ...], path: Path) -> int:
    """The axis of the volumes: the fourth, or the fifth where the fourth is time of one point."""
    axis = 4 if len(shape) > 4 and shape[3] == 1 else 3
    if len(shape) < 1 or math.prod(shape[3:]) != math.prod(shape[axis : axis + 1]):
        got = f"'{path}' of shape {shape}"
        raise FileError(got, "three axes, or volumes on a fourth", "split it into files of one axis of volumes")
    return axis


def _values(image: SpatialImage, path: Path, volume: int | None) -> np.ndarray:
    """Values (channel, i, j, k), float32."""
    shape: tuple[int, ...] = image.shape
    axis = _channel_axis(shape, path)
    n = shape[axis] if len(shape) > axis else 1
    if volume is not None and not 0 <= volume < n:
        known = f"0 to {n - 1}" if n > 1 else "volume 0"
        raise ShapeError(f"volume {volume} of '{path}', which has {n}", known, "choose another")
    if volume is None and n > _MOST_CHANNELS:
        expected = f"three axes, or up to {_MOST_CHANNELS} channels on a fourth"
        raise FileError(
            f"'{path}' of shape {shape}",
            expected,
            f"take one volume with --volume N (0 to {n - 1}; in Python read(path, volume=N))",
        )
    if volume is not None and n > 1:
        index: list[Any] = [slice(None)] * len(shape)
        index[axis] = slice(volume, volume + 1)
        values = np.asarray(image.dataobj[tuple(index)], dtype=np.float32)
        n = 1
    else:
        values = image.get_fdata(dtype=np.float32, caching="unchanged")
    places = (*shape[:3], 1, 1)[:3]
    return np.moveaxis(values.reshape(*places, n), 3, 0)


def read_nifti(path: Path, volume: int | None = None) -> Volume:
    """Read a NIfTI file or pair, float32, with its scale factors applied.

    Compressed or not, and which NIfTI, is told by its content. A fourth axis becomes channels, or ``volume`` of it is
    taken. The file cannot say its unit: it is ``"intensity"``.

    Raises
    ------
    FileError
        If it is truncated, corrupt, holds colours or complex numbers, or is a time series.
    ShapeError
        If there is no such volume.
    """
    try:
        image = _open(path)
        if image.get_data_dtype().kind not in "iufb":
            got = f"'{path}' of type {image.get_data_dtype()}"
            raise FileError(got, "one real number for each voxel", "save magnitude or single channels")
        values = _values(image, path, volume)
        affine = _affine(image, path)
    except EOFError as error:
        raise FileError(f"'{path}' is truncated", "as many voxels as its header says", "copy it again") from error
    except (FileError, ShapeError):
        raise
    except _UNREADABLE as error:
        raise FileError(f"'{path}' is not a readable NIfTI file", "a whole one", "copy or export it again") from error
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return Volume(tensor, affine, source=str(path), stored=Stored(forms=image.extra.get("forms")))
