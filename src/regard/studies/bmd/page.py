"""The report: one page that a clinician can read, then tables, pictures and maps."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.explainers.spec import parse_methods
from regard.io.schema import read_json
from regard.report.html import Chapter, ReportCase, write_report
from regard.studies.bmd.about import ITEMS
from regard.studies.bmd.config import CASES, BMDConfig
from regard.studies.bmd.decoy import DECOY_CASES, group_name
from regard.studies.bmd.explain import explained, maps_of
from regard.studies.bmd.figures import draw_agreement, draw_decoy, draw_maps
from regard.studies.bmd.material import Material, material_of
from regard.studies.bmd.weigh import AT_DATA, decision
from regard.studies.run import Scores, StudyRun
from regard.studies.scoring.bootstrap import Score
from regard.studies.study import AbstractStudy

__all__ = ["write_page"]

_FIGURES = ("pearson_r", "mae", "rmse", "mape", "bias", "slope", "accuracy", "recall", "specificity", "f1")
_FLOORS = {
    "mean": "the mean label",
    "histogram": "ridge on the histogram",
    "region_hu": "mean HU of L1's body",
    "body_size": "body size",
    "decoy": "the decoy alone",
}


def _said(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "undefined"
    return str(score)


def _score_rows(scores: Scores) -> list[dict[str, str]]:
    named = {f"case{c}": f"case {c}: {name}" for c, name in CASES.items()}
    named |= {f"floor_{k}": f"without a network: {v}" for k, v in _FLOORS.items()}
    named["ceiling"] = "a reader of the truth at that noise"
    rows = []
    for group, name in named.items():
        if group in scores:
            rows.append({"": name} | {f.replace("_", " "): _said(scores[group].get(f)) for f in _FIGURES})
    return rows


def _summary(material: Material, scores: Scores) -> list[str]:
    """What a clinician should know, in whole sentences."""
    said = [
        "The network reads the areal bone density of L1, which a densitometer measures, from one CT slice. "
        + (
            "Everything on this page comes from simulated patients whose bone we know; it says nothing of real ones."
            if material.phantoms
            else "It was trained and tested on the cases of your table."
        )
    ]
    one = scores.get("case1")
    if one:
        low = one["recall"]
        said.append(
            f"On {one['mae'].n_patients} patients it had never seen it was off by {_said(one['mae'])} g/cm2 on average "
            f"(brackets: 95 % interval), r = {_said(one['pearson_r'])}. Of those whose T-score is below "
            f"{material.config.score.threshold:g} it found {_said(low)}, and it cleared {_said(one['specificity'])} of "
            "the others."
        )
        slope = one["slope"]
        if slope.value < 0.95:
            said.append(
                f"It draws extremes towards the middle (slope {_said(slope)}): very low densities are read too high."
            )
        if "conformal_margin" in one:
            said.append(
                f"A single reading is good to within {one['conformal_margin'].value:.3f} g/cm2 in about "
                f"{100 * one['conformal_margin'].level:.0f} of 100 patients like these (on the test patients: "
                f"{_said(one.get('conformal_coverage'))}). Where that interval holds T = "
                f"{material.config.score.threshold:g}, the slice does not decide."
            )
        hand = one.get("r_above_region_hu")
        if hand is not None:
            better = "more" if hand.low > 0 else "less" if hand.high < 0 else "no more, as far as this can tell,"
            said.append(
                f"A circle drawn in the vertebral body (its mean HU) correlates with r = "
                f"{_said(scores['floor_region_hu']['pearson_r'])}; the network tells {better} than that "
                f"(difference in r {_said(hand)})."
            )
    depends = scores.get("depends_case1")
    if depends:
        moved = {k.removeprefix("change_"): s for k, s in depends.items() if k.startswith("change_")}
        order = sorted(moved, key=lambda k: -abs(moved[k].value))
        listed = "; ".join(f"{k.replace('_', ' ')} {_said(moved[k])} g/cm2" for k in order)
        said.append(
            "What the reading truly depends on, found by rendering the same patients again with one thing moved from "
            f"its lowest to its highest: {listed}."
        )
    best = _best(scores)
    if best is not None:
        said.append(best)
    said.append("Research use only: none of this is a diagnosis.")
    return said


def _best(scores: Scores) -> str | None:
    found = {g.removeprefix("map_"): s["average-precision"] for g, s in scores.items() if "average-precision" in s}
    found = {k: v for k, v in found.items() if not math.isnan(v.value)}
    if not found:
        return None
    best, worst = (pick(found, key=lambda k: found[k].value) for pick in (max, min))
    return (
        f"Of the maps, {best} shows best where the reading comes from (area under precision and recall "
        f"{_said(found[best])}), {worst} worst ({_said(found[worst])}). A map that convinces the eye and scores low "
        "here should not be believed."
    )


def _place_rows(scores: Scores) -> list[dict[str, str]]:
    rows = []
    for group, values in scores.items():
        if not group.startswith("map_"):
            continue
        method = group.removeprefix("map_")
        row = {"map": method}
        for name, shown in (
            ("average-precision", "place, against what the network uses"),
            (AT_DATA, "place, against the label"),
            ("deletion", "faithfulness (deletion) [spread]"),
        ):
            if name in values:
                row[shown] = _said(values[name])
        across = scores.get("across_decision", {}).get(f"likeness_{method}")
        if across is not None:
            row["likeness across T = -1"] = _said(across)
        agree = scores.get("ensemble", {}).get(f"sign_agreement_{method}")
        if agree is not None:
            row["members agree on the sign"] = _said(agree)
        rows.append(row)
    return sorted(rows, key=lambda r: r.get("place, against what the network uses", ""), reverse=True)


def _depends_rows(scores: Scores, config: BMDConfig) -> list[dict[str, str]]:
    rows = []
    for factor in config.weigh.factors:
        row = {"moved from lowest to highest": factor.replace("_", " ")}
        for case, name in CASES.items():
            group = scores.get(f"depends_case{case}", {})
            if group:
                row[f"case {case}: {name} [g/cm2]"] = _said(group.get(f"change_{factor}"))
        rows.append(row)
    return [r for r in rows if len(r) > 1]


def _decoy_rows(scores: Scores, config: BMDConfig) -> list[dict[str, str]]:
    rows = []
    for dose in config.data.doses:
        for case in DECOY_CASES:
            group = scores.get(group_name(dose, case))
            if group is None:
                continue
            row = {
                "dose": f"{dose:g}",
                "case": str(case),
                "what the decoy does [g/cm2]": _said(group["effect_of_decoy"]),
                "error, decoy as trained": _said(group["mae"]),
                "error, decoy at random": _said(group["mae_decoy_at_random"]),
            }
            seen = {k.removeprefix("seen_by_"): s for k, s in group.items() if k.startswith("seen_by_")}
            row |= {f"seen by {k}": f"{s.value:.2f}" for k, s in seen.items()}
            rows.append(row)
    return rows


def _outline_rows(scores: Scores) -> list[dict[str, str]]:
    rows = []
    for group, values in scores.items():
        if group.startswith("segmentation_"):
            row = {"outlined by": group.removeprefix("segmentation_").replace("_", " ")}
            for name in ("dice_body", "hd95_body", "dice_vertebra", "hd95_vertebra"):
                if name in values:
                    unit = " [mm]" if name.startswith("hd95") else ""
                    row[name.replace("_", ", ").replace("hd95", "HD95").replace("dice", "Dice") + unit] = _said(
                        values[name]
                    )
            rows.append(row)
    return rows


def _chapters(study: AbstractStudy, run: StudyRun, material: Material, scores: Scores) -> list[Chapter]:
    config, figures = material.config, run.folder.figures
    chapters = [Chapter("In short, for a clinician", _summary(material, scores))]
    if "case1" in scores:
        picture = figures / "agreement.png"
        draw_agreement(material, scores, picture)
        text = (
            f"{len(material.test)} slices of {len(set(material.test.patients))} patients; in brackets 95 % intervals, "
            "patients resampled. A network is worth its trouble when it is above every row that needs no network, and "
            "as good as it can be when it reaches the last."
        )
        chapters.append(
            Chapter(
                "How well it measures",
                [text],
                picture,
                _score_rows(scores),
            )
        )
    if _outline_rows(scores):
        text = "Against the phantoms' own outlines. HD95: 95th percentile of the distance between outlines."
        chapters.append(Chapter("How well L1 is outlined", [text], None, _outline_rows(scores)))
    if _depends_rows(scores, config):
        text = (
            "Model truth: the same patients rendered again with one factor moved and all else fixed, noise too, and "
            "the change of the first network's reading. What is not bone should do nothing."
        )
        chapters.append(Chapter("What the reading depends on", [text], None, _depends_rows(scores, config)))
    cohort = explained(material)
    if "explain" in _done(run):
        rows = []
        labels = [s.label for s in parse_methods(config.explain.methods)]
        pictured = range(min(config.explain.n_pictured, len(cohort)))
        rows = [found for n in pictured if (found := maps_of(material, cohort, n, labels))]
        if rows:
            draw_maps(rows, figures / "maps.png")
            text = (
                "Mean over the ensemble, red raises the reading and blue lowers it; each map has a scale of its own, "
                "and unsigned maps are drawn from dark to bright."
            )
            chapters.append(Chapter("Where the number comes from", [text], figures / "maps.png"))
    if _place_rows(scores):
        text = (
            "The first network of case 1, over the explained patients. Place: area under precision and recall of the "
            "map's size as a detector of the true places. Deletion: how much further the reading falls when places are "
            "taken away in the map's order. All beside their controls in the table of evidence below."
        )
        chapters.append(Chapter("Are the maps true?", [text], None, _place_rows(scores)))
    if _decoy_rows(scores, config):
        seen_by = [s.label for s in parse_methods(config.weigh.methods)]
        draw_decoy(scores, config.data.doses, seen_by, figures / "decoy.png")
        text = (
            f"In these cohorts the decoy ({config.data.decoy.replace('_', ' ')}) follows the label with a given "
            "correlation, which a network can exploit. Does it? Do the maps show it? Does masking the slice to the "
            "vertebral body remove it? A map gives the decoy away in a patient when more of it lies there than in 95 % "
            "of the patients of dose 0."
        )
        chapters.append(Chapter("A shortcut, by dose", [text], figures / "decoy.png", _decoy_rows(scores, config)))
    if "score" in _done(run):
        text = "Whether the reading's prediction interval leaves the decision open, for the explained patients."
        chapters.append(
            Chapter(f"At the decision, T = {config.score.threshold:g}", [text], None, decision(material, cohort))
        )
    items = [{"in the paper": i.what, "": i.state, "here": i.how} for i in ITEMS]
    chapters.append(Chapter("What the paper did, and what is done here", [study.paper], None, items))
    return chapters


def labels_of(config: BMDConfig) -> list[str]:
    """Labels of the methods."""
    return [s.label for s in parse_methods(config.explain.methods)]


def _done(run: StudyRun) -> set[str]:
    acts = ("data", "train", "score", "explain", "weigh")
    return {a for a in acts if run.find(f"checkpoints/act-{a}.json") is not None}


def _cases(material: Material) -> list[ReportCase]:
    cohort, config = explained(material), material.config
    labels = labels_of(config)
    labels += [
        f"{m}-{e}" for m in ("grad-ram", "grad-ramp") for e in ("early", "published", "single", "case2", "case3")
    ]
    found = []
    rows = decision(material, cohort)
    for n in range(min(config.explain.n_pictured, len(cohort))):
        maps = maps_of(material, cohort, n, labels)
        if maps:
            outline = cohort.vertebra[n]
            truth = None
            if bool(outline.isfinite().all()):
                truth = cohort.volume(n, (outline > 0.5).float()).with_tensor(
                    (outline > 0.5).float().T[None, :, :, None].contiguous(), unit="label"
                )
            found.append(ReportCase(cohort.cases[n], maps, truth, rows=[rows[n]]))
    return found


def _evidence(path: Path) -> tuple[list[dict[str, Any]] | None, dict[str, Any] | None]:
    """Rows and verdicts as they were written; None before the maps have been weighed."""
    if not (path / "evidence.json").exists():
        return None, None
    verdicts = read_json(path / "evidence.json", "evidence")["verdicts"]
    return _evidence_rows(path / "evidence.tsv"), verdicts


def _evidence_rows(path: Path) -> list[dict[str, Any]]:
    import csv

    shown = ("method", "measure", "control", "value", "low", "high", "null_mean", "difference", "p_adjusted")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream, dialect="excel-tab") if r["case"] == "*"]
    return [{k: _number(r[k]) for k in shown} for r in rows]


def _number(text: str) -> Any:
    if text == "n/a":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def write_page(study: AbstractStudy, run: StudyRun, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    done = _done(run)
    if "train" not in done:
        write_report(run.path / "report.html", f"Regard study: {study.title}", [], meta={"acts done": ", ".join(done)})
        return
    assert isinstance(run.config, BMDConfig)
    material = material_of(run, run.config)
    evidence, verdicts = _evidence(run.path)
    chapters: Sequence[Chapter] = _chapters(study, run, material, scores)
    config = run.config
    meta = {
        "paper": study.paper,
        "size": config.size,
        "data": "torso phantoms" if material.phantoms else "the user's table",
        "trained on": f"{len(material.learn)} slices of {len(set(material.learn.patients))} patients",
        "networks": f"{config.train.n_members} for each of three cases",
        "pixels": f"{config.data.shape[0]} x {config.data.shape[1]} of {config.data.spacing_mm:g} mm",
        "seed": run.seed,
    }
    failures = run.folder.failures
    if failures:
        meta["cases that failed"] = f"{len(failures)}, told in failures.tsv"
    write_report(
        run.path / "report.html",
        f"Regard study: {study.title}",
        _cases(material) if "explain" in done and "score" in done else [],
        meta=meta,
        evidence=evidence,
        verdicts=verdicts,
        chapters=chapters,
    )
