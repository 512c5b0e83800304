"""The files of ``regard cohort``: population volumes, tables, figures and the report."""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.cohort.atlas import read_atlas
from regard.cohort.design import contrasts
from regard.cohort.engine import Cohort
from regard.cohort.explaining import JACOBIAN, Explaining
from regard.cohort.moments import moments_of
from regard.cohort.pattern import AS_TAKEN, EXPLAINED, MEANING, PATTERN, pattern_of
from regard.cohort.region_table import COLUMNS, SUBJECT_COLUMNS
from regard.cohort.results import (
    NULL_WORDS,
    Asked,
    Population,
    background,
    map_names,
    population,
    prediction_scores,
    region_rows,
    volume_on,
)
from regard.cohort.store import open_maps
from regard.cohort.voxelwise import largest_t, tfce
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.io import Case, RunFolder
from regard.io.atomic import write_bytes, write_json, write_tsv
from regard.io.maps import save_volume
from regard.io.names import letters_and_digits, safe_name
from regard.io.signal_maps import table_bytes
from regard.report.cohort_figures import draw_pattern, draw_population, draw_predictions, draw_regions
from regard.report.sections import Section, write_sections
from regard.runs.cohort_plan import Space
from regard.runs.requests.cohort import CohortRequest

__all__ = ["SAYS", "Written", "write_all"]

logger = logging.getLogger(__name__)

_REGIONS_SHOWN = 40

SAYS = {
    NULL_WORDS["randomised"]: "it says that the network's maps lie elsewhere than those of networks drawn at random, "
    "and no more: a network that learned nothing has places of its own as well. Whether a region is looked at because "
    "of what was learned is asked with --retrained.",
}
"""What a test does not say, by the null map."""


@dataclass(frozen=True)
class Written:
    """What was written, for what is printed.

    Parameters
    ----------
    report
        The page.
    scores
        How far predictions are from the labels, where there are labels.
    regions
        Rows of ``regions.tsv``.
    sentences
        What a reader must know.
    """

    report: Path
    scores: dict[str, float | int] | None
    regions: list[dict[str, Any]]
    sentences: tuple[str, ...]


def stem_of(name: str) -> str:
    """Start of the names of a map's files: ``desc-<label>``, or ``input-<name>_desc-<label>``."""
    label, several, which = name.partition("_input-")
    return (f"input-{safe_name(which)}_" if several else "") + f"desc-{letters_and_digits(label)}"


def write_all(
    request: CohortRequest,
    folder: RunFolder,
    cohort: Cohort,
    cases: Sequence[Case],
    function: Explaining,
    where: Space,
    columns: Asked,
) -> Written:
    """Write everything that the cases say together."""
    has_geometry = where.image.has_geometry
    base = background(cohort, function, where.image if where.has_template else None, has_geometry=has_geometry)
    if where.image.signal is not None:
        base = replace(base, stored=where.image.stored)
    populations: dict[str, Population] = {}
    for name in map_names(cohort):
        populations[name] = population(cohort, function, name, has_geometry=has_geometry)
        _save_population(folder.path / "population", name, populations[name], len(cohort.rows), where)
    if not where.has_template:
        save_volume(base, folder.path / "population" / "image_mean.nii.gz", "mean image")
    if function.warp is not None:
        own = moments_of(cohort.state, JACOBIAN)
        for word, values in {"mean": own.mean, "std": own.std}.items():
            save_volume(volume_on(function, values, "1"), folder.path / "population" / f"jacobian_{word}.nii.gz", word)
    pattern = _save_pattern(folder.path / "population", cohort, function, where) if function.pattern else None
    scores = prediction_scores(cohort, cases, seed=request.seed)
    _write_predictions(folder.path / "predictions.tsv", cohort, cases)
    rows: list[dict[str, Any]] = []
    sentences = [*where.warnings, *_warnings(cohort)]
    if function.atlas is not None:
        atlas = read_atlas(function.atlas, function.grid, table=function.atlas_table)
        rows, subjects, said = region_rows(cohort, cases, function, atlas, where.name, columns)
        sentences += said
        write_tsv(folder.path / "regions.tsv", COLUMNS, ([r[c] for c in COLUMNS] for r in rows))
        write_tsv(folder.path / "subjects.tsv", SUBJECT_COLUMNS, ([r[c] for c in SUBJECT_COLUMNS] for r in subjects))
    if request.voxelwise is not None:
        sentences += _write_voxelwise(request, folder.path, cohort, cases, function)
    report = _report(folder, cohort, cases, populations, pattern, base, where, rows, scores, sentences)
    return Written(report, scores, rows, tuple(sentences))


def _save_population(folder: Path, name: str, found: Population, n_cases: int, where: Space) -> None:
    stem = stem_of(name)
    for word, volume in {"mean": found.mean, "std": found.std, "t": found.t, "n": found.n}.items():
        save_volume(volume, folder / f"{stem}_{word}.nii.gz", f"regard population {word}")
    if where.image.signal is not None:
        together = torch.cat([found.mean.tensor, found.std.tensor, found.t.tensor, found.n.tensor])
        volume = Volume(together, found.mean.affine)
        write_bytes(folder / f"{stem}.tsv", table_bytes(volume, ("mean", "std", "t", "n")))
    said = {"map": name, **found.facts, "n_cases": n_cases, "space": where.name, "t": found.against}
    write_json(folder / f"{stem}.json", "population", said)


def _save_pattern(folder: Path, cohort: Cohort, function: Explaining, where: Space) -> tuple[Volume, Volume]:
    """Write what the image does when the prediction rises: the slope, and its t."""
    found, first = pattern_of(cohort.state), next(iter(cohort.rows.values()))
    unit = f"{AS_TAKEN}/{first['unit']}"
    slope, t = (
        volume_on(function, values, word, has_geometry=where.image.has_geometry)
        for values, word in ((found.slope, unit), (found.t, "1"))
    )
    save_volume(slope, folder / f"{PATTERN}_slope.nii.gz", "regard population pattern")
    save_volume(t, folder / f"{PATTERN}_t.nii.gz", "regard population t")
    facts = {"map": "pattern", "quantity": MEANING, "unit": unit, "target": first["target"]}
    write_json(folder / f"{PATTERN}.json", "population", {**facts, "n_cases": len(cohort.rows), "space": where.name})
    return slope, t


def _write_voxelwise(
    request: CohortRequest, folder: Path, cohort: Cohort, cases: Sequence[Case], function: Explaining
) -> list[str]:
    """Write t and p of every effect in every voxel, and say what could not be tested."""
    rows = list(cohort.rows)
    done = [cases[row] for row in rows]
    patients = [case.patient for case in done]
    maps = open_maps(folder / "maps.zarr")
    said = []
    for name in map_names(cohort):
        for effect in contrasts(done, request.groups, request.covariates):
            try:
                if request.voxelwise == "tfce":
                    found = tfce(maps[name], function.grid.affine, rows, effect, patients, seed=request.seed)
                else:
                    found = largest_t(maps[name], rows, effect, patients, seed=request.seed)
            except InputError as error:
                said.append(f"{effect.name} was not tested in every voxel: {error}")
                continue
            stem = f"{stem_of(name)}_contrast-{letters_and_digits(effect.name)}"
            for word, values in {"t": found.t, "p": found.p}.items():
                path = folder / "population" / f"{stem}_{word}.nii.gz"
                save_volume(volume_on(function, values, "1"), path, f"regard voxelwise {word}")
            said.append(f"{name}, {effect.name}: the smallest corrected p of any voxel is {np.nanmin(found.p):.3g}")
    return said


def _write_predictions(path: Path, cohort: Cohort, cases: Sequence[Case]) -> None:
    header = ("case", "patient", "target", "prediction", "label", "unit", "outside")
    rows = []
    for n, row in cohort.rows.items():
        lost = [facts["outside"] for facts in row["maps"].values() if facts["quantity"] == "contribution"]
        label = cases[n].columns.get("label")
        target, unit = row["target"], row["unit"]
        rows.append((row["case"], row["patient"], target, row["prediction"], label, unit, lost[0] if lost else None))
    write_tsv(path, header, rows)


def _warnings(cohort: Cohort) -> list[str]:
    """Sentences of single cases, each once with the number of cases that it is said of."""
    said: dict[str, int] = {}
    for row in cohort.rows.values():
        for sentence in row["warnings"]:
            said[sentence] = said.get(sentence, 0) + 1
    found = [f"{sentence} ({n} of {len(cohort.rows)} cases)" for sentence, n in said.items()]
    return found[:10] + ([f"and {len(found) - 10} warnings more, in predictions.tsv"] if len(found) > 10 else [])


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _report(
    folder: RunFolder,
    cohort: Cohort,
    cases: Sequence[Case],
    populations: Mapping[str, Population],
    pattern: tuple[Volume, Volume] | None,
    base: Volume,
    where: Space,
    rows: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float | int] | None,
    sentences: Sequence[str],
) -> Path:
    sections = []
    if sentences:
        sections.append(Section("Read this first", " ".join(s.rstrip(".") + "." for s in sentences)))
    for name, found in populations.items():
        stem = stem_of(name)
        files = draw_population(found.mean, found.t, base, folder.figures / stem, title=name, facts=found.facts,
                                space=where.name, n_cases=len(cohort.rows), against=found.against)  # fmt: skip
        sign = str(found.facts["sign"])
        sign = "Unsigned" if sign == "unsigned" else f"Positive: {sign}"
        text = f"Mean over {len(cohort.rows)} cases. {sign}. t: {found.against}."
        sections.append(Section(f"{name}: population map", text, [_picture(f) for f in files]))
        own = [r for r in rows if r["method"] == name]
        sections += _region_sections(folder, name, stem, own)
    if pattern is not None:
        n_cases = len(cohort.rows)
        files = draw_pattern(*pattern, base, folder.figures / PATTERN, space=where.name, n_cases=n_cases)
        text = f"Over {n_cases} cases: {EXPLAINED}"
        sections.append(Section("The pattern of the prediction", text, [_picture(p) for p in files]))
    labelled = [(float(r["prediction"]), cases[n].columns.get("label")) for n, r in cohort.rows.items()]
    if scores is not None:
        pairs = [(p, float(v)) for p, v in labelled if v is not None and _is_number(v)]
        first = next(iter(cohort.rows.values()))
        path = draw_predictions(np.array(pairs), folder.figures / "predictions.png", unit=str(first["unit"]))
        bounds = "" if np.isnan(scores["low"]) else f" ({scores['low']:.3g} to {scores['high']:.3g})"
        text = f"Mean absolute error {scores['mae']:.3g}{bounds}, Pearson's r {scores['pearson_r']:.2f}, uncorrected; "
        text += f"{scores['n']} cases of {scores['n_patients']} patients."
        sections.append(Section("Predictions", text, [_picture(path)]))
    if cohort.failures:
        table = [(cases[n].case, f.error_type, folder.harmless(f.message)) for n, f in sorted(cohort.failures.items())]
        text = f"{len(table)} of {len(cases)} cases; all in failures.tsv."
        sections.append(Section("Failed cases", text, columns=("case", "error", "what happened"), rows=table[:50]))
    meta = {
        "cases": f"{len(cohort.rows)} of {len(cases)}",
        "patients": len({row["patient"] for row in cohort.rows.values()}),
        "space": where.name,
        "target": next(iter(cohort.rows.values()))["target"],
    }
    return write_sections(folder.path / "report.html", "A cohort explained", sections, meta=meta)


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _region_sections(folder: RunFolder, name: str, stem: str, rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    found = []
    for contrast, group in dict.fromkeys((r["contrast"], r["group"]) for r in rows):
        own = [r for r in rows if (r["contrast"], r["group"]) == (contrast, group) and not np.isnan(r["density"])]
        is_effect = all(np.isnan(r["share"]) for r in own)
        own = sorted(own, key=lambda r: -abs(r["t"]) if is_effect else -r["density"])[:_REGIONS_SHOWN]
        if not own:
            continue
        pictures = []
        if group == "*" and not is_effect:
            path = draw_regions(own, folder.figures / f"{stem}_regions.png", title=name)
            pictures = [_picture(path)]
        if is_effect:
            title, kind = f"{name}: regions, {contrast}", "coefficient"
            text = (
                f"The effect on each region's density; test: {own[0]['test']}; p of the largest |t| over all regions."
            )
        else:
            title, kind = f"{name}: regions" + ("" if group == "*" else f", {group}"), "density"
            text = "Density is the share of relevance over the share of volume: 1 where a map is spread evenly. "
            text += "Intervals are 95 %, over patients. "
            text += "Nothing is tested." if contrast == "none" else (
                f"t is the density's distance from the mean of the {contrast}, in their standard deviations; "
                f"p: {own[0]['test']}, of the largest |t| over all regions. The network is the unit, not the patient."
                if str(own[0]["test"]).startswith("rank") else
                f"t and p are of the density minus that of the {contrast}; test: {own[0]['test']}; "
                "p of the largest |t| over all regions" + (f"; {SAYS[contrast]}" if contrast in SAYS else ".")
            )  # fmt: skip
        shown = ("share", "t", "p_maxT")
        columns = ("region", kind, "95 %", "share", "t", "p (max T)", "n")
        table = [
            (r["region"], f"{r['density']:.3g}", _interval(r), *(_number(r[c]) for c in shown), str(r["n"]))
            for r in own
        ]
        found.append(Section(title, text, pictures, columns, table))
    return found


def _interval(row: Mapping[str, Any]) -> str:
    return "" if np.isnan(row["low"]) else f"{row['low']:.3g} to {row['high']:.3g}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"
