"""What was in the files that a run used: contents decide whether it may go on, paths do not."""

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from regard.core.errors import FileError, FolderError
from regard.io.atomic import announce
from regard.io.companions import companions
from regard.io.tables import Case

__all__ = ["CONTENTS", "Contents", "content_sha256", "fingerprint", "named_contents"]

CONTENTS = "contents.tsv"
"""Name of the table of what was in the images of the cases that are done."""

_COLUMNS = ("case", "input", "sha256", "bytes", "modified_ns")
_BLOCK = 2**20


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return companions(path)
    return sorted(p for p in path.rglob("*") if p.is_file())


def content_sha256(path: str | Path) -> str:
    """Checksum of a file, or of a folder with the names and contents of all its files.

    Raises
    ------
    FileError
        If something cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        for file in _files_of(path):
            if file != path:
                named = file.relative_to(path if path.is_dir() else path.parent)
                digest.update(named.as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileError(f"'{path}' cannot be read ({why})", "a readable file or folder", "check the path") from error
    return digest.hexdigest()


def fingerprint(path: str | Path) -> tuple[int, int]:
    """Size [byte] and time of the last change [ns] of a file, or of all files of a folder: other ones are read anew."""
    try:
        states = [p.stat() for p in _files_of(Path(path))]
    except OSError:
        return -1, -1
    return sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=-1)


def named_contents(**texts: str | Path | None) -> dict[str, str]:
    """Checksums of the files that options name, for the configuration of a run.

    Parameters
    ----------
    **texts
        Option to its value: a path, or a text that holds some, such as ``mean:liver.nii.gz#1``. What names no file is
        left out.

    Returns
    -------
    dict
        Option to checksum.
    """
    sums = {}
    for option, text in texts.items():
        files = [] if text is None else _files_in(str(text))
        if files:
            parts = [content_sha256(file) for file in files]
            sums[option] = parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()
    return sums


def _files_in(text: str) -> list[str]:
    """The files that a text of an option names, in their order; a name may itself hold ``:``, ``,``, ``#`` or ``@``."""
    if Path(text).exists():
        return [text]
    for mark in ("@", "#"):
        body, found, _ = text.rpartition(mark)
        if found and Path(body).exists():
            return [body]
    kind, colon, rest = text.partition(":")
    if colon and kind.replace("-", "").isalpha():
        return _files_in(rest)
    first, comma, others = text.partition(",")
    return _files_in(first) + _files_in(others) if comma else []


@dataclass(frozen=True)
class _Recorded:
    sha256: str
    fingerprint: tuple[int, int]


class Contents:
    """What was in the images of the cases that are done, as the table `CONTENTS` of a run folder keeps it.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CONTENTS
        self._recorded: dict[tuple[str, str], _Recorded] = {}
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            with self.path.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream, dialect="excel-tab"):
                    # The last row of a case counts; one that was cut off by a crash does not.
                    if all(row.get(c) for c in _COLUMNS):
                        states = int(row["bytes"]), int(row["modified_ns"])
                        self._recorded[row["case"], row["input"]] = _Recorded(row["sha256"], states)
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            got = f"'{self.path}' cannot be read"
            raise FileError(got, "a table with tabs", "run again with --overwrite") from error

    def record(self, case: Case) -> None:
        """Note what is in the images of a case, before its first result is saved.

        Raises
        ------
        FileError
            If an image cannot be read, or the table cannot be written to.
        """
        rows = []
        for name, path in case.inputs.items():
            states = fingerprint(path)
            known = self._recorded.get((case.case, name))
            if known is not None and known.fingerprint == states:
                continue
            self._recorded[case.case, name] = _Recorded(content_sha256(path), states)
            rows.append((case.case, name, self._recorded[case.case, name].sha256, *states))
        if not rows:
            return
        announce(self.path)
        try:
            fresh = not self.path.exists()
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, dialect="excel-tab", lineterminator="\n")
                writer.writerows([_COLUMNS, *rows] if fresh else rows)
        except OSError as error:
            got = f"cannot write '{self.path}' ({error.strerror or type(error).__name__})"
            raise FileError(got, "a writable folder with room", "free some") from error

    def check(self, case: Case) -> None:
        """Refuse a case whose image is another one than when its results were made.

        Raises
        ------
        FolderError
            If the contents differ; the case and the input are named.
        """
        for name, path in case.inputs.items():
            known = self._recorded.get((case.case, name))
            if known is None or not os.path.lexists(path) or fingerprint(path) == known.fingerprint:
                continue
            if content_sha256(path) != known.sha256:
                got = f"the image '{path}' of case '{case.case}' ({name}), which has changed since it was explained"
                raise FolderError(
                    got,
                    "the image as it was, to go on",
                    "restore it, choose another folder with -o, or --overwrite",
                )
