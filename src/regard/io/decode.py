"""The process that runs native decoders: started by `regard.io.decoder` as a script, it imports nothing of Regard.

A decoder written in C may end its whole process at a corrupt file, or never answer; here it takes nothing with it.
Each line of standard input names a file as JSON; the answer is a line of JSON and then the bytes that it announces.
"""

import json
import os
import sys
from typing import IO, Any

__all__ = ["answer", "main"]

_UNIT = 2**20
_ORIENTATION = 0x0112


def _dicom(path: str) -> tuple[dict[str, Any], bytes]:
    """Stored values of a DICOM file, after its decoder and colour transform."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    stored = dataset.pixel_array
    return {"shape": stored.shape, "dtype": stored.dtype.str}, stored.tobytes()


def _tiff(path: str) -> tuple[dict[str, Any], bytes]:
    """Pixels of the first page of a TIFF as Pillow decodes them, in its mode."""
    from PIL import Image

    with Image.open(path, formats=("TIFF",)) as image:
        image.load()
        palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
        # Pillow has turned it by then, as its orientation says, where it does so at all.
        left = image.getexif().get(_ORIENTATION)
        return {"mode": image.mode, "size": image.size, "palette": palette, "orientation": left}, image.tobytes()


_DECODERS = {"dicom": _dicom, "tiff": _tiff}


def answer(line: str) -> tuple[dict[str, Any], bytes]:
    """What is in the file that a line names, or what its decoder raised."""
    asked = json.loads(line)
    try:
        said, content = _DECODERS[asked["decoder"]](asked["path"])
    except MemoryError:
        return {"error": "MemoryError", "text": ""}, b""
    except BaseException as error:  # a decoder written in Rust panics as none of the usual kinds
        return {"error": type(error).__name__, "text": str(error)[:300]}, b""
    return said, content


def _limit_memory(n_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    for which in (resource.RLIMIT_AS, resource.RLIMIT_CORE):
        _, hard = resource.getrlimit(which)
        wanted = n_bytes if which == resource.RLIMIT_AS else 0
        resource.setrlimit(which, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _serve(lines: IO[str], out: IO[bytes]) -> None:
    for line in lines:
        said, content = answer(line)
        out.write(json.dumps({**said, "bytes": len(content)}).encode() + b"\n")
        view = memoryview(content)
        for start in range(0, len(content), _UNIT):
            out.write(view[start : start + _UNIT])
        out.flush()


def main() -> None:
    """Answer until standard input ends; the one argument is the memory that may be used [byte], 0 for no limit."""
    # What a decoder prints must not mix with the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if limit := int(sys.argv[1]):
        _limit_memory(limit)
    _serve(sys.stdin, out)


if __name__ == "__main__":
    main()
