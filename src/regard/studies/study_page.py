"""The report of a study: what every study's page has, around the chapters that are its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from regard.report.html import Chapter, ReportCase, write_report
from regard.studies import ACTS
from regard.studies.evidence_page import evidence_of
from regard.studies.run import Scores, StudyRun
from regard.studies.scoring.bootstrap import Score

__all__ = ["done_acts", "in_words", "score_chapters", "sentence", "write_early_page", "write_study_page"]


def done_acts(run: StudyRun) -> tuple[str, ...]:
    """Acts that have been run, in this folder or in the run that it goes on from, in their order."""
    return tuple(act for act in ACTS if run.find(f"checkpoints/act-{act}.json") is not None)


def write_early_page(study: Any, run: StudyRun) -> None:
    """Write ``report.html`` of a run that has no networks yet: which acts are done."""
    facts = {"acts done": ", ".join(done_acts(run))}
    write_report(run.path / "report.html", f"Regard study: {study.title}", [], meta=facts)


def in_words(score: Score | None) -> str:
    """A score in words; ``undefined`` where it is missing or no number."""
    return "undefined" if score is None or math.isnan(score.value) else str(score)


def score_chapters(scores: Scores) -> list[Chapter]:
    """A chapter for each group of scores, with a row for each: what a study has that writes no chapters itself."""
    chapters = []
    for group, rows in scores.items():
        table = [
            {"": name.replace("_", " "), "value": in_words(s), "unit": s.unit, "patients": s.n_patients}
            for name, s in rows.items()
        ]
        chapters.append(Chapter(group.replace("_", " "), rows=table))
    return chapters


def sentence(text: str, scores: Mapping[str, Score], **more: object) -> str:
    """Fill a sentence: each name in braces is a score with its interval, or one of ``more``.

    Raises
    ------
    KeyError
        If it is neither: a sentence about what was not measured is not written.
    """
    return text.format_map({**{name: in_words(score) for name, score in scores.items()}, **more})


def write_study_page(
    study: Any,
    run: StudyRun,
    chapters: Sequence[Chapter],
    *,
    facts: Mapping[str, object],
    cases: Sequence[ReportCase] = (),
) -> None:
    """Write ``report.html``: a study's chapters, then its items; evidence and failures as the run has them.

    Parameters
    ----------
    study, run
        An `AbstractStudy` and its run.
    chapters
        Its own.
    facts
        What stands at the head of the page, by name.
    cases
        Maps that are shown.
    """
    items = [{"in the paper": i.what, "": i.state, "here": i.how} for i in study.items]
    evidence, verdicts = evidence_of(run.path)
    failures = run.folder.failures
    told = {"cases that failed": f"{len(failures)}, told in failures.tsv"} if failures else {}
    write_report(
        run.path / "report.html",
        f"Regard study: {study.title}",
        list(cases),
        meta={**facts, **told},
        evidence=evidence,
        verdicts=verdicts,
        chapters=[*chapters, Chapter("What the paper did, and what is done here", [study.paper], None, items)],
    )
