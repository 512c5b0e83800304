"""One guard around all that parses the bytes of a file: whatever it makes a library raise is told as a `FileError`.

A broken file fails in a different way at each byte, and libraries let most of it through (KeyError, struct.error,
RecursionError, MemoryError ...). Nothing but parsing belongs inside the guard.
"""

import io
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regard.core.errors import FileError, RegardError

__all__ = ["BoundedFile", "exists", "parsing", "read_text", "require_file"]

_SOURCE = str(Path(__file__).parents[1])
# Raised by a line of Regard itself these are faults of Regard, whatever the file holds.
_MISTAKES = (AssertionError, NameError, ImportError, NotImplementedError)
_KINDS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder",
}


def require_file(path: Path) -> int:
    """Size of a file [byte]; a pipe, a device, a socket or a folder is refused before anything waits for it.

    Raises
    ------
    FileError
        If it is missing, cannot be reached, or is no file.
    """
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from error
    if not stat.S_ISREG(state.st_mode):
        kind = next((words for test, words in _KINDS.items() if test(state.st_mode)), "something else")
        raise FileError(f"'{path}', which is {kind}", "a file", "check the path")
    return state.st_size


def exists(path: str | Path) -> bool:
    """Whether there is something at a path; a name that no file can have (too long, with a 0) is nothing."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _unreachable(path: Path, error: Exception) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError(f"no file '{path}'", "an existing file", "check the path")
    why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    name = str(path) if len(str(path)) <= 300 else f"{str(path)[:300]}..."
    return FileError(f"cannot read '{name}' ({why})", "a file that can be read", "check its name and its permissions")


@contextmanager
def parsing(path: str | Path, what: str, *, do: str = "copy or export it again") -> Iterator[None]:
    """Turn any exception of the block into a `FileError` that names the file, its kind and what was raised.

    Regard's own errors pass as they are, and so do mistakes that a line of Regard itself makes.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, such as ``"NIfTI volume"``.
    do
        What the user can do.

    Raises
    ------
    FileError
        Instead of any exception of a library.
    """
    try:
        yield
    except RegardError:
        raise
    except MemoryError as error:
        got = f"'{path}', which needs more memory than there is"
        raise FileError(got, f"a smaller {what}", "crop it, or use a larger machine") from error
    except Exception as error:
        if isinstance(error, _MISTAKES) and _is_of_regard(error):
            raise
        if isinstance(error, OSError) and error.strerror:
            raise _unreachable(Path(path), error) from error
        got = f"'{path}' is not a readable {what} ({_size(Path(path))}; {type(error).__name__})"
        raise FileError(got, f"a whole {what}", do) from error


def _is_of_regard(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_SOURCE)


def _size(path: Path) -> str:
    try:
        return "a folder" if path.is_dir() else f"of {path.stat().st_size} bytes"
    except (OSError, ValueError):
        return "of unknown size"


class BoundedFile(io.BufferedReader):
    """A file opened for reading, in which no read asks for memory beyond its end, whatever its header says.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._size = require_file(path)
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file; more than is left is what is left."""
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = max(0, min(size, self._size - self.tell()))
        return super().read(size)


def read_text(path: Path, what: str, *, largest: int = 2**26) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path
        The file.
    what
        What it should be.
    largest
        Bytes at most.

    Raises
    ------
    FileError
        If it is no file, too large, or no text.
    """
    size = require_file(path)
    if size > largest:
        raise FileError(f"'{path}' of {size} bytes", f"a {what} of at most {largest}", "give the file that is meant")
    with parsing(path, f"{what} in UTF-8", do="check the file"):
        return path.read_text(encoding="utf-8-sig")
