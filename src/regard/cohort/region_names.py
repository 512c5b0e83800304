"""Names of an atlas's labels, from the tables that atlases come with.

Told by what a file holds, not by its ending:

========================================  ===================================================================
``index`` and ``name`` in a header        BIDS, nilearn; also ``ROI Label`` and ``ROI Name`` (Schaefer's centroids)
``10 Left-Thalamus 0 118 14 0``           FreeSurfer, 3D Slicer, Schaefer's ``_order.txt``
``1 255 0 0 1 1 1 "left caudate"``        ITK-SNAP
``1 0.5 0.2 0.2 V1``                      FSLeyes
``HIP-rh`` above ``1 171 243 85 255``     Connectome Workbench, Tian with Schaefer
``1 left half``                           number and name
``HIP-rh``                                names alone, a line each: the labels 1, 2, 3 and on (Tian, nilearn's lists)
``<label index="0">Frontal Pole``         FSL; a probabilistic atlas's image counts from 1 where its table counts from 0
``<label><index>2001</index><name>``      AAL
========================================  ===================================================================
"""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path

from regard.core.errors import CardError, FileError
from regard.io.guard import parsing, read_text

__all__ = ["read_region_names"]

_HEADERS = (("index", "name"), ("roi label", "roi name"))
_NUMBER = r"[+-]?\d*\.?\d+"
_SNAP = re.compile(rf'(\d+)(?:\s+{_NUMBER}){{6}}\s+"(.*)"')
_FREESURFER = re.compile(r"(\d+)\s+(.*?[^\W\d_].*?)(?:\s+\d+){3,4}")
_FSLEYES = re.compile(r"(\d+)(?:\s+(?:[01]\.\d+|[01])){3}\s+(.*[^\W\d_].*)")
_PAIR = re.compile(r"(\d+)(?:\s*[\t,]\s*|\s+)(.*[^\W\d_].*)")
_COLOUR = re.compile(r"(\d+)(?:\s+\d+){4}")
_BACKGROUND = ("background", "unknown")

Named = Iterable[tuple[int, str]]


def read_region_names(path: str | Path, *, highest: int | None = None) -> dict[int, str]:
    """Name of each label, background left out.

    Parameters
    ----------
    path
        A table of any kind named above.
    highest
        The atlas's largest label. Names without numbers are taken only where there are as many: by their order alone
        those of an atlas that leaves numbers out would be given to other labels.

    Raises
    ------
    FileError
        If it is no text, or no XML where it begins as such.
    CardError
        If it is none of these kinds, gives a label two names, or has names without numbers for other labels.
    """
    path = Path(path)
    text = read_text(path, "table of region names").removeprefix("\ufeff")
    if "\0" in text:
        raise FileError(f"'{path}', which holds bytes of 0", "a table of region names as text", "save it again as text")
    found = _of_xml(path, text) if text.lstrip().startswith("<") else _of_lines(path, text, highest)
    names: dict[int, str] = {}
    for label, name in found:
        told = name.strip() or f"label {label}"
        if names.get(label, told) != told:
            raise CardError(f"the label {label} twice in '{path}'", "each once", "remove one")
        names[label] = told
    names.pop(0, None)
    return names


def _of_lines(path: Path, text: str, highest: int | None) -> Named:
    header = _of_header(path, text)
    if header is not None:
        return header
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "%"))]
    for kind in (_SNAP, _FREESURFER, _FSLEYES, _PAIR):
        matched = [kind.fullmatch(line) for line in lines]
        if lines and all(matched):
            return [(int(m[1]), m[2]) for m in matched if m]
    keys = [_COLOUR.fullmatch(line) for line in lines[1::2]]
    if lines and len(lines) % 2 == 0 and all(keys):
        return [(int(key[1]), name) for key, name in zip(keys, lines[::2], strict=True) if key]
    if lines and path.suffix.lower() not in (".csv", ".tsv") and not any("\t" in line for line in lines):
        named = list(enumerate(lines, 0 if lines[0].lower() in _BACKGROUND else 1))
        if highest is None or named[-1][0] == highest:
            return named
        got = f"'{path}' with {named[-1][0]} names without numbers, and an atlas with labels up to {highest}"
        raise CardError(got, "as many names as labels", "write the number before each name")
    got = f"'{path}' that begins with '{lines[0][:60]}'" if lines else f"'{path}' without a row"
    raise CardError(
        got,
        "the columns index and name, or a table of FreeSurfer, FSL, ITK-SNAP, FSLeyes, Connectome Workbench or nilearn",
        "rename its columns, or write a number and a name a line",
    )


def _of_header(path: Path, text: str) -> Named | None:
    """Rows of a table with a header of two known columns; None where there is no such header."""
    first = text.lstrip().partition("\n")[0]
    delimiter = "\t" if "\t" in first else ","
    columns = [cell.strip().strip('"').lower() for cell in first.split(delimiter)]
    pair = next((pair for pair in _HEADERS if set(pair) <= set(columns)), None)
    if pair is None:
        return None
    label, name = (columns.index(column) for column in pair)
    with parsing(path, "table of region names", do="save it again"):
        rows = list(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter, strict=True))[1:]
    return list(_cells(path, rows, label, name))


def _cells(path: Path, rows: Iterable[list[str]], label: int, name: int) -> Iterator[tuple[int, str]]:
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        yield _whole(path, row[label] if label < len(row) else ""), row[name] if name < len(row) else ""


def _whole(path: Path, text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise CardError(f"'{text}' as a label in '{path}'", "a whole number", "correct it") from None


def _of_xml(path: Path, text: str) -> Named:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FileError(f"'{path}', XML that defines entities", "a table of region names", "take these lines out")
    with parsing(path, "table of region names in XML", do="save it again"):
        root = ElementTree.fromstring(text)
    labels = list(root.iter("label"))
    # FSL's tables number the volumes of a probabilistic atlas from 0; its label images hold that number and 1.
    kind = (root.findtext("header/type") or "").strip().lower()
    first = 1 if kind.startswith("probab") else 0
    if not labels:
        raise CardError(f"'{path}' without a label", "XML of FSL or AAL", "check the file")
    return [_element(path, one, first) for one in labels]


def _element(path: Path, one: ElementTree.Element, first: int) -> tuple[int, str]:
    if one.get("index") is None:
        return _whole(path, one.findtext("index")), one.findtext("name") or ""
    return _whole(path, one.get("index")) + first, one.text or ""
