"""What ``regard study`` does."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from regard.cli.options import set_up
from regard.cli.study_progress import shown_study
from regard.core.errors import FileError, SomeCasesFailed
from regard.io import RunFolder
from regard.io.atomic import plain
from regard.models.provenance import versions
from regard.studies import ACTS, SIZES, STUDIES
from regard.studies.config import resolve
from regard.studies.run import Scores, StudyRun, acts_of, run_study, sources
from regard.studies.study import AbstractStudy

__all__ = ["StudyRequest", "run_request", "show_study"]


@dataclass(frozen=True)
class StudyRequest:
    """What was asked for; the options of ``regard study run``."""

    name: str
    output: Path
    size: str
    config: Path | None
    settings: tuple[str, ...]
    data: Path | None
    acts: str | None
    source: Path | None
    seed: int
    device: str
    threads: int | None
    private: bool
    overwrite: bool
    verbose: bool
    quiet: bool
    as_json: bool


def show_study(name: str, *, as_json: bool = False) -> int:
    """Print a study's acts, sizes and items."""
    study: AbstractStudy = STUDIES.load(name)()
    sizes = {s: study.sizes[s].model_dump(mode="json") for s in SIZES if s in study.sizes}
    if as_json:
        items = [vars(i) for i in study.items]
        told = {"name": name, "title": study.title, "paper": study.paper, "acts": study.acts, "sizes": sizes}
        typer.echo(json.dumps(plain({**told, "items": items}), indent=2))
        return 0
    typer.echo(f"{name}: {study.title}\n{study.paper}\n\nacts")
    for act in ACTS:
        typer.echo(f"  {act.ljust(8)} {study.acts[act]}")
    typer.echo("\nsizes")
    _table(_sizes_table(sizes))
    for state in ("done", "reduced", "absent"):
        typer.echo(f"\n{state}")
        for item in (i for i in study.items if i.state == state):
            typer.echo(f"  {item.what}: {item.how}")
    return 0


def _sizes_table(sizes: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    flat = {s: dict(_flat(c)) for s, c in sizes.items()}
    keys = list(dict.fromkeys(k for c in flat.values() for k in c if k != "size"))
    return [["setting", *flat], *([key, *(_short(c.get(key)) for c in flat.values())] for key in keys)]


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [(before + key, value)]
    return found


def _short(value: Any) -> str:
    if isinstance(value, list):
        text = "x".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
        return text if len(text) <= 24 else f"{len(value)} of them"
    return str(value)


def _table(rows: list[list[str]]) -> None:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        typer.echo("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def run_request(request: StudyRequest) -> int:
    """Run a study and return the exit code.

    Raises
    ------
    FileError
        If the user's table does not exist.
    """
    where = set_up(device=request.device, threads=request.threads, verbose=request.verbose, quiet=request.quiet)
    study: AbstractStudy = STUDIES.load(request.name)()
    config = resolve(study.sizes, request.size, file=request.config, settings=request.settings)
    acts = acts_of(request.acts)
    if request.data is not None and not request.data.exists():
        raise FileError(f"no file '{request.data}'", "a table of cases, or a folder", "check the path")
    source, base = sources(study, config, request.source, acts)
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
        "from": None if request.source is None else os.path.abspath(request.source),
    }
    folder = RunFolder(
        request.output, "study", facts, argv=sys.argv[1:], versions=versions(), private=request.private,
        overwrite=request.overwrite,
    )  # fmt: skip
    with folder, shown_study(study.shares, _open_acts(folder, acts), quiet=request.quiet) as progress:
        run = StudyRun(
            config, folder, seed=request.seed, device=where, data=request.data, source=source, base=base,
            stage=progress.stage,
        )  # fmt: skip
        scores = run_study(study, run, acts)
    _tell(request, scores)
    failed = folder.failures
    if failed and not request.as_json:
        typer.echo(f"failed: {len(failed)}, told in {request.output / 'failures.tsv'}")
    return SomeCasesFailed.exit_code if failed else 0


def _open_acts(folder: RunFolder, acts: tuple[str, ...]) -> list[str]:
    return [a for a in acts if not (folder.path / "checkpoints" / f"act-{a}.json").exists()]


def _tell(request: StudyRequest, scores: Scores) -> None:
    if request.as_json:
        told = {g: {n: vars(s) for n, s in rows.items()} for g, rows in scores.items()}
        typer.echo(json.dumps(plain({"folder": str(request.output), "scores": told}), indent=2))
        return
    for group, rows in scores.items():
        typer.echo(group)
        width = max(map(len, rows), default=0)
        for name, score in rows.items():
            unit = "" if score.unit == "1" else f" {score.unit}"
            typer.echo(f"  {name.ljust(width)}  {score}{unit}  n = {score.n}, {score.n_patients} patients")
    typer.echo(f"scores: {request.output / 'scores.json'}")
    typer.echo(f"report: {request.output / 'report.html'}")
