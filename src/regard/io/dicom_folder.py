"""The DICOM files of a folder, and the one series that is meant.

No file is left out in silence that may be a slice: a volume would be a slice short.
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from regard.core.errors import FileError, GeometryError
from regard.io.dicom_plane import Plane
from regard.io.dicom_series import listed
from regard.io.first_bytes import first_bytes, in_words
from regard.io.reading import is_dicom

__all__ = ["chosen_series", "folder_files"]

logger = logging.getLogger(__name__)


def folder_files(folder: Path) -> list[Path]:
    """DICOM files in a folder and its subfolders, without hidden ones and the index DICOMDIR.

    Raises
    ------
    FileError
        If a file beside DICOM images is empty, begins like DICOM but is not, or is named like them and is none.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    visible = [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    images = [p for p in visible if p.name.upper() != "DICOMDIR" and is_dicom(p)]
    names: dict[Path, set[str]] = {}
    for path in images:
        names.setdefault(path.parent, set()).add(_pattern(path.name))
    others = sorted(set(visible) - set(images))
    for path in (p for p in others if p.name.upper() != "DICOMDIR"):
        head = first_bytes(path)
        siblings = names.get(path.parent)
        cut = head[:128].count(0) == len(head[:128]) or b"DICM" in head[:256]
        like = siblings is not None and (not head or cut or _pattern(path.name) in siblings)
        if like or path.suffix.lower() == ".dcm":
            held = f" (it holds {in_words(head)})" if head else ""
            where = " beside DICOM images" if siblings is not None else ""
            got = f"'{path}' is empty, or not DICOM{where}{held}"
            raise FileError(got, "a whole file", "export it again, or remove it")
    if others:
        logger.info("skipped %d files that are not DICOM", len(others))
    return images


def _pattern(name: str) -> str:
    """A file's name with its numbers taken out: slices of one series have one pattern."""
    return re.sub(r"#(\.#)+", "#", re.sub(r"[0-9]+", "#", name))


def chosen_series(planes: Sequence[Plane], series: str | int | None, what: str) -> list[Plane]:
    """The planes of one series, by SeriesInstanceUID or SeriesNumber; all of them where none is asked for.

    Raises
    ------
    GeometryError
        If no series, or more than one, is called so.
    """
    if series is None:
        return list(planes)
    text = str(series).strip()
    kept = [p for p in planes if text in (p.series, _number(p))]
    if len({p.series for p in kept}) == 1:
        return kept
    known = listed(in_order(kept or planes))
    if kept:
        raise GeometryError(f"{what} with several series of the number {text}: {known}", "one series", "give its UID")
    raise GeometryError(
        f"{what} without the series {text}; it has {known}", "one of these", "correct --series (series= in Python)"
    )


def in_order(planes: Sequence[Plane]) -> list[str]:
    """Each series of some planes in words: its number, its UID, and how many images it has."""
    counts = Counter((_number(p), p.series) for p in planes)
    return [f"number {number or '?'}, {uid or 'without a UID'} ({n} images)"
            for (number, uid), n in counts.most_common()]  # fmt: skip


def _number(plane: Plane) -> str:
    value = plane.header.get("SeriesNumber")
    return "" if value in (None, "") else str(value)
