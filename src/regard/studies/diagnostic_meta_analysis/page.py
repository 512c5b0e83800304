"""The report: what the studies say together, in pictures and whole sentences."""

from typing import TYPE_CHECKING

from regard.evidence.accuracy.bivariate import FEWEST, Fit, fit_binomial
from regard.evidence.accuracy.checks import deeks, repeated
from regard.evidence.accuracy.tables import Tables
from regard.report.html import Chapter
from regard.studies.diagnostic_meta_analysis.figures import draw_forest, draw_funnel, draw_plane, draw_quality
from regard.studies.run import Scores, StudyRun
from regard.studies.study_page import done_acts, in_words, score_chapters, write_study_page

if TYPE_CHECKING:
    from regard.studies.diagnostic_meta_analysis.study import MetaAnalysis, Pooled

__all__ = ["PUBLISHED", "write_page"]

PUBLISHED = (
    ("X-ray, appendicular", "0.97 (0.83-0.99)", "0.90 (0.75-0.96)"),
    ("X-ray, mandible", "0.94 (0.89-0.97)", "0.80 (0.56-0.93)"),
    ("X-ray, lumbar", "0.87 (0.77-0.93)", "0.82 (0.75-0.87)"),
    ("CT, hip", "0.87 (0.83-0.90)", "0.92 (0.81-0.96)"),
    ("CT, thoracic", "0.91 (0.86-0.94)", "0.94 (0.92-0.95)"),
    ("CT, lumbar", "0.91 (0.87-0.94)", "0.92 (0.86-0.95)"),
)
"""Sensitivity and specificity with 95 % as the paper's summary states them: 60 studies, 66,195 participants."""


def _groups(found: "Pooled") -> dict[str, tuple[Tables, Fit | None]]:
    """The studies by modality where that is told, otherwise all together."""
    tables, column = found.tables, found.tables.columns.get("modality")
    if column is None or len(set(column)) < 2:
        return {"all": (tables, found.exact)}
    groups = {}
    for name in dict.fromkeys(column):
        part = tables.only([n for n, v in enumerate(column) if v == name])
        groups[name or "not told"] = (part, fit_binomial(part) if len(part) >= FEWEST else None)
    return groups


_SIMULATED = (
    "The studies are simulated, with known truth: their figures say how the method works, nothing of any test. Give "
    "a table of your own with --data."
)
_MODELS = {"binomial": "Pooled by the binomial mixed model", "bivariate": "By the normal approximation, as usual"}
_WHICH = (
    "Where sensitivities are near 1 and studies small the normal approximation pulls them down, and its intervals hold "
    "the truth too rarely (see the coverage below); pictures and curve are the binomial model's."
)
_BOUNDARY = (
    "The correlation between studies is estimated as {rho:.2f}, at its end: no region is drawn, and the intervals are "
    "those of a model that these studies do not settle."
)
_EMPTY_CELL = (
    "One study has an empty cell, so that a half is added to every count of all studies. That pulls high sensitivities "
    "down; the binomial mixed model needs no such correction and stands beside it."
)
_SEVERAL_ROWS = (
    "{n} studies have several rows ({rows} in all): they are taken for independent, which makes intervals too narrow. "
    "Keep one row of each, or read them with this in mind."
)
_TOO_FEW = (
    "{n} studies are too few to pool: five numbers are estimated, from {least} at least. They are shown one by one."
)
_PLANE = (
    "Each circle is a study, as large as it has patients. A solid border holds the pooled point with 95 %; a dotted "
    "one holds the true point of a new study, and is what a reader can expect elsewhere."
)
_NETWORKS = (
    "Diamonds are networks of your own, with exact 95 % intervals, at the thresholds of their runs. Their patients are "
    "others than those of the studies: that a diamond lies within a region proves nothing."
)
_QUOTED = (
    "Quoted from the paper's summary (Zhao et al. 2026). Its counts are not public, so that it cannot be repeated."
)


def _summary(found: "Pooled", scores: Scores) -> list[str]:
    tables, fit, rows = found.tables, found.fit, repeated(found.tables)
    said = [_SIMULATED] * found.simulated
    if fit is None:
        return [*said, _TOO_FEW.format(n=len(tables), least=FEWEST)]
    for model, words in _MODELS.items():
        pooled = scores.get(model, {})
        if not pooled:
            continue
        values = [f"{name} {in_words(pooled[name])}" for name in ("sensitivity", "specificity")]
        said.append(f"{words}: {', '.join(values)} (in brackets 95 %).")
    if scores.get("binomial"):
        said.append(f"{len(tables)} studies, {found.n_patients:,} patients. {_WHICH}")
    if fit.at_boundary:
        said.append(_BOUNDARY.format(rho=fit.correlation))
    if tables.corrected:
        said.append(_EMPTY_CELL)
    if rows:
        said.append(_SEVERAL_ROWS.format(n=len(rows), rows=sum(rows.values())))
    return said


def write_page(study: "MetaAnalysis", run: StudyRun, scores: Scores, found: "Pooled") -> None:
    """Write ``report.html`` and its pictures from what the acts have made so far."""
    figures = run.path / "figures"
    figures.mkdir(exist_ok=True)
    draw_plane(_groups(found), found.networks, figures / "plane.png")
    text = [_PLANE, *([_NETWORKS] if found.networks else [])]
    chapters = [Chapter("In short", _summary(found, scores)), Chapter("The ROC plane", text, figures / "plane.png")]
    if found.exact is not None:
        draw_forest(found.tables, found.exact, figures / "forest.png")
        draw_funnel(deeks(found.tables), figures / "funnel.png")
        by_study, small = (
            "Wilson's intervals; the lozenge is the pooled value.",
            "Studies weigh by their effective size.",
        )
        chapters.append(Chapter("Study by study", [by_study], figures / "forest.png"))
        chapters.append(Chapter("Do small studies differ?", [small], figures / "funnel.png"))
    if draw_quality(found.tables, figures / "quality.png"):
        chapters.append(Chapter("Risk of bias (QUADAS-2)", ["As your table judges them."], figures / "quality.png"))
    chapters += score_chapters(scores)
    published = [{"group": g, "sensitivity (95 %)": a, "specificity (95 %)": b} for g, a, b in PUBLISHED]
    chapters.append(Chapter("What the paper found", [_QUOTED], rows=published))
    facts = {
        "size": run.config.size, "studies": len(found.tables), "patients": found.n_patients,
        "acts done": ", ".join(done_acts(run)),
    }  # fmt: skip
    write_study_page(study, run, chapters, facts=facts)
