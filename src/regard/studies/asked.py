"""A study as it is asked for: its settings resolved, its acts run in a folder, its scores given back."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.core.errors import FileError
from regard.io import RunFolder
from regard.models.provenance import versions
from regard.runs.computing import computing
from regard.runs.result import RunResult
from regard.studies import STUDIES
from regard.studies.config import resolve
from regard.studies.progress import shown_study
from regard.studies.request import StudyRequest
from regard.studies.run import Scores, StudyRun, acts_of, run_study, sources
from regard.studies.study import AbstractStudy

__all__ = ["StudyResult", "study"]


@dataclass(frozen=True, kw_only=True)
class StudyResult(RunResult):
    """What `study` gives back.

    Parameters
    ----------
    scores
        By group and name, as in ``scores.json``.
    """

    scores: Scores = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The folder and the scores in plain values."""
        told = {g: {n: vars(s) for n, s in rows.items()} for g, rows in self.scores.items()}
        return {"folder": str(self.folder), "scores": told}

    def table(self) -> Any:
        """The scores as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each score: group, name, value, low, high, level, n, n_patients, unit.
        """
        import pandas as pd

        rows = [{"group": g, "name": n, **vars(s)} for g, scores in self.scores.items() for n, s in scores.items()]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        lines = []
        for group, rows in self.scores.items():
            lines.append(group)
            width = max(map(len, rows), default=0)
            for name, score in rows.items():
                unit = "" if score.unit == "1" else f" {score.unit}"
                lines.append(f"  {name.ljust(width)}  {score}{unit}  n = {score.n}, {score.n_patients} patients")
        lines += [f"scores: {self.folder / 'scores.json'}", f"report: {self.report}"]
        if self.failed:
            lines.append(f"failed: {len(self.failed)}, told in {self.folder / 'failures.tsv'}")
        return "\n".join(lines)


def study(request: StudyRequest) -> StudyResult:
    """Run a study as ``regard study run`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    FileError
        If the user's table does not exist.
    """
    with computing(request) as device:
        return _acts(request, device)


def _acts(request: StudyRequest, where: str) -> StudyResult:
    study: AbstractStudy = STUDIES.load(request.name)()
    config = resolve(study.sizes, request.size, file=request.config, settings=request.settings)
    acts = acts_of(request.acts)
    if request.data is not None and not request.data.exists():
        raise FileError(f"no file '{request.data}'", "a table of cases, or a folder", "check the path")
    source, bases = sources(study, config, request.source, acts)
    facts: dict[str, Any] = {
        "study": request.name,
        "size": config.size,
        "model": None,
        "case_ids": [],
        "methods": [],
        "target": None,
        "reference": None,
        "seed": request.seed,
        "device": where,
        "threads": request.threads,
        "batch_size": "auto",
        "config": config.model_dump(mode="json"),
        "data": None if request.data is None else os.path.abspath(request.data),
        "from": _paths(request.source),
    }
    folder = RunFolder(
        request.output, "study", facts, argv=request.words("study run"), versions=versions(), private=request.private,
        overwrite=request.overwrite,
    )  # fmt: skip
    with folder, shown_study(study.shares, _open_acts(folder, acts), quiet=request.quiet) as progress:
        run = StudyRun(
            config, folder, seed=request.seed, device=where, data=request.data, source=source, bases=bases,
            stage=progress.stage,
        )  # fmt: skip
        scores = run_study(study, run, acts)
    report = request.output / "report.html"
    return StudyResult(
        folder=request.output, report=report, failed=tuple(r["case"] for r in folder.failures), scores=scores
    )


def _open_acts(folder: RunFolder, acts: tuple[str, ...]) -> list[str]:
    return [a for a in acts if not (folder.path / "checkpoints" / f"act-{a}.json").exists()]


def _paths(runs: Sequence[Path]) -> str | list[str] | None:
    """Where runs lie: one as it was recorded when there could be one only, so that older folders go on."""
    found = [os.path.abspath(run) for run in runs]
    return found if len(found) > 1 else next(iter(found), None)
