"""The report: what a reader must know in whole sentences, then tables, pictures and maps."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.cohort.atlas import read_atlas
from regard.cohort.pattern import EXPLAINED, PATTERN
from regard.io import read
from regard.io.names import letters_and_digits
from regard.io.schema import read_json
from regard.phantoms.brain.ageing import AGES
from regard.phantoms.brain.effects import STEP
from regard.phantoms.brain.phantom import share_of_ages
from regard.report.extent import draw_extent_curve
from regard.report.html import Chapter, ReportCase, write_report
from regard.studies.brain_age.about import ITEMS
from regard.studies.brain_age.config import NETWORKS, BrainAgeConfig
from regard.studies.brain_age.explain import ATLAS, extent_rows, pictured
from regard.studies.brain_age.figures import (
    draw_ages,
    draw_maps,
    draw_patches,
    draw_regions_against,
    draw_young_and_old,
)
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.noise import LEARNED
from regard.studies.brain_age.patches import PATCH_MAP
from regard.studies.brain_age.phantoms import phantom_of
from regard.studies.brain_age.regions import DATA, leaders, planted, region_truth
from regard.studies.brain_age.tables import (
    best_map,
    control_rows,
    gap_rows,
    map_rows,
    noise_rows,
    number,
    read_regions,
    region_rows,
    rows_of,
    score_rows,
    told,
)
from regard.studies.brain_age.truth import case_truth
from regard.studies.brain_age.unoise_page import unoise_chapters
from regard.studies.brain_age.uses import uses_rows
from regard.studies.brain_age.weigh import knows_age
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy

__all__ = ["write_page"]


def _done(run: StudyRun) -> set[str]:
    return {a for a in ("data", "train", "score", "explain", "weigh") if run.find(f"checkpoints/act-{a}.json")}


def _summary(material: Material, scores: Scores, rows: Sequence[dict[str, Any]]) -> list[str]:
    said = [
        "A network reads a person's age from a T1 image of the brain; maps say which places it needs for that. "
        + (
            "All subjects are simulated from a real template, and we know where and how fast they age: nothing on this "
            "page is a finding about people."
            if material.phantoms
            else "It was trained and tested on the scans of your table."
        )
    ]
    test = scores.get("test")
    if test:
        said.append(
            f"On {test['mae'].n} subjects that it had never seen the network was off by {told(test['mae'])} years on "
            f"average (brackets: 95 % interval), r = {told(test['pearson_r'])}, uncorrected; guessing the mean age is "
            f"off by {told(scores['floor_mean_age']['mae'])}, and the histogram of the image alone by "
            f"{told(scores['floor_histogram']['mae'])}."
        )
        if "ceiling" in scores:
            said.append(
                f"A reader of the structures' true ages would be off by {told(scores['ceiling']['mae'])} years: less "
                "is not to be had, as structures age at their own pace."
            )
        if not knows_age(test):
            said.append("It does not beat the mean age: what its maps show is not about age, and no region is named.")
    method = best_map(scores, material, DATA)
    if method is not None and test:
        led = leaders(rows, method, knows=knows_age(test))
        listed = "; ".join(led[:6]) or "no region"
        group = scores[f"map_{method}"]
        said.append(
            f"Region by region, {method} agrees best with what was planted (rank correlation {told(group[DATA])}). It "
            f"is led by: {listed}."
        )
    nothing = scores.get("nothing")
    if nothing and "preferred" in nothing:
        named = "would" if knows_age(nothing) else "does not"
        said.append(
            f"Trained on subjects in whom nothing ages, the network has r = {told(nothing['pearson_r'])}; its maps "
            f"prefer {nothing['preferred'].value:.0%} of the regions over their null maps all the same, as every "
            f"network looks somewhere, but it {named} beat the mean age, and so "
            + ("regions are named." if knows_age(nothing) else "no region is named.")
        )
    said.append("Research use only: none of this is a diagnosis.")
    return said


def _chapters(study: AbstractStudy[Material], run: StudyRun, material: Material, scores: Scores) -> list[Chapter]:
    figures, done = run.folder.figures, _done(run)
    rows = read_regions(run.path / "regions.tsv")
    chapters = [Chapter("In short", _summary(material, scores, rows))]
    if material.phantoms and "score" in done:
        chapters.append(_ageing_chapter(material, figures / "ageing.png"))
    if "test" in scores:
        draw_ages(material, scores, figures / "ages.png")
        text = (
            f"{len(material.test)} test subjects, intervals over subjects. Error and r are of the uncorrected reading. "
            "Slope below 1: the old are read too young."
        )
        chapters.append(Chapter("How well age is read", [text], figures / "ages.png", score_rows(scores)))
        text = (
            "The correction takes out of the gap (read minus true age) what depends on age. It uses the true age: no "
            "error and no correlation is quoted of what was corrected."
        )
        chapters.append(Chapter("The age gap", [text], None, gap_rows(scores)))
    depends = {g.removeprefix("depends_"): v for g, v in scores.items() if g.startswith("depends_")}
    if depends:
        shown = [
            {"network": g} | {k.removeprefix("change_"): told(s) for k, s in v.items() if k.startswith("change_")}
            for g, v in depends.items()
        ]
        text = (
            f"The same subject rendered again, with one structure's age moved from {AGES[0]:g} to {AGES[1]:g} years "
            "and all else fixed: by how many years the reading changes."
        )
        chapters.append(Chapter("What the reading depends on", [text], None, shown))
    if "explain" in done:
        chapters += _map_chapters(material, scores)
    labels = [s.label for s in material.methods] if "explain" in done else []
    if rows:
        chapters += _region_chapters(material, scores, rows, labels)
    if "explain" in done:
        chapters += unoise_chapters(material, scores, figures / "unoise.png")
    items = [{"in the paper": i.what, "": i.state, "here": i.how} for i in ITEMS]
    chapters.append(Chapter("What the paper did, and what is done here", [study.paper], None, items))
    return chapters


def _ageing_chapter(material: Material, picture: Path) -> Chapter:
    phantom, number = phantom_of(material.config), material.explained.numbers[0]
    young, old = (
        phantom.subject(
            number, seed=material.run.seed, factors=dict.fromkeys(phantom.causes, share_of_ages(age))
        ).volume
        for age in AGES
    )
    draw_young_and_old(young, old, picture)
    listed = ", ".join(f"{s} {d:g}" for s, d in material.config.data.doses.model_dump().items())
    text = f"One subject with all its structures {AGES[0]:g} and {AGES[1]:g} years old. Doses: {listed}."
    return Chapter("What was planted", [text], picture)


def _map_chapters(material: Material, scores: Scores) -> list[Chapter]:
    figures, found = material.run.folder.figures, []
    shown = pictured(material, 0) if len(material.explained) else []
    if shown:
        truth = None
        if material.phantoms and material.run.find(
            f"checkpoints/weigh/truth-{material.explained.cases[0]}.safetensors"
        ):
            grid = material.explained.grid
            inside = read_atlas(material.run.path / "cases" / ATLAS, grid).labels > 0
            truth = case_truth(material, 0, torch.from_numpy(inside)).model.core
        draw_maps(shown, truth, figures / "maps.png")
        text = (
            "Noise maps: one minus the strength B of the noise that a place bears while the prediction stays: bright "
            "places bear none. They are noise tolerance, a score: a wide region whose evidence is averaged bears more "
            "than a small one of equal effect."
        )
        found.append(Chapter("Maps of one subject", [text], figures / "maps.png"))
    if noise_rows(scores):
        curve = extent_rows(material)
        picture = figures / "extent.png" if curve else None
        if picture is not None:
            draw_extent_curve(curve, picture, unit="years")
        text = (
            "What the noise of a map does to the prediction, in fresh draws. One map is one lambda: the curve shows "
            "how its extent and its cost grow with it."
        )
        found.append(Chapter("Noise, and what it costs", [text], picture, noise_rows(scores)))
    atlas = scores.get("atlas")
    if atlas and f"atlas_share_{LEARNED}" in atlas:
        rows = [{"": k.replace("_", " "), "value": told(v)} for k, v in atlas.items()]
        text = (
            "A noise model can learn the atlas of its cohort in place of looking at the subject. Atlas share: of the "
            "maps' variance, what one common map explains; read the learned one beside that of maps found image by "
            "image. Own part: correlation of the learned map with the other, after the mean map is taken out of both; "
            "0 is an atlas and nothing else."
        )
        found.append(Chapter("Is the learned map an atlas?", [text], None, rows))
    rows = map_rows(scores, material)
    if any(len(r) > 1 for r in rows):
        text = (
            "Place: area under precision and recall of the map's size as a detector of the true places. Deletion: how "
            "much further the reading moves when places are taken away in the map's order. Regions: Spearman over the "
            "regions of the brain. A map should be above all of its controls."
        )
        found.append(Chapter("Are the maps true?", [text], None, rows))
        if control_rows(scores, material):
            text = "Place, against what the network uses: the map, and by how much it is above maps that know less."
            found.append(Chapter("Beside the controls", [text], None, control_rows(scores, material)))
    return found


def _region_chapters(
    material: Material, scores: Scores, rows: Sequence[dict[str, Any]], labels: Sequence[str]
) -> list[Chapter]:
    figures, found = material.run.folder.figures, []
    truth = planted(material) if material.phantoms else {}
    text = (
        "Density of each map: share of relevance over share of volume, 1 where a map is spread evenly; * above its "
        "null map, p < 0.05 of the largest t over all regions. All columns, tests of age, sex, scanner and head size "
        "included, are in regions.tsv; each subject in subjects.tsv."
    )
    picture = None
    if truth and "weigh" in _done(material.run):
        regions = read_atlas(
            material.run.path / "cases" / ATLAS, material.explained.grid, table=material.run.path / "cases/atlas.tsv"
        )
        inside = torch.from_numpy(regions.labels > 0)
        n = min(material.config.weigh.n_truth, len(material.explained))
        kept = [k for k in range(n) if material.run.find(_truth_of(material, k))]
        used = region_truth([case_truth(material, k, inside).weights for k in kept], regions.labels, regions.names)
        densities = {m: {r["region"]: r["density"] for r in rows_of(rows, m)} for m in labels}
        picture = figures / "regions_against.png"
        planted_density = {k: v["density"] for k, v in truth.items()}
        draw_regions_against(densities, {"what was planted": planted_density, "what is used": used}, picture)
    found.append(Chapter("Regions", [text], picture, region_rows(rows, labels, truth)))
    method = best_map(scores, material, DATA) or (labels[0] if labels else None)
    if method is not None:
        stem = f"desc-{letters_and_digits(method)}"
        for ending, title in (
            ("_slices.png", "mean and t over the cohort"),
            ("_mean_glass.png", "glass brain of the mean"),
            ("_regions.png", "regions with intervals"),
        ):
            if (figures / f"{stem}{ending}").exists():
                found.append(Chapter(f"{method}: {title}", [], figures / f"{stem}{ending}"))
    found += _uses_chapters(material, scores)
    error = material.run.path / "population" / PATCH_MAP
    if error.exists():
        base = read(material.run.path / "population/image_mean.nii.gz")
        draw_patches(read(error), base, figures / "patches.png")
        text = (
            "A small network for each patch: where age can be read with nothing else in view, which is not where the "
            "network of the whole brain reads it."
        )
        found.append(Chapter("The predecessor: error of each patch", [text], figures / "patches.png"))
    return found


def _uses_chapters(material: Material, scores: Scores) -> list[Chapter]:
    picture, found = material.run.folder.figures / f"{PATTERN}_slices.png", []
    if uses_rows(scores):
        text = (
            f"Spearman over the regions. What a network uses: its derivative, integrated from the subject {STEP:g} "
            f"years younger to the subject {STEP:g} years older with all else the same. No map can be truer, so that "
            "where it disagrees with what was planted, the network does, and not the map. Pattern: what the image does "
            "over the test subjects when the reading rises."
        )
        found.append(Chapter("The map, or the network?", [text], None, uses_rows(scores)))
    if picture.exists():
        text = f"Over {len(material.test)} test subjects: {EXPLAINED}"
        found.append(Chapter("The pattern of the reading", [text], picture))
    return found


def _truth_of(material: Material, n: int) -> str:
    return f"checkpoints/weigh/truth-{material.explained.cases[n]}.safetensors"


def _cases(material: Material) -> list[ReportCase]:
    found = []
    for n in range(min(material.config.explain.n_pictured, len(material.explained))):
        maps = pictured(material, n)
        if maps:
            row = {"age [year]": round(float(material.explained.ages[n]), 1), **material.explained.columns[n]}
            found.append(ReportCase(material.explained.cases[n], maps, rows=[row]))
    return found


def _evidence(path: Path) -> tuple[list[dict[str, Any]] | None, dict[str, Any] | None]:
    if not (path / "evidence.json").exists():
        return None, None
    shown = ("method", "measure", "control", "value", "low", "high", "null_mean", "difference", "p_adjusted")
    with (path / "evidence.tsv").open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream, dialect="excel-tab") if r["case"] == "*"]
    plain = [{k: None if r[k] == "n/a" else number(r[k]) for k in shown} for r in rows]
    return plain, read_json(path / "evidence.json", "evidence")["verdicts"]


def write_page(study: AbstractStudy[Material], run: StudyRun, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    done = _done(run)
    title = f"Regard study: {study.title}"
    if "train" not in done:
        write_report(run.path / "report.html", title, [], meta={"acts done": ", ".join(sorted(done))})
        return
    assert isinstance(run.config, BrainAgeConfig)
    config, material = run.config, study.material(run)
    evidence, verdicts = _evidence(run.path)
    size = " x ".join(map(str, np.array(material.test.images.shape[2:])))
    meta = {
        "size": config.size,
        "data": "brain phantoms" if material.phantoms else "the user's table",
        "subjects": f"{len(material.learn)} to train, {len(material.calibrate)} to correct, "
        f"{len(material.test)} to test",
        "explained": f"{NETWORKS[config.train.networks[0]]}, {len(material.explained)} subjects",
        "voxels": f"{size} of {config.data.spacing_mm:g} mm",
        "seed": run.seed,
    }
    if run.folder.failures:
        meta["cases that failed"] = f"{len(run.folder.failures)}, told in failures.tsv"
    write_report(
        run.path / "report.html", title, _cases(material) if "explain" in done else [], meta=meta, evidence=evidence,
        verdicts=verdicts, chapters=_chapters(study, run, material, scores),
    )  # fmt: skip
