"""The voxels of an NRRD file, read by the very header that was checked, and never more of them than it says.

Fields and their meaning: the definition of the NRRD format, version 5 (https://teem.sourceforge.net/nrrd/format.html).
"""

import bz2
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.core.errors import FileError
from regard.io.guard import require_file
from regard.io.limits import check_size

__all__ = ["LONGEST_HEADER", "check_fields", "read_values"]

LONGEST_HEADER = 2**20
"""Bytes that a header may take."""

_MOST_AXES = 16
_MOST_LINES = 10_000
_CHUNK = 2**20
_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_CODES = {name: code for code, names in _TYPES.items() for name in names.split(", ")}
_ENCODINGS = {
    **dict.fromkeys(("raw",), "raw"),
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    **dict.fromkeys(("txt", "text", "ascii"), "text"),
}
# Two spellings of one field: which of them counts is for no program to guess.
_SPELLINGS = (("data file", "datafile"), ("line skip", "lineskip"), ("byte skip", "byteskip"))


def check_fields(path: Path, header: Mapping[str, Any]) -> None:
    """Refuse a header that says one thing twice.

    Raises
    ------
    FileError
        If a field is there in two spellings.
    """
    for first, second in _SPELLINGS:
        if first in header and second in header:
            got = f"'{path}' with both '{first}: {header[first]}' and '{second}: {header[second]}'"
            raise FileError(got, "one of them", "correct the header")


def _field(header: Mapping[str, Any], *names: str, otherwise: Any = None) -> Any:
    return next((header[name] for name in names if name in header), otherwise)


def _data_file(path: Path, header: Mapping[str, Any]) -> Path:
    """The file that holds the voxels: the file itself, or one in the folder of the header."""
    name = _field(header, "data file", "datafile")
    if name is None:
        return path
    folder = path.resolve().parent
    target = (folder / str(name)).resolve()
    if isinstance(name, list) or "%" in str(name) or str(name).startswith("LIST") or folder not in target.parents:
        got = f"'{path}', whose data are elsewhere, or in several files"
        raise FileError(got, "data in the same file or folder", "save it as one .nrrd file")
    if not target.is_file():
        got = f"'{path}', whose data file '{name}' is not there"
        raise FileError(got, "that file beside its header", "copy both into one folder")
    return target


def read_values(path: Path, header: Mapping[str, Any], start: int) -> np.ndarray:
    """Voxels with the fastest axis first, as the header orders them.

    Parameters
    ----------
    path
        The file of the header.
    header
        Its fields.
    start
        Where the data begin in the file itself.

    Raises
    ------
    FileError
        If the data are not what the header says: truncated, elsewhere, of an unknown type or encoding, or too large.
    """
    code = _CODES.get(str(header["type"]).lower())
    encoding = _ENCODINGS.get(str(header["encoding"]).lower())
    sizes = [int(n) for n in header["sizes"]]
    lines, skip = (int(_field(header, f"{k} skip", f"{k}skip", otherwise=0)) for k in ("line", "byte"))
    if code is None or encoding is None:
        got = f"'{path}' of type {header['type']} in encoding {header['encoding']}"
        raise FileError(got, "real numbers, raw or compressed with gzip or bzip2", "export it again")
    if not 1 <= len(sizes) <= _MOST_AXES or len(sizes) != int(header["dimension"]) or min(sizes) < 1:
        raise FileError(
            f"'{path}' of sizes {str(sizes)[:80]}", "a whole number from 1 on for each axis", "export it again"
        )
    target = _data_file(path, header)
    n_stored = require_file(target)
    if not (0 <= lines <= _MOST_LINES and -1 <= skip <= n_stored):
        got = f"'{path}' with line skip {lines} and byte skip {skip}"
        raise FileError(got, f"up to {_MOST_LINES} lines, and no more bytes than the file has", "export it again")
    order = ">" if str(header.get("endian", "little")).lower() == "big" else "<"
    dtype = np.dtype(order + code)
    check_size(path, sizes, dtype.itemsize, n_stored if encoding in ("gzip", "bzip2") else None)
    n_voxels = math.prod(sizes)
    n_bytes = n_voxels * dtype.itemsize
    truncated = FileError(f"'{target}' is truncated", f"{n_bytes} bytes of voxels, as its header says", "copy it again")
    with target.open("rb") as stream:
        stream.seek(start if target == path else 0)
        for _ in range(lines):
            stream.readline(_CHUNK)
        if encoding == "text":
            stream.seek(max(0, skip), os.SEEK_CUR)
            values = _text(stream, n_voxels, dtype)
            if values.size != n_voxels:
                raise truncated
            return values.reshape(sizes, order="F")
        content = _raw(stream, skip, n_bytes) if encoding == "raw" else _unpacked(stream, encoding, skip, n_bytes)
    if len(content) < n_bytes:
        raise truncated
    return np.frombuffer(bytearray(content), dtype).reshape(sizes, order="F")


def _raw(stream: IO[bytes], skip: int, n_bytes: int) -> bytes:
    if skip < 0:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - n_bytes))
    else:
        stream.seek(skip, os.SEEK_CUR)
    return stream.read(n_bytes) if n_bytes <= os.fstat(stream.fileno()).st_size else b""


def _unpacked(stream: IO[bytes], encoding: str, skip: int, n_bytes: int) -> bytearray:
    """Decompressed bytes, no more than are wanted; with a negative skip the last ones, else those after ``skip``."""
    packed = zlib.decompressobj(47) if encoding == "gzip" else bz2.BZ2Decompressor()
    wanted = n_bytes + max(0, skip)
    content = bytearray()
    while len(content) < wanted and not packed.eof:
        chunk = stream.read(_CHUNK)
        if not chunk:
            break
        while True:
            content += packed.decompress(chunk, wanted - len(content))
            chunk = packed.unconsumed_tail if encoding == "gzip" else b""  # type: ignore[union-attr]
            more = bool(chunk) if encoding == "gzip" else not packed.needs_input  # type: ignore[union-attr]
            if len(content) >= wanted or packed.eof or not more:
                break
    return content[max(0, skip) :]


def _text(stream: IO[bytes], n_voxels: int, dtype: np.dtype) -> np.ndarray:
    content = stream.read()
    numbers = content.split(maxsplit=n_voxels)[:n_voxels]
    kind = float if dtype.kind == "f" else int
    return np.array([kind(n) for n in numbers], dtype=dtype)
