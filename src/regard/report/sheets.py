"""Pages of `regard view` with the report's viewer: the maps of a case, of a population, the samples of an invariance.

They are made of the files of a run folder when they are asked for. All maps of a page lie over one image and move
together; they are switched or shown side by side, in the colours and at the scales of the report.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

import torch

from regard.core.errors import RegardError
from regard.core.explanation import Explanation
from regard.core.plain_text import without_controls
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.io import read, read_map
from regard.report import words
from regard.report.colours import common_scales, scale_key
from regard.report.embed import Scene, fit
from regard.report.html import environment, page_parts

__all__ = ["Sheet", "Shown", "sheet", "stems", "write_sheet"]

_log = getLogger(__name__)

_BYTES = 24_000_000
_POPULATION = {"mean": "mean of the cases", "slope": "slope over the cases", "t": "t"}


@dataclass(frozen=True, eq=False)
class Shown:
    """One viewer of a page.

    Parameters
    ----------
    title
        Its heading.
    scene
        What it shows.
    signs
        How the numbers of each map read, where it is not as the map's method says; by the map's name.
    output_name
        What the image beside the first one is.
    """

    title: str
    scene: Scene
    signs: Mapping[str, str] = field(default_factory=dict)
    output_name: str = "network's output"


@dataclass(frozen=True)
class Sheet:
    """A page of viewers.

    Parameters
    ----------
    title
        Its heading.
    facts
        Shown under it.
    shown
        Its viewers.
    rows
        A table: one dict per row.
    """

    title: str
    facts: Mapping[str, Any]
    shown: Sequence[Shown]
    rows: Sequence[Mapping[str, Any]] = ()


def stems(files: Mapping[str, Path]) -> dict[str, list[str]]:
    """The pages that a run folder has: for ``maps`` the stems of cases, for ``samples`` of samples.

    ``population`` has one, ``all``.
    """
    names = [n.removesuffix(".nii.gz") for n in files if n.endswith(".nii.gz")]
    cases = [
        n.removeprefix("maps/").rpartition("_desc-")[0]
        for n in names
        if n.startswith("maps/") and n.endswith("_relevance") and "_space-network_" not in n and f"{n}.json" in files
    ]
    pages = {"maps": list(dict.fromkeys(c for c in cases if c))}
    pages["population"] = ["all"] if any(_word_of(n) for n in names) else []
    pages["samples"] = list(dict.fromkeys(n.removeprefix("samples/") for n in names if n.startswith("samples/")))
    return {kind: found for kind, found in pages.items() if found}


def sheet(kind: str, stem: str, files: Mapping[str, Path], images: Mapping[str, Path]) -> Sheet | None:
    """The page ``stem`` of a ``kind`` of `stems`; None where there is none, or its files cannot be read.

    Parameters
    ----------
    kind, stem
        Which page.
    files
        Of the run folder, by their path inside it.
    images
        Case id to the image of the case, as far as it may be shown.
    """
    if stem not in stems(files).get(kind, []):
        return None
    made = {"maps": _case, "population": _population, "samples": _sample}[kind]
    try:
        return made(stem, files, images)
    except (RegardError, OSError, ValueError, KeyError) as error:
        _log.warning("%s/%s cannot be shown: %s", kind, stem, error)
        return None


def write_sheet(page: Sheet) -> bytes:
    """A page as HTML, with everything it needs inside."""
    scenes = fit([s.scene for s in page.shown], _BYTES)
    for scene, shown in zip(scenes, page.shown, strict=True):
        for one in scene["maps"] if scene else ():
            one["sign"] = shown.signs.get(one["name"], one["sign"])
        if scene and scene["output"]:
            scene["output"]["name"] = shown.output_name
    columns = list(dict.fromkeys(key for row in page.rows for key in row))
    text = (
        environment()
        .get_template("sheet.html.j2")
        .render(page=page, scenes=scenes, columns=columns, words=words, **page_parts())
    )
    return without_controls(text).encode()


def _image_of(case: str, stem: str, like: Volume, images: Mapping[str, Path]) -> tuple[Volume, bool]:
    """The image under a case's maps, and whether it is known: an empty one on the map's grid where it is not."""
    path = images.get(case, images.get(stem))
    if path is not None and path.exists():
        scan = read(path)
        if scan.grid.matches(like.grid, tolerance_mm=1e-2):
            return scan, True
    return Volume(torch.zeros(1, *like.shape), like.affine, "no image", "", like.has_geometry), False


def _case(stem: str, files: Mapping[str, Path], images: Mapping[str, Path]) -> Sheet:
    stored = []
    for name, path in files.items():
        own = name.startswith(f"maps/{stem}_desc-") and name.endswith("_relevance.json")
        if own and name.removeprefix("maps/").rpartition("_desc-")[0] == stem:
            stored.append(read_map(path))
    grids: list[tuple[Volume, bool, list[Explanation]]] = []
    for one in stored:
        case = str(one.sidecar["case"])
        for scan, _, maps in grids:
            if scan.grid.matches(one.relevance.grid, tolerance_mm=1e-2) and maps[0].input == one.sidecar.get("input"):
                maps.append(one.explanation(scan))
                break
        else:
            scan, known = _image_of(case, stem, one.relevance, images)
            grids.append((scan, known, [one.explanation(scan)]))
    everything = [m for _, _, maps in grids for m in maps]
    scales = common_scales(everything)
    shown = []
    for _, known, maps in grids:
        title = f"input {maps[0].input}" if maps[0].input else ""
        title += "" if known else f"{', ' if title else ''}without its image, which this run folder does not know"
        shown.append(Shown(title, Scene(maps, scales)))
    first = everything[0]
    rows = [
        {
            "map": m.name,
            "prediction": words.prediction(m),
            "target": m.target,
            "quantity": f"{m.quantity} [{m.unit}]",
            "full colour at": words.number(scales[scale_key(m)], 3),
            "verdict": words.verdict(m),
        }
        for m in everything
    ]
    return Sheet(first.case, {"target": first.target, "prediction": words.prediction(first)}, shown, rows)


def _word_of(name: str) -> str:
    """What a population volume holds, empty for one that is not shown."""
    word = name.rpartition("_")[2]
    return word if name.startswith("population/") and "image_mean" not in name and word in _POPULATION else ""


def _population(stem: str, files: Mapping[str, Path], images: Mapping[str, Path]) -> Sheet:
    del stem, images
    names = [n.removesuffix(".nii.gz") for n in files if n.endswith(".nii.gz")]
    maps, signs = [], {}
    facts: dict[str, Any] = {}
    base = read(files["population/image_mean.nii.gz"]) if "population/image_mean.nii.gz" in files else None
    for name in names:
        word = _word_of(name)
        if not word:
            continue
        values = read(files[f"{name}.nii.gz"])
        group = name.rpartition("_")[0]
        said = json.loads(files[f"{group}.json"].read_text(encoding="utf-8")) if f"{group}.json" in files else {}
        facts = facts or {k: said[k] for k in ("target", "n_cases", "space") if said.get(k) is not None}
        if base is None or not base.grid.matches(values.grid, tolerance_mm=1e-2):
            base = Volume(torch.zeros(1, *values.shape), values.affine, "no image", "", values.has_geometry)
        unit = "t" if word == "t" else str(said.get("unit", "a.u."))
        label = f"{said.get('map', group.partition('/')[2])}: {_POPULATION[word]}"
        unsigned = word != "t" and said.get("sign") == str(Sign.UNSIGNED)
        signs[label] = f"t against: {said.get('t', 'zero')}" if word == "t" else str(said.get("sign", ""))
        maps.append(_plain_map(values, base, label, unit, unsigned=unsigned))
    if base is None or not maps:
        raise ValueError("no population map")
    rows = []
    if "regions.tsv" in files:
        with files["regions.tsv"].open(encoding="utf-8", newline="") as stream:
            rows = [row for row, _ in zip(csv.DictReader(stream, dialect="excel-tab"), range(2000), strict=False)]
    return Sheet("Population", facts, [Shown("", Scene(maps, common_scales(maps)), signs)], rows)


def _sample(stem: str, files: Mapping[str, Path], images: Mapping[str, Path]) -> Sheet:
    changed = read(files[f"samples/{stem}.nii.gz"])
    case = stem.partition("_sample-")[0]
    scan, known = _image_of(case, stem, changed, images)
    if not known:
        nothing = _plain_map(changed.with_tensor(torch.zeros(1, *changed.shape)), changed, "x\u0303", "", unsigned=True)
        return Sheet(stem, {"case": case}, [Shown("Without x, which this run folder does not know",
                     Scene([nothing], common_scales([nothing])))])  # fmt: skip
    change = _plain_map(
        changed.with_tensor(changed.tensor[:1].cpu() - scan.tensor[:1].cpu()),
        scan, "x\u0303 \N{MINUS SIGN} x", scan.unit, unsigned=False,
    )  # fmt: skip
    signs = {change.name: "positive: brighter than the image"}
    beside = Volume(changed.tensor, changed.affine, scan.unit, "", changed.has_geometry)
    return Sheet(
        stem,
        {"case": case},
        [Shown("", Scene([change], common_scales([change]), output=beside), signs, "x\u0303, the sample")],
    )


def _plain_map(values: Volume, scan: Volume, name: str, unit: str, *, unsigned: bool) -> Explanation:
    """Numbers over an image that no method made."""
    placed = Volume(values.tensor[:1].float(), scan.affine, unit, "", scan.has_geometry)
    return Explanation(
        placed, scan, "", name, Quantity.SCORE, Sign.UNSIGNED if unsigned else Sign.RAISED, unit, float("nan"), ""
    )
