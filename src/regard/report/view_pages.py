"""The pages of `regard view` besides the report and the sheets: what a folder holds, and a volume in 3D."""

import csv
import json
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from regard.core.errors import RegardError
from regard.core.quantity import Quantity
from regard.io import read
from regard.io.names import without_map_ending
from regard.report import words
from regard.report.colours import full_colour, look, scale_key
from regard.report.display import inside, peak
from regard.report.html import environment, script_json
from regard.report.sheets import stems

__all__ = ["VOLUMES", "index", "volume"]

_log = getLogger(__name__)

VOLUMES = ("maps", "population", "samples")
"""Folders whose volumes are shown, in the order of the index."""
_MOST_ROWS = 400
_HEADINGS = {"maps": "Maps", "population": "Population", "samples": "Samples"}
_TEMPLATE = "image_mean"


def _rows(path: Path) -> list[list[str]]:
    """Rows of a table for the eye, the header first: at most `_MOST_ROWS`, without columns that say nothing."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row, _ in zip(csv.reader(stream, dialect="excel-tab"), range(_MOST_ROWS + 1), strict=False)]
    told = [
        n for n in range(len(rows[0]) if rows else 0) if any(r[n] not in ("", "n/a") for r in rows[1:] if n < len(r))
    ]
    return [[_cell(row[n]) if n < len(row) else "" for n in told] for row in rows]


def _cell(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return "" if text == "n/a" else text
    return words.number(int(value) if value.is_integer() else value)


def index(folder: Path, files: Mapping[str, Path], *, niivue: bool) -> bytes:
    """What a run folder holds: its report, its cases, its volumes and pictures, its regions."""
    parts: dict[str, list[dict[str, Any]]] = {}
    shown = set()
    for name in files:
        place, _, file = name.partition("/")
        stem = without_map_ending(file)
        aside = "_space-network_" in name or (place == "maps" and not stem.endswith("_relevance"))
        if stem == file or place not in VOLUMES or aside:
            continue
        picture = f"{place}/{stem}.png"
        shown.add(picture)
        parts.setdefault(place, []).append(
            {
                "title": stem.replace("_relevance", ""),
                "address": quote(stem if place == "maps" else f"{place}/{stem}"),
                "file": quote(name),
                "picture": quote(picture) if picture in files else None,
                "table": quote(name) if name.endswith(".tsv") else None,
            }
        )
    pictures = [n for n in files if n.endswith(".png") and n not in shown and not n.startswith("maps/")]
    sheets = {
        kind: [{"title": "Population maps" if kind == "population" else s, "address": f"sheet/{kind}/{quote(s)}.html"}
               for s in names]
        for kind, names in stems(files).items()
    }  # fmt: skip
    page = environment().get_template("index.html.j2")
    return page.render(
        title=folder.resolve().name,
        report="report.html" in files,
        parts=[(_HEADINGS[f], parts[f], sheets.get(f, [])) for f in VOLUMES if f in parts],
        pictures=[{"title": Path(n).stem.replace("_", " "), "address": quote(n)} for n in pictures],
        regions=_rows(files["regions.tsv"]) if "regions.tsv" in files else [],
        niivue=niivue,
        words=words,
    ).encode()


def volume(name: str, files: Mapping[str, Path], scans: Mapping[str, Path], *, radiological: bool = True) -> bytes:
    """A volume in 3D, with links to the others of its case."""
    folder, _, stem = name.partition("/")
    sidecar = _sidecar(files.get(f"{name}.json"))
    case = stem.rpartition("_desc-")[0] if folder == "maps" else stem.partition("_sample-")[0]
    known = [case, str(sidecar.get("case", ""))]
    scan = next((n for n in known if n in scans and scans[n].is_file()), None)
    suffix = ".nii.gz" if scan and scans[scan].name.endswith(".gz") else ".nii"
    # The page of a map lies one step below the index, that of another volume two.
    up = "../" if folder == "maps" else "../../"
    scan_address = None if scan is None else f"{up}scans/{quote(scan, safe='')}{suffix}"
    template = f"population/{_TEMPLATE}.nii.gz"
    if folder == "population" and template in files:
        scan_address = f"{up}{template}"
    unsigned = sidecar.get("sign") == "unsigned"
    beside = _beside(name, files)
    page = environment().get_template("volume.html.j2")
    return page.render(
        stem=stem,
        up=up,
        facts=[(k, sidecar.get(k)) for k in ("case", "method", "quantity", "unit", "sign", "target", "prediction")],
        map_address=f"{up}{folder}/{quote(stem)}.nii.gz",
        scan_address=scan_address,
        sheet=f"{up}sheet/maps/{quote(case)}.html" if case in (stems(files).get(folder) or ()) else None,
        beside=[
            {"title": _short(n), "address": f"{quote(n.partition('/')[2])}.html", "here": n == name} for n in beside
        ],
        of_case=folder == "maps",
        unsigned=unsigned,
        full=_scale(name, beside, files),
        start=_start(files[f"{name}.nii.gz"], scans.get(scan) if scan else files.get(template)),
        looks=script_json({"look": look(not unsigned), "radiological": radiological}),
        words=words,
    ).encode()  # fmt: skip


def _short(name: str) -> str:
    """Name of a volume among those of its case."""
    return name.rpartition("_desc-")[2].rpartition("/")[2].replace("_relevance", "")


def _beside(name: str, files: Mapping[str, Path]) -> list[str]:
    """The volumes of the same case or folder, in the order of the files."""
    folder, _, stem = name.partition("/")
    names = [n.removesuffix(".nii.gz") for n in files if n.endswith(".nii.gz") and n.startswith(f"{folder}/")]
    if folder != "maps":
        return names
    case = stem.rpartition("_desc-")[0]
    return [n for n in names if n.endswith("_relevance") and n.partition("/")[2].rpartition("_desc-")[0] == case]


def _scale(name: str, beside: list[str], files: Mapping[str, Path]) -> float | None:
    """Value in full colour as in the report: the largest among the case's maps of one key; None where unreadable."""
    own = _key(files.get(f"{name}.json"))
    alike = [n for n in beside if n == name or (own is not None and _key(files.get(f"{n}.json")) == own)]
    found = []
    for one in alike:
        try:
            found.append(full_colour(np.asarray(read(files[f"{one}.nii.gz"]).tensor)))
        except (RegardError, OSError, ValueError) as error:
            _log.warning("%s sets no scale: %s", one, error)
    return max(found, default=None)


def _start(map_file: Path, scan_file: Path | None) -> list[float] | None:
    """Where a volume opens [RAS mm]: its peak inside the foreground of its image; None where unreadable."""
    try:
        values = read(map_file)
        scan = None if scan_file is None else read(scan_file)
    except (RegardError, OSError, ValueError) as error:
        _log.warning("%s opens in its middle: %s", map_file.name, error)
        return None
    known = scan is not None and scan.grid.matches(values.grid, tolerance_mm=1e-2)
    numbers = values.tensor[0].float()
    within = inside(scan) if scan is not None and known else numbers.isfinite()
    return [round(float(v), 3) for v in values.grid.to_world(peak(numbers, within))]


def _key(path: Path | None) -> Any:
    said = _sidecar(path)
    if not {"quantity", "unit", "method", "form"} <= said.keys():
        return None
    try:
        return scale_key(_Facts(said))  # type: ignore[arg-type]
    except ValueError:
        return None


class _Facts:
    """What a scale depends on, of a sidecar."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.quantity = Quantity(said["quantity"])
        self.unit, self.method, self.form, self.layer = said["unit"], said["method"], said["form"], said.get("layer")


def _sidecar(path: Path | None) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        _log.warning("the sidecar %s cannot be read; the volume is shown without it", path)
        return {}
    return said if isinstance(said, dict) else {}
