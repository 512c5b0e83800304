"""MetaImage volumes (``.mha``, or ``.mhd`` with its data in another file of the same folder).

The header is lines of ``Key = value`` up to ``ElementDataFile``; positions are in LPS millimetres, as ITK has them
(https://itk.org/Wiki/ITK/MetaIO/Documentation).
"""

import math
import zlib
from pathlib import Path

import numpy as np
import torch

from regard.core.errors import FileError, GeometryError, InputError
from regard.core.stored import Stored
from regard.core.volume import PIXEL_AFFINE, Volume

__all__ = ["is_metaimage", "read_metaimage"]

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 2**16
_LARGEST_RATIO = 1100  # deflate cannot do better than 1032 to 1
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_LINE = 120


def is_metaimage(head: bytes) -> bool:
    """Whether a file begins as a MetaImage does: with the line ObjectType = Image, or NDims = ... ."""
    first = head[:_LINE].split(b"\n")[0].replace(b" ", b"").strip().lower()
    return first in (b"objecttype=image",) or (first.startswith(b"ndims=") and first[6:].isdigit())


def read_metaimage(path: Path) -> Volume:
    """Read a MetaImage of two to four axes, float32; a fourth axis and the elements' channels become channels.

    Raises
    ------
    FileError
        If it is truncated, corrupt, of an unknown type, or its data lie elsewhere.
    GeometryError
        If its directions are no directions.
    """
    header, start = _header(path)
    try:
        size = [int(v) for v in header["dimsize"].split()]
        n_channels = int(header.get("elementnumberofchannels", "1"))
        kind = _TYPES.get(header["elementtype"].upper())
        shape = [*reversed(size), *([n_channels] if n_channels > 1 else [])]
        if kind is None or not 2 <= len(size) <= 4 or min(size) < 1 or n_channels < 1:
            got = f"'{path}' of type {header['elementtype']} and {len(size)} axes of {header['dimsize']}"
            raise FileError(got, f"2 to 4 axes of {', '.join(_TYPES)}", "export it again")
        big = header.get("binarydatabyteordermsb", header.get("elementbyteordermsb", "False")).lower() == "true"
        dtype = np.dtype((">" if big else "<") + kind)
        content = _data(path, header, start, math.prod(shape) * dtype.itemsize)
        values = np.frombuffer(content, dtype=dtype).reshape(shape)
        slope = float(header.get("elementtointensityfunctionslope", "1"))
        offset = float(header.get("elementtointensityfunctionoffset", "0"))
        affine = _affine(header, len(size), path)
    except InputError:
        raise
    except (KeyError, ValueError, OverflowError) as error:
        got = f"'{path}' has a header that is not whole"
        raise FileError(got, "DimSize, ElementType and ElementDataFile", "export it again") from error
    if n_channels == 1:
        values = values[None] if len(size) < 4 else values
    else:
        if len(size) == 4:
            raise FileError(f"'{path}' with {n_channels} channels on 4 axes", "one of the two", "split it into files")
        values = np.moveaxis(values, -1, 0)
    # (channel, ..., j, i) as stored to (channel, i, j, k).
    values = values.transpose(0, *range(values.ndim - 1, 0, -1))
    values = (values.astype(np.float64) * slope + offset).astype(np.float32) if (slope, offset) != (1, 0) else values
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if len(size) == 2:
        stored = Stored(levels=None if limits is None else (float(limits.min), float(limits.max)))
        tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[..., None]
        return Volume(tensor, PIXEL_AFFINE, "grey level", str(path), has_geometry=False, stored=stored)
    return Volume(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)), affine, source=str(path))


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Keys in lower case, and where the data begin in the file itself."""
    with path.open("rb") as stream:
        text = stream.read(_LONGEST_HEADER)
    header: dict[str, str] = {}
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        key, equals, value = text[start:end].decode("latin-1").partition("=")
        start = end + 1
        if not equals:
            break
        header[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return header, start
    raise FileError(f"'{path}' has a header without ElementDataFile", "a MetaImage header", "export it again")


def _data(path: Path, header: dict[str, str], start: int, n_bytes: int) -> bytes:
    """The bytes of all elements, decompressed, as many as the header says."""
    name = header["elementdatafile"]
    folder = path.resolve().parent
    target = path if name.upper() == "LOCAL" else (folder / name).resolve()
    if target != path and ("%" in name or name.upper().startswith("LIST") or folder not in target.parents):
        got = f"'{path}', whose data are elsewhere, or in several files"
        raise FileError(got, "data in the same file or folder", "save it as one .mha file")
    if not target.is_file():
        got = f"'{path}', whose data file '{name}' is not there"
        raise FileError(got, "that file beside its header", "copy both into one folder")
    skip = start if target == path else int(header.get("headersize", "0"))
    packed = header.get("compresseddata", "False").lower() == "true"
    truncated = FileError(f"'{target}' is truncated", f"{n_bytes} bytes of voxels, as its header says", "copy it again")
    length = target.stat().st_size
    if n_bytes > length * (_LARGEST_RATIO if packed else 1):
        raise truncated
    with target.open("rb") as stream:
        stream.seek(max(0, length - n_bytes) if skip < 0 else skip)
        content = stream.read() if packed else stream.read(n_bytes)
    if packed:
        try:
            content = zlib.decompressobj(47).decompress(content, n_bytes)
        except zlib.error as error:
            raise FileError(f"'{target}' is corrupt", "deflated voxels, as its header says", "copy it again") from error
    if len(content) < n_bytes:
        raise truncated
    return content


def _affine(header: dict[str, str], n_axes: int, path: Path) -> np.ndarray:
    """Voxel (i, j, k) to RAS mm: a column of TransformMatrix per axis, as ITK keeps directions."""
    spacing = [float(v) for v in header.get("elementspacing", header.get("elementsize", "1 " * n_axes)).split()]
    place = next((header[k] for k in ("offset", "position", "origin") if k in header), "0 " * n_axes)
    origin = [float(v) for v in place.split()]
    matrix = header.get("transformmatrix", header.get("rotation", header.get("orientation")))
    numbers = np.eye(n_axes) if matrix is None else np.array([float(v) for v in matrix.split()])
    directions = numbers.reshape(n_axes, n_axes).T
    affine = np.eye(4)
    n = min(n_axes, 3)
    affine[:n, :n] = directions[:n, :n] * np.array(spacing[:n])
    affine[:n, 3] = origin[:n]
    if np.abs(np.linalg.norm(directions[:n, :n], axis=0) - 1).max() > 1e-2:
        got = f"'{path}' with TransformMatrix {matrix}"
        raise GeometryError(got, "directions of length 1", "export it again")
    affine[:3] *= _LPS_TO_RAS[:, None]
    return affine
