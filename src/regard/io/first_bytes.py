"""What a file seems to hold, by its first bytes: a refusal says what was found, and guesses no cause."""

import zlib
from pathlib import Path

from regard.core.errors import FileError

__all__ = ["HEAD", "first_bytes", "in_words", "is_gzip", "unpacked"]

HEAD = 1024
"""Bytes that are looked at."""

_KNOWN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for (git lfs pull brings it)"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"GIF8", "a GIF picture"),
    (b"NRRD", "an NRRD image"),
    (b"MATLAB", "a MATLAB file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x93NUMPY", "a NumPy array"),
)


def first_bytes(path: Path, n: int = HEAD) -> bytes:
    """The first ``n`` bytes of a file.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(n)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileError(f"cannot read '{path}' ({why})", "a file that can be read", "check its permissions") from error


def is_gzip(head: bytes) -> bool:
    """Whether a file is compressed with gzip, whatever its ending says."""
    return head[:2] == b"\x1f\x8b"


def unpacked(head: bytes, most: int = HEAD) -> bytes:
    """The beginning of what a gzip file holds; as many bytes as its own beginning gives, up to where it is corrupt."""
    stream, inside = zlib.decompressobj(31), b""
    for start in range(0, len(head), 64):
        try:
            inside += stream.decompress(head[start : start + 64], most - len(inside))
        except zlib.error:
            break
        if len(inside) >= most or stream.eof:
            break
    return inside


def in_words(head: bytes) -> str:
    """What a file with these first bytes seems to hold, for an error."""
    for mark, words in _KNOWN:
        if head.startswith(mark):
            return words
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), such as a login or an error of a download"
    if start.startswith((b"<?xml", b"<")):
        return "XML"
    if head and not head.strip(b"\0"):
        return f"{len(head)} bytes of 0 at its beginning"
    text = head[:60].decode("ascii", "replace")
    if text and all(c.isprintable() or c in "\t\r\n" for c in text):
        return f"text that begins with '{' '.join(text.split())[:32]}'"
    return f"bytes that begin with {head[:8].hex(' ')}" if head else "nothing"
