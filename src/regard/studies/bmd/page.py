"""The report: one page that a clinician can read, then tables, pictures and maps."""

from pathlib import Path

from regard.explainers.spec import parse_methods
from regard.report.html import Chapter, ReportCase
from regard.studies.bmd.config import BMDConfig
from regard.studies.bmd.explain import explained, maps_of
from regard.studies.bmd.figures import draw_agreement, draw_decoy, draw_maps
from regard.studies.bmd.material import Material
from regard.studies.bmd.summary import summary
from regard.studies.bmd.tables import (
    class_rows,
    decoy_rows,
    depends_rows,
    interval_rows,
    measure_rows,
    outline_rows,
    paired_rows,
    place_rows,
    second_rows,
    seen_rows,
    where_rows,
)
from regard.studies.bmd.weigh import decision
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy
from regard.studies.study_page import done_acts, write_early_page, write_study_page

__all__ = ["write_page"]


def _table(title: str, text: str, rows: list[dict[str, str]], picture: Path | None = None) -> list[Chapter]:
    """A chapter, where there is anything to show."""
    return [Chapter(title, [text], picture, rows)] if rows else []


def _measured(material: Material, scores: Scores, figures: Path) -> list[Chapter]:
    if "case1" not in scores:
        return []
    picture = figures / "agreement.png"
    draw_agreement(material, scores, picture)
    threshold, test = material.config.score.threshold, material.test
    found = _table(
        "How well it measures",
        f"{len(test)} slices of {len(set(test.patients))} patients whom no network saw; in brackets 95 % intervals, "
        "patients resampled. Above: reading against densitometer; below: their difference, with bias and 95 % limits "
        "of agreement (Bland and Altman). A slope of 1 is calibrated, below it extremes are drawn to the middle.",
        measure_rows(scores),
        picture,
    )
    found += _table(
        "Is a network worth its trouble?",
        "Differences on the same resampled patients: an interval above 0 means that the network is better.",
        paired_rows(scores),
    )
    found += _table(
        f"Low bone density, T < {threshold:g}",
        f"T = (density - {material.config.score.t_mean}) / {material.config.score.t_deviation}; slices counted.",
        class_rows(scores),
    )
    found += _table(
        "How sure a single reading is",
        f"Intervals that should hold for {100 * material.config.score.level:.0f} of 100 slices: calibrated on patients "
        "set apart, or from the spread of the networks alone, which knows nothing of errors that they share.",
        interval_rows(scores),
    )
    text = "Volumetric density of the spongy bone in L1's body, as quantitative CT gives it; one slice a patient."
    found += _table("The second target: trabecular density", text, second_rows(scores))
    text = "Against the phantoms' own outlines. HD95: 95th percentile of the distance between outlines."
    return found + _table("How well L1 is outlined", text, outline_rows(scores))


def _mapped(run: StudyRun, material: Material, scores: Scores, figures: Path) -> list[Chapter]:
    config, cohort, found = material.config, explained(material), []
    if "explain" in done_acts(run):
        labels = [s.label for s in parse_methods(config.explain.methods)]
        early = [f"{m}-early" for m in ("grad-ram", "grad-ramp") if m in labels]
        pictured = range(min(config.explain.n_pictured, len(cohort)))
        rows = [maps for n in pictured if (maps := maps_of(material, cohort, n, [*labels, *early]))]
        if rows:
            draw_maps(rows, figures / "maps.png")
            text = (
                "Mean over the networks of case 1. Red raises the reading, blue lowers it; each map is drawn on a "
                "scale of its own. The layer that the paper hooks has few cells: its maps say little more than a "
                "quarter of the picture. Maps called early are of a layer with more."
            )
            found.append(Chapter("Where the number comes from", [text], figures / "maps.png"))
    found += _table(
        "What the maps lie on",
        "Share of each map's size on each structure, mean over the explained patients. A map that says nothing has the "
        "shares of the slice itself, in the first row.",
        where_rows(scores),
    )
    text = (
        "The first network of case 1, over the explained patients. Place: area under precision and recall of the map's "
        "size as a detector of the true places. Deletion: how much further the reading falls when places are taken "
        "away in the map's order. Their controls are in the table of evidence at the end."
    )
    return found + _table("Are the maps true?", text, place_rows(scores))


def _chapters(run: StudyRun, material: Material, scores: Scores) -> list[Chapter]:
    config, figures, cohort = material.config, run.folder.figures, explained(material)
    chapters = [Chapter("In short, for a clinician", summary(material, scores))]
    if "score" in done_acts(run):
        rows = decision(material, cohort)
        text = "Open: the reading's prediction interval holds the threshold, so that the slice alone does not decide."
        chapters.append(Chapter(f"At the decision, T = {config.score.threshold:g}", [text], None, rows))
    chapters += _measured(material, scores, figures)
    text = (
        "Model truth: the same patients rendered again with one factor moved and all else fixed, noise too, and the "
        "change of the first network's reading. Calcium of the aorta and muscle are not L1 and should do nothing."
    )
    chapters += _table("What the reading depends on", text, depends_rows(scores, config))
    chapters += _mapped(run, material, scores, figures)
    decoys = decoy_rows(scores, config)
    if decoys:
        seen_by = [s.label for s in parse_methods(config.weigh.methods)]
        draw_decoy(scores, config.data.doses, seen_by, figures / "decoy.png")
        text = (
            f"In these cohorts the decoy ({config.data.decoy.replace('_', ' ')}) follows the label with a given "
            "correlation, which a network can exploit. Does it? What does that cost where the decoy says nothing? Does "
            "masking the slice to the vertebral body remove it?"
        )
        chapters += _table("A shortcut, by dose", text, decoys, figures / "decoy.png")
        text = (
            "A map gives the decoy away in a patient when more of it lies there than in 95 % of the patients of dose "
            "0, whose network has no reason to use it."
        )
        chapters += _table("Which maps give the shortcut away", text, seen_rows(scores, config))
    return chapters


def labels_of(config: BMDConfig) -> list[str]:
    """Labels of the methods."""
    return [s.label for s in parse_methods(config.explain.methods)]


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


def write_page(study: AbstractStudy[Material], run: StudyRun, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    done = done_acts(run)
    if "train" not in done:
        write_early_page(study, run)
        return
    assert isinstance(run.config, BMDConfig)
    material = study.material(run)
    config = run.config
    facts = {
        "size": config.size,
        "data": "torso phantoms" if material.phantoms else "the user's table",
        "trained on": f"{len(material.learn)} slices of {len(set(material.learn.patients))} patients",
        "networks": f"{config.train.n_members} for each of three cases",
        "pixels": f"{config.data.shape[0]} x {config.data.shape[1]} of {config.data.spacing_mm:g} mm",
        "seed": run.seed,
    }
    cases = _cases(material) if "explain" in done and "score" in done else []
    write_study_page(study, run, _chapters(run, material, scores), facts=facts, cases=cases)
