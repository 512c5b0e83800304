"""The report: one page that a clinician can read, then tables, pictures and maps."""

import math
from pathlib import Path

import numpy as np

from regard.core.errors import MissingDependencyError
from regard.explainers.spec import parse_methods
from regard.report.html import Chapter, ReportCase, write_report
from regard.studies.evidence_page import evidence_of
from regard.studies.run import Scores, StudyRun
from regard.studies.scoring.bootstrap import Score
from regard.studies.scoring.boxes import Box
from regard.studies.study import AbstractStudy
from regard.studies.tuberculosis import tables
from regard.studies.tuberculosis.boxes import case_boxes, true_boxes
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.studies.tuberculosis.explain import explained, maps_of, plan
from regard.studies.tuberculosis.figures import (
    draw_boxes,
    draw_cases,
    draw_decoy,
    draw_features,
    draw_maps,
    draw_roc,
)
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.score import PAIRED

__all__ = ["write_page"]


def _size(material: Material) -> str:
    """One sentence that stands over every table: how small all of this is."""
    config = material.config
    share = {64: "all", 32: "half", 16: "a quarter", 8: "an eighth"}.get(
        config.train.width, f"{config.train.width} of 64"
    )
    small = "" if config.size == "paper" else " Smaller than published."
    return (
        f"Size {config.size}: VGG-16 with {share} of its channels, {config.data.size} x {config.data.size} pixels, "
        f"{config.train.n_folds} folds, {len(set(material.cohort.patients))} patients.{small}"
    )


def _arms(material: Material) -> str:
    """What stands in the place of bone suppression."""
    if "suppressed" not in material.arms:
        return "No images without bones: neither a suppressor (--from) nor twins were given."
    words = material.words("suppressed")
    truth = material.suppression is not None and material.suppression.network is None and material.phantoms
    perfect = " That is the phantom's own truth, a perfect suppressor, and no network." if truth else ""
    return f"Suppressed: {words}.{perfect}"


def _said(score: Score | None) -> str:
    return "undefined" if score is None or math.isnan(score.value) else str(score)


def _summary(material: Material, scores: Scores) -> list[str]:
    """What a clinician should know, in whole sentences."""
    said = [
        "A network says from one frontal radiograph whether there are findings of tuberculosis. "
        + (
            "Everything on this page comes from simulated patients whose findings we know; it says nothing of real "
            "ones."
            if material.phantoms
            else "It learnt normal from abnormal on simulated patients, then from your own images; each of your "
            "patients is tested by a network that never saw it."
        )
    ]
    plain, paired = scores.get("plain"), scores.get(PAIRED)
    if plain:
        said.append(
            f"Of {plain['sensitivity'].n} ill images it calls {_said(plain['sensitivity'])} ill, and of "
            f"{plain['specificity'].n} well ones {_said(plain['specificity'])} well (share, in brackets the 95 % "
            f"interval); area under the ROC curve {_said(plain['auc'])}."
        )
        floors = {k.removeprefix("floor_"): g["auc"] for k, g in scores.items() if k.startswith("floor_")}
        best = max(floors, key=lambda k: floors[k].value) if floors else None
        if best is not None:
            better = "above" if plain["auc"].value > floors[best].value else "not above"
            said.append(
                f"Without a network, the best simple rule ({best.replace('_', ' ')}) has an area of "
                f"{_said(floors[best])}: the network is {better} it."
            )
    if paired:
        difference, p = paired["auc_difference"], paired["auc_permutation_p"].value
        sure = "" if p < 0.05 else " That is no more than chance would do."
        said.append(
            f"Without bones the area changes by {_said(difference)} (permutation within folds, p = {p:.3g}).{sure} "
            + _arms(material)
        )
    depends = scores.get("depends_plain")
    if depends:
        order = sorted(depends, key=lambda k: -abs(depends[k].value))
        listed = "; ".join(f"{k.removeprefix('change_')} {_said(depends[k])}" for k in order)
        said.append(
            "What its answer truly depends on, found by exposing the same patients again with one thing taken out, in "
            f"log-odds: {listed}."
        )
    decoys = sorted(k for k in scores if k.startswith("decoy_") and k.endswith("_plain"))
    if decoys:
        last = scores[decoys[-1]]
        dose = decoys[-1].split("_")[1]
        seen = {k.removeprefix("seen_by_"): s for k, s in last.items() if k.startswith("seen_by_")}
        known = {k: s for k, s in seen.items() if not math.isnan(s.value) and k != "random-cam"}
        best_map = max(known, key=lambda k: known[k].value) if known else None
        said.append(
            f"Trained where a letter on the film follows the illness (correlation {dose}), the letter alone moves the "
            f"answer by {_said(last['effect_of_letter_1'])} log-odds"
            + (f", and {best_map} shows it in {_said(known[best_map])} of the patients." if best_map else ".")
        )
    said.append("Research use only: none of this is a diagnosis.")
    return said


def _performance(material: Material, scores: Scores, figures: Path) -> list[Chapter]:
    chapters = []
    if "plain" in scores:
        draw_cases(material, figures / "cases.png")
        chapters.append(Chapter("What it looks at", ["Yellow: the findings.", _arms(material)], figures / "cases.png"))
        draw_roc(material, figures / "roc.png")
        text = (
            "Every patient is tested by a network that never saw it; the best epoch is chosen on patients of the other "
            "folds. Areas compare cases of one fold only. A network is worth its trouble when it is above every row "
            "that needs none."
        )
        chapters.append(
            Chapter(
                "How well it tells", [_size(material), text], figures / "roc.png", tables.performance(material, scores)
            )
        )
    if PAIRED in scores:
        text = (
            "The same test patients, with and without bones, each by the network of its own fold. DeLong's test inside "
            "a fold, where scores come from one network; permutation and McNemar over all. Folds share training "
            "patients, so they are no independent repeats; and p speaks of these networks, each trained once, not of "
            "the method."
        )
        chapters.append(
            Chapter("With and without bones", [_size(material), _arms(material), text], None,
                    tables.paired(material, scores))
        )  # fmt: skip
    if "separation_plain" in scores:
        picture: Path | None = figures / "features.png"
        try:
            draw_features(material, figures / "features.png")
        except MissingDependencyError as error:
            picture = None
            note = str(error)
        else:
            note = "The picture is a t-SNE of one fold's test cases; its distances mean little, so the table measures."
        text = (
            "In all features after the mean over space, on cases that the network did not learn from, fold by fold: "
            "the silhouette (-1 to 1), and the share of the nearest neighbours that are of a case's own kind."
        )
        chapters.append(
            Chapter("How far the features lie apart", [_size(material), note, text], picture,
                    tables.separation(material, scores))
        )  # fmt: skip
    return chapters


def _maps(material: Material, scores: Scores, figures: Path) -> list[Chapter]:
    chapters = []
    section = material.config.explain
    rows = [int(r) for r in explained(material)[: section.n_pictured]]
    labels = {kind: [s.label for s in specs] for kind, specs in plan(material).items()}
    words = {
        "plain": "Where radiographs look ill",
        "suppressed": "Where images without bones look ill",
        "chain": "Where the radiograph looks ill through the suppressor",
    }
    for kind, own in labels.items():
        shown = [found for r in rows if (found := maps_of(material, r, own))]
        if shown and len(shown) == len(rows):
            path = figures / f"maps-{kind}.png"
            draw_maps(shown, [material.cohort.findings[r].nan_to_num().numpy() for r in rows], path)
            text = (
                "Yellow: the findings. Red raises the log-odds of ill, blue lowers them; unsigned maps run from dark "
                "to bright. Each map has a scale of its own."
            )
            chapters.append(Chapter(words[kind], [text], path))
    if tables.boxes(material, scores):
        draw_boxes(_boxed(material), figures / "boxes.png")
        text = (
            "Boxes around the connected parts of a map above a share of its maximum, scored by height times "
            "probability (blue), against boxes around the findings (yellow). Well cases count: a box there is false. A "
            "cell of the last convolution is 16 pixels wide, so small findings cannot be boxed tightly. "
            "random-cam is the control."
        )
        chapters.append(
            Chapter(
                "Boxes on the findings", [_size(material), text], figures / "boxes.png", tables.boxes(material, scores)
            )
        )
    return chapters


def _boxed(material: Material) -> list[tuple[str, np.ndarray, list[Box], list[Box]]]:
    n = max(2, material.config.explain.n_pictured)
    rows = [*explained(material)[:n], *explained(material, ill=False)[:1]]
    found = []
    for r in (int(r) for r in rows):
        image = material.seen(material.cohort, "plain")[r, 0].numpy()
        places = material.cohort.findings[r].nan_to_num()
        title = f"{material.cohort.cases[r]}, {'ill' if material.cohort.ill[r] else 'well'}"
        found.append((title, image, case_boxes(material, r, "plain", "crm"), true_boxes(places)))
    return found


def _truth(material: Material, scores: Scores, figures: Path) -> list[Chapter]:
    chapters = []
    if tables.depends(material, scores):
        text = (
            "Model truth: the same patients exposed again with one thing taken out and all else fixed, noise and "
            "display too, and the change of the network's log-odds. Bones: the radiograph minus the same without "
            "bones, put to the same network."
        )
        chapters.append(
            Chapter("What the answer depends on", [_size(material), _arms(material), text], None,
                    tables.depends(material, scores))
        )  # fmt: skip
    if tables.places(material, scores):
        text = (
            "The networks of the first fold. Place: area under precision and recall of the map's size as a detector of "
            "the true places. Deletion: how much further the log-odds fall when places are taken away in the map's "
            "order, in spreads of the test cases. All beside their controls in the table of evidence below."
        )
        chapters.append(
            Chapter(
                "Are the maps true?", [_size(material), _arms(material), text], None, tables.places(material, scores)
            )
        )
    if tables.decoy(material, scores):
        methods = [s.label for s in parse_methods(material.config.weigh.decoy_methods)]
        draw_decoy(scores, material.config.data.doses, material.arms, methods, figures / "letter.png")
        text = (
            "Networks trained where a letter R on the film follows the illness with a correlation of that dose. The "
            "letter is put into and taken out of the same test images. A map shows it when more of its size lies there "
            "than in 95 % of the same patients without it (dotted: false alarms; 19 patients are needed to tell)."
        )
        chapters.append(
            Chapter("A shortcut", [_size(material), _arms(material), text], figures / "letter.png",
                    tables.decoy(material, scores))
        )  # fmt: skip
    return chapters


def _cases(material: Material) -> list[ReportCase]:
    cohort, found = material.cohort, []
    labels = [s.label for specs in plan(material).values() for s in specs]
    for row in explained(material)[: material.config.explain.n_pictured]:
        n = int(row)
        maps = maps_of(material, n, labels)
        if maps:
            truth = None
            places = cohort.findings[n]
            if bool((places > 0.5).any()):
                truth = cohort.volume(n, (cohort.findings[:, None] > 0.5).float()).with_tensor(
                    (places > 0.5).float().T[None, :, :, None].contiguous(), unit="label"
                )
            told = [
                {"": material.words(a), "log-odds of ill": round(float(material.told(a)[n]), 2)} for a in material.arms
            ]
            found.append(ReportCase(cohort.cases[n], maps, truth, rows=told))
    return found


def write_page(study: AbstractStudy[Material], run: StudyRun, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    done = [a for a in study.acts if run.find(f"checkpoints/act-{a}.json") is not None]
    title = f"Regard study: {study.title}"
    if "train" not in done:
        write_report(run.path / "report.html", title, [], meta={"acts done": ", ".join(done)})
        return
    assert isinstance(run.config, TuberculosisConfig)
    material, figures = study.material(run), run.folder.figures
    chapters = [Chapter("In short, for a clinician", _summary(material, scores))]
    chapters += _performance(material, scores, figures)
    if "explain" in done:
        chapters += _maps(material, scores, figures)
    chapters += _truth(material, scores, figures)
    rows = [{"in the paper": i.what, "here": i.state, "how": i.how} for i in study.items]
    chapters.append(Chapter("What is done of the paper", [study.paper], None, rows))
    evidence, verdicts = evidence_of(run.path)
    meta = {
        "size": _size(material),
        "data": "radiograph phantoms" if material.phantoms else "the user's images",
        "arms": _arms(material),
        "seed": run.seed,
    }
    if run.folder.failures:
        meta["cases that failed"] = f"{len(run.folder.failures)}, told in failures.tsv"
    write_report(
        run.path / "report.html",
        title,
        _cases(material) if "explain" in done else [],
        meta=meta,
        evidence=evidence,
        verdicts=verdicts,
        chapters=chapters,
    )
