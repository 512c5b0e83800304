"""The files that make one image: the two of a pair, or a header and the data that it names."""

import re
from pathlib import Path

from regard.io.first_bytes import HEAD, first_bytes
from regard.io.wfdb import wfdb_files

__all__ = ["companions"]

_NAMED = {".mhd": rb"ElementDataFile\s*=\s*(.+)", ".nhdr": rb"data ?file\s*:\s*(.+)"}


def companions(path: Path) -> list[Path]:
    """A file and, of an image in two files, the other one; each only if it exists."""
    ending = path.suffix.lower()
    if ending in (".hea", ".dat", ".mat"):
        return wfdb_files(path)
    if ending in (".hdr", ".img"):
        pair = [path.with_suffix(e.upper() if path.suffix.isupper() else e) for e in (".hdr", ".img")]
        return [p for p in pair if p.is_file()] or [path]
    if ending in _NAMED and path.is_file():
        match = re.search(_NAMED[ending], first_bytes(path, 8 * HEAD), re.IGNORECASE)
        other = path.parent / match[1].decode("utf-8", "replace").strip() if match else path
        inside = path.resolve().parent in other.resolve().parents
        if other != path and inside and other.is_file():
            return [path, other]
    return [path]
