"""Radiographs in the layouts in which they are handed out: JSRT, Shenzhen, Montgomery, NIH, TBX11K; MURA.

Each reader looks at names and tables, not at pixels, and gives every case or the reason why it cannot be used. Boxes
come in pixels of the image as it lies there, also where the table states them for the original size.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from regard.core.errors import CardError, FileError
from regard.datasets.collection import Box, Collection, Gathered, Radiograph
from regard.io.guard import parsing, require_file

__all__ = [
    "LAYOUTS",
    "read_jsrt",
    "read_layout",
    "read_montgomery",
    "read_mura",
    "read_nih",
    "read_shenzhen",
    "read_tbx11k",
]

_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_NIH_PIXELS = 1024
_TBX_PIXELS = 512


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.suffix.lower() in _IMAGES and f.is_file())


def _rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [c for c in needed if c not in (reader.fieldnames or ())]
        if missing:
            raise CardError(f"'{path}' without the column {missing[0]}", f"the columns {', '.join(needed)}", "check it")
        yield from reader


def _size(path: Path) -> tuple[int, int]:
    require_file(path)
    with parsing(path, "picture"), Image.open(path) as image:
        return image.size


# JSRT: JPCLN001 to JPCLN154 have a nodule, JPCNN001 to JPCNN093 have none.

_JSRT = re.compile(r"^(JPC(?:LN|NN)\d{3})$", re.IGNORECASE)
_TWIN = re.compile(r"bse|bone|soft|suppress", re.IGNORECASE)
_MASK = re.compile(r"mask", re.IGNORECASE)


def _in_folder(pattern: re.Pattern[str], path: Path, folder: Path) -> bool:
    """Whether a folder between ``folder`` and the file has a name that the pattern finds."""
    return any(pattern.search(part) for part in path.relative_to(folder).parent.parts)


def read_jsrt(folder: str | Path) -> Collection:
    """Read the radiographs of the Japanese Society of Radiological Technology with their bone-suppressed twins.

    ``JPCLN001.png`` and the like in any folder below; the twin has the same name in a folder whose name says so
    (``BSE_JSRT``, ``bone_suppressed``, ``soft``). The column ``nodule`` says which have one.

    Parameters
    ----------
    folder
        Where both lie.

    Raises
    ------
    FileError
        If there is none of them. A case without its twin, or with a twin of another size, is a failure of that case.
    """
    folder = Path(folder)
    found = Gathered("jsrt", folder)
    plain: dict[str, list[Path]] = {}
    twins: dict[str, Path] = {}
    for path in _files(folder):
        named = _JSRT.match(path.stem)
        if named is None:
            continue
        case = named[1].upper()
        if _in_folder(_TWIN, path, folder):
            twins[case] = path
        else:
            plain.setdefault(case, []).append(path)
    for case, paths in plain.items():
        for path in paths:
            found.add(case, lambda case=case, path=path: _pair(case, path, twins.get(case)))  # type: ignore[misc]
    return found.collection()


def _pair(case: str, image: Path, twin: Path | None) -> Radiograph:
    return Radiograph(case, case, image, twin=_twin_of(case, image, twin), columns={"nodule": str(int(case[3] == "L"))})


def _twin_of(case: str, image: Path, twin: Path | None) -> Path:
    """The twin of an image, which is there and of its size."""
    if twin is None:
        raise FileError(f"no twin of '{case}'", "the same name in a folder of bone-suppressed images", "add it")
    if _size(image) != _size(twin):
        sizes = " and ".join(f"{w} x {h}" for w, h in (_size(image), _size(twin)))
        raise FileError(f"'{case}' and its twin of {sizes} pixels", "the same size", "take both from one release")
    return twin


# Shenzhen and Montgomery: the last number of the name is 1 for tuberculosis; a text file beside says age and sex.


def read_shenzhen(folder: str | Path) -> Collection:
    """Read the Shenzhen hospital set: ``CHNCXR_0001_0.png``, with ``ClinicalReadings/CHNCXR_0001_0.txt`` where present.

    Parameters
    ----------
    folder
        Where they lie, at any depth. Where there are twins without bones (the same names in a folder whose name says
        so, as in `read_jsrt`), each case needs one.

    Raises
    ------
    FileError
        If there is none of them.
    """
    return _clinical(Path(folder), "shenzhen", re.compile(r"^(CHNCXR_(\d{4}))_([01])$"))


def read_montgomery(folder: str | Path) -> Collection:
    """Read the Montgomery county set: ``MCUCXR_0001_0.png``, with ``ClinicalReadings/MCUCXR_0001_0.txt`` where present.

    Parameters
    ----------
    folder
        Where they lie, at any depth; masks (``ManualMask``) are passed over.

    Raises
    ------
    FileError
        If there is none of them.
    """
    return _clinical(Path(folder), "montgomery", re.compile(r"^(MCUCXR_(\d{4}))_([01])$"))


def _clinical(folder: Path, name: str, pattern: re.Pattern[str]) -> Collection:
    found = Gathered(name, folder)
    readings = {p.stem: p for p in sorted(folder.rglob("*.txt"))}
    labels: dict[str, int] = {}
    named_files = [(p, m) for p in _files(folder) if (m := pattern.match(p.stem)) is not None]
    twins = {p.stem: p for p, _ in named_files if _in_folder(_TWIN, p, folder)}
    for path, named in named_files:
        if path in twins.values() or _in_folder(_MASK, path, folder):
            continue

        def make(path: Path = path, named: re.Match[str] = named) -> Radiograph:
            patient, label = named[1], int(named[3])
            if labels.setdefault(patient, label) != label:
                raise CardError(f"patient '{patient}' both with and without tuberculosis", "one of both", "check names")
            said = _reading(readings[path.stem]) if path.stem in readings else {}
            twin = _twin_of(path.stem, path, twins.get(path.stem)) if twins else None
            return Radiograph(path.stem, patient, path, label, twin=twin, columns=said)

        found.add(path.stem, make)
    return found.collection()


_AGE = re.compile(r"(?:age\s*:?\s*)?0*(\d{1,3})\s*(?:y|yr|yrs|years)\b", re.IGNORECASE)
_SEX = re.compile(r"\b(female|male|f|m)\b", re.IGNORECASE)


def _reading(path: Path) -> dict[str, str]:
    """Age, sex and finding of a clinical reading, as far as they are there."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = {}
    age, sex = _AGE.search(text), _SEX.search(text)
    if age:
        found["age"] = age[1]
    if sex:
        found["sex"] = sex[1][0].upper()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        found["findings"] = lines[-1]
    return found


# NIH ChestX-ray: a table of all images, a table of boxes in pixels of a 1024-pixel image.

_NIH_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")


def read_nih(folder: str | Path) -> Collection:
    """Read NIH ChestX-ray: ``Data_Entry_2017*.csv``, ``BBox_List_2017.csv`` where present, images at any depth.

    Only rows whose image is there count, as the collection is handed out in parts. The label is 0 for "No Finding" and
    1 for any finding.

    Parameters
    ----------
    folder
        Where the tables lie.

    Raises
    ------
    FileError
        If there is no table, or no image.
    CardError
        If a table lacks a column.
    """
    folder = Path(folder)
    tables = sorted(folder.rglob("Data_Entry_2017*.csv"))
    if not tables:
        raise FileError(f"no Data_Entry_2017.csv in '{folder}'", "the layout of NIH ChestX-ray", "check the folder")
    images = {p.name: p for p in _files(folder)}
    boxes: dict[str, list[tuple[str, list[float]]]] = {}
    for path in sorted(folder.rglob("BBox_List_2017*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for line in list(csv.reader(stream))[1:]:
                boxes.setdefault(line[0], []).append((line[1], [float(v) for v in line[2:6]]))
    found = Gathered("nih", folder)
    for row in _rows(tables[0], _NIH_COLUMNS):
        index = row["Image Index"]
        if index in images:
            own = boxes.get(index, [])
            found.add(Path(index).stem, lambda row=row, path=images[index], own=own: _nih(row, path, own))  # type: ignore[misc]
    return found.collection()


def _nih(row: Mapping[str, str], path: Path, boxes: Sequence[tuple[str, Sequence[float]]]) -> Radiograph:
    width, height = _size(path)
    scale = (width / _NIH_PIXELS, height / _NIH_PIXELS)
    findings = row["Finding Labels"]
    return Radiograph(
        path.stem,
        row["Patient ID"],
        path,
        int(findings != "No Finding"),
        boxes=tuple(_box(v, scale, finding) for finding, v in boxes),
        columns={
            "age": row["Patient Age"].rstrip("Yy").lstrip("0") or "0",
            "sex": row.get("Patient Gender") or row.get("Patient Sex") or "",
            "view": row["View Position"],
            "findings": findings,
        },
    )


def _box(values: Sequence[float], scale: tuple[float, float], finding: str) -> Box:
    x, y, w, h = values
    return Box(x * scale[0], y * scale[1], w * scale[0], h * scale[1], finding)


# TBX11K: imgs/health, imgs/sick, imgs/tb; annotations as COCO tables in pixels of a 512-pixel image.

_TBX = {"health": 0, "sick": 0, "tb": 1}


def read_tbx11k(folder: str | Path) -> Collection:
    """Read TBX11K: ``imgs/{health,sick,tb}/*.png`` and ``annotations/json/*.json``.

    The column ``group`` says which folder an image lies in; sick means ill but not of tuberculosis, label 0.

    Parameters
    ----------
    folder
        With ``imgs`` in it.

    Raises
    ------
    FileError
        If there is no image, or an annotation file cannot be read.
    """
    folder = Path(folder)
    boxes: dict[str, list[tuple[str, list[float]]]] = {}
    for path in sorted((folder / "annotations").rglob("*.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            names = {i["id"]: Path(i["file_name"]).name for i in said["images"]}
            kinds = {c["id"]: str(c["name"]) for c in said.get("categories", [])}
            for one in said["annotations"]:
                boxes.setdefault(names[one["image_id"]], []).append(
                    (kinds.get(one.get("category_id"), "tuberculosis"), [float(v) for v in one["bbox"]])
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(f"'{path}' cannot be read", "annotations in COCO's form", "check the file") from error
    found = Gathered("tbx11k", folder)
    for group, label in _TBX.items():
        for path in _files(folder / "imgs" / group):

            def make(path: Path = path, group: str = group, label: int = label) -> Radiograph:
                width, height = _size(path)
                own = dict.fromkeys((finding, tuple(v)) for finding, v in boxes.get(path.name, []))
                marks = tuple(_box(v, (width / _TBX_PIXELS, height / _TBX_PIXELS), finding) for finding, v in own)
                return Radiograph(path.stem, path.stem, path, label, boxes=marks, columns={"group": group})

            found.add(path.stem, make)
    return found.collection()


# MURA: the folder names say the part of the body, the patient and whether the study is abnormal.

_MURA = re.compile(r"XR_([A-Z]+)/(patient\d+)/(study\d+)_(positive|negative)$")


def read_mura(folder: str | Path) -> Collection:
    """Read MURA: ``XR_WRIST/patient00001/study1_positive/image1.png`` and the like, at any depth.

    Radiographs of arms and hands; the label is 1 for an abnormal study. The column ``part`` says which part of the
    body, ``study`` which study of the patient.

    Parameters
    ----------
    folder
        Where they lie; dotted files (``._image1.png``) are passed over.

    Raises
    ------
    FileError
        If there is none of them.
    """
    folder = Path(folder)
    found = Gathered("mura", folder)
    for path in _files(folder):
        named = _MURA.search(path.parent.as_posix())
        if named is None or path.name.startswith("."):
            continue
        part, patient, study, said = named.groups()
        case = f"{part.lower()}-{patient}-{study}-{path.stem}"
        columns = {"part": part.lower(), "study": study}
        found.add(case, lambda c=case, p=patient, f=path, s=said, k=columns: Radiograph(  # type: ignore[misc]
            c, p, f, int(s == "positive"), columns=k))  # fmt: skip
    return found.collection()


LAYOUTS: Mapping[str, Callable[[str | Path], Collection]] = {
    "jsrt": read_jsrt,
    "shenzhen": read_shenzhen,
    "montgomery": read_montgomery,
    "nih": read_nih,
    "tbx11k": read_tbx11k,
    "mura": read_mura,
}
"""Name of the layout to its reader."""


def read_layout(folder: str | Path) -> Collection:
    """Read a folder in whichever of the layouts it has.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    FileError
        If it is no folder, or has none of the layouts.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"no folder '{folder}'", "a folder of radiographs", "check the path")
    for reader in LAYOUTS.values():
        try:
            return reader(folder)
        except FileError:
            continue
    raise FileError(
        f"'{folder}' in no known layout", f"that of {', '.join(LAYOUTS)}", "see the names in the documentation"
    )
