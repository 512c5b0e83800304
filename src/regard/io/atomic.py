"""Writes that happen whole or not at all: a temporary file in the same folder, flushed to the disk, then renamed."""

import csv
import errno
import io
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from regard.core.errors import FileError

__all__ = [
    "TEMPORARY",
    "announce",
    "append_tsv",
    "atomic",
    "disk_error",
    "name_error",
    "plain",
    "watch",
    "write_bytes",
    "write_json",
    "write_text",
    "write_tsv",
    "write_yaml",
]

TEMPORARY = ".regard-"
"""Start of the name of every temporary file: what a killed process may leave behind."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_watchers: list[Callable[[Path, bool], None]] = []


def _failed(path: Path | str, error: OSError) -> FileError:
    """The sentence for a write that the system refused."""
    if error.errno in _FULL:
        return FileError(
            f"no room left on the disk for '{path}'", "space for it", "free some and run again; what is done is kept"
        )
    why = error.strerror or type(error).__name__
    return FileError(f"cannot write '{path}' ({why})", "a place that can be written to", "choose another with -o")


def disk_error(error: BaseException) -> FileError | None:
    """The sentence for an error of a disk that is full or read-only; None for any other exception."""
    if not isinstance(error, OSError) or error.errno not in _FULL | {errno.EROFS}:
        return None
    return _failed(error.filename or "the results", error)


def name_error(error: BaseException) -> FileError | None:
    """The sentence for a name that no file can have, as when it is too long; None for any other exception."""
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    return FileError(
        f"a name that is too long for a file ({str(error.filename)[:80]}...)", "a shorter one", "rename it"
    )


@contextmanager
def watch(watcher: Callable[[Path, bool], None]) -> Iterator[None]:
    """Within this context, ``watcher`` is told of every path before it is written, and may refuse it.

    Parameters
    ----------
    watcher
        Called with the path, and whether it is a folder with all that it will hold.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def announce(path: str | Path, *, whole: bool = False) -> None:
    """Tell whoever watches that ``path`` will be written, for writers that do not go through `atomic`."""
    for watcher in list(_watchers):
        watcher(Path(path), whole)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; what is there at the end becomes ``path``, at once.

    Nothing is left behind, and an older ``path`` is untouched, when the block raises.

    Raises
    ------
    FileError
        If the disk is full, or the place cannot be written to.
    """
    path = Path(path)
    announce(path)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(6)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    # The new name itself must survive a power cut; systems that cannot open a folder do without.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises
    ------
    FileError
        If the disk is full, or the place cannot be written to.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def plain(value: Any) -> Any:
    """Turn ``value`` into what JSON and YAML hold; not-a-number and infinity become null."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return [plain(v) for v in sorted(value, key=str)]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def write_json(path: str | Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a JSON file of schema ``regard.<kind>/1``, its first key.

    Parameters
    ----------
    path
        Where to.
    kind
        Kind of file, such as ``"explanation"``.
    content
        The other keys, in their order; NaN and infinity become null.
    """
    body = {"schema": f"regard.{kind}/1", **plain(content)}
    write_text(path, json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: str | Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a YAML file of schema ``regard.<kind>/1``, its first key; parameters as `write_json`."""
    body = {"schema": f"regard.{kind}/1", **plain(content)}
    write_text(path, yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=1000))


def write_tsv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with tabs, a header and ``n/a`` for what is not known.

    A cell with a tab, a line break or a quotation mark is put in quotation marks, as spreadsheets do.
    """
    write_text(path, _cells([columns]) + _cells(rows))


def append_tsv(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows to a table that `write_tsv` wrote, in one write; what a full disk cuts off is taken back.

    Raises
    ------
    FileError
        If the disk is full, or the place cannot be written to.
    """
    try:
        with open(path, "r+b", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            content = _cells(rows).encode()
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise disk_error(error) or FileError(f"'{path}': {error}", "a file that can be written to") from error


def _cells(rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, dialect="excel-tab", lineterminator="\n")
    for row in rows:
        cells = [plain(cell) for cell in row]
        writer.writerow(["n/a" if cell is None else cell for cell in cells])
    return out.getvalue()
