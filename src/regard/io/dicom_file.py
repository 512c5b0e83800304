"""The dataset of a DICOM file, in which neither a claimed length nor a deflated part takes more memory than allowed."""

import zlib
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from regard.core.errors import FileError
from regard.io.first_bytes import first_bytes
from regard.io.guard import BoundedFile
from regard.io.limits import LARGEST, limited

__all__ = ["read_dataset"]

_MARK = DeflatedExplicitVRLittleEndian.encode()
_START = 132 + 12  # preamble, mark, and the element that holds the length of what follows
_CHUNK = 2**20


def read_dataset(path: Path, *, pixels: bool = True) -> Dataset:
    """Read a DICOM file, with or without the marks of its beginning.

    Parameters
    ----------
    path
        The file.
    pixels
        Whether its pixels are wanted.

    Raises
    ------
    FileError
        If it is no file, or deflated and larger than `regard.io.limits.LARGEST`.
    """
    if limited() and _MARK in first_bytes(path):
        _check_deflated(path)
    with BoundedFile(path) as stream:
        return pydicom.dcmread(stream, stop_before_pixels=not pixels, force=True)


def _check_deflated(path: Path) -> None:
    """Count what the deflated part becomes, without keeping it."""
    length = pydicom.filereader.read_file_meta_info(path).get("FileMetaInformationGroupLength") or 0
    packed, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with BoundedFile(path) as stream:
        stream.seek(_START + int(length))
        while chunk := stream.read(_CHUNK):
            while chunk and not packed.eof:
                n_bytes += len(packed.decompress(chunk, _CHUNK))
                chunk = packed.unconsumed_tail
                if n_bytes > LARGEST:
                    got = f"'{path}', whose deflated part becomes more than {LARGEST / 2**30:.0f} GiB"
                    raise FileError(got, "a smaller image", "lift the limits with --no-limits (limits=False in Python)")
