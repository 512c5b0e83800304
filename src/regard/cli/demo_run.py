"""What ``regard demo`` does."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from safetensors.torch import save

from regard.cli.options import set_up
from regard.cli.progress import shown
from regard.core.batching import reporting
from regard.core.errors import InputError
from regard.demo import METHODS, Case, Demo, explain_held_out, predict, score, train, what_it_depends_on
from regard.io import Case as InputCase
from regard.io import RunFolder, save_map
from regard.io.atomic import write_bytes, write_json
from regard.io.maps import save_volume
from regard.io.schema import read_json
from regard.models import Model, write_card
from regard.models.provenance import versions
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.report.html import ReportCase, write_report

__all__ = ["SIZES", "run"]

SIZES = {"smoke": Demo(n_train=24, n_test=10, n_explained=2, n_epochs=2), "default": Demo()}
"""How large the demo is, by name."""

MODEL = "models/phantom-density"
RESULTS = "demo.json"


def run(
    output: Path,
    *,
    size: str,
    seed: int,
    device: str,
    threads: int | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the demo and return the exit code; parameters as the options of ``regard demo``."""
    if size not in SIZES:
        raise InputError(f"the size '{size}'", f"one of {', '.join(SIZES)}")
    where = set_up(device=device, threads=threads, verbose=verbose, quiet=quiet)
    plan = replace(SIZES[size], seed=seed)
    scans = [InputCase(name, {"image": output / "scans" / f"{name}.nii.gz"}) for name in plan.explained]
    config = {
        "model": MODEL,
        "case_ids": [c.case for c in scans],
        "methods": list(METHODS),
        "target": None,
        "reference": None,
        "size": size,
        "seed": seed,
        "device": where,
        "threads": threads,
        "batch_size": "auto",
    }
    with (
        RunFolder(
            output, "demo", config, argv=sys.argv[1:], cases=scans, versions=versions(), overwrite=overwrite
        ) as folder,
        shown(quiet=quiet) as progress,
    ):
        if folder.resumed and (folder.path / RESULTS).exists():
            _tell(folder.path, read_json(folder.path / RESULTS, "demo"), scans, as_json)
            return 0
        progress.stage("making phantoms", 0, 5)
        learn, held_out = plan.subjects("train"), plan.subjects("test")
        progress.stage("training the regressor", 1, 5)
        model = train(plan, learn)
        _save_model(folder.path / MODEL, model)
        model.to(where)
        progress.stage("asking what it truly depends on", 2, 5)
        with reporting(None):
            predicted = predict(model, held_out)
            truth_rows = what_it_depends_on(plan, model, held_out[: plan.n_explained])
        progress.stage("explaining held-out cases", 3, 5)
        cases = explain_held_out(plan, model, held_out, progress.stage)
        progress.stage("measuring and writing", 4, 5)
        measured = score(cases, seed=seed)
        labels = np.array([s.density for s in held_out])
        facts = _facts(labels, predicted, np.array([s.density for s in learn]))
        _save(folder, cases)
        _report(folder.path / "report.html", plan, cases, facts, measured, truth_rows, size)
        # Written last: a folder that has it is complete.
        results = {"size": size, "regressor": facts, "maps": measured, "truth": truth_rows}
        write_json(folder.path / RESULTS, "demo", results)
    _tell(folder.path, results, scans, as_json)
    return 0


def _facts(labels: np.ndarray, predicted: np.ndarray, learned: np.ndarray) -> dict[str, Any]:
    return {
        "n": len(labels),
        "unit": "mg/cm3",
        "mae": float(np.abs(predicted - labels).mean()),
        "mae_of_the_mean": float(np.abs(labels - learned.mean()).mean()),
        "pearson_r": float(np.corrcoef(predicted, labels)[0, 1]),
    }


def _save_model(folder: Path, model: Model) -> None:
    tensors = {k: v.contiguous() for k, v in model.network.state_dict().items()}  # type: ignore[union-attr]
    write_bytes(folder / "weights.safetensors", save(tensors))
    write_card(model.card, folder / "card.yaml")


def _save(folder: RunFolder, cases: Sequence[Case]) -> None:
    for case in cases:
        for kind, volume in (("scans", case.subject.image), ("truth", case.subject.truth)):
            (folder.path / kind).mkdir(exist_ok=True)
            save_volume(volume, folder.path / kind / f"{case.subject.name}.nii.gz", f"phantom, {kind}")
        scales = common_scales(case.explanations)
        for explanation in case.explanations:
            path = folder.map_path(case.subject.name, explanation.name)
            overlay(explanation, str(path).removesuffix(".nii.gz") + ".png", scale=scales)
            save_map(explanation, path)


def _report(
    path: Path,
    plan: Demo,
    cases: Sequence[Case],
    facts: dict[str, Any],
    measured: Sequence[dict[str, str]],
    truth_rows: Sequence[dict[str, str]],
    size: str,
) -> None:
    meta = {
        "what this is": "CT-like phantoms; a network that measures the density of the spine; maps of what it looks at",
        "size": size,
        "trained on": f"{plan.n_train} phantoms; tested on {facts['n']} others",
        "the network": f"mean absolute error {facts['mae']:.1f} mg/cm3 (guessing the mean: "
        f"{facts['mae_of_the_mean']:.1f}), r = {facts['pearson_r']:.3f}, n = {facts['n']}",
        "the truth": "the outline is the bone whose density is the label; "
        "hips and calcification have nothing to do with it",
    }
    for row in truth_rows:
        change = row["change of the prediction [mg/cm3]"]
        said = f"{change} mg/cm3 (mean change of the prediction, 95 % interval, n = {row['n']})"
        meta[f"model truth: {row['what was changed']}"] = said
    shown_cases = [
        ReportCase(
            c.subject.name,
            c.explanations,
            truth=c.subject.truth,
            rows=[{"true density [mg/cm3]": f"{c.subject.density:.1f}", "predicted [mg/cm3]": f"{c.prediction:.1f}"}],
        )
        for c in cases
    ]
    write_report(
        path, "Regard demo: which map shows what the network measures?", shown_cases, meta=meta, scores=measured
    )


def _tell(path: Path, results: Mapping[str, Any], scans: Sequence[InputCase], as_json: bool) -> None:
    """Print the results of a demo, made now or before."""
    if as_json:
        typer.echo(json.dumps({"folder": str(path), **{k: v for k, v in results.items() if k != "schema"}}, indent=2))
        return
    facts, measured = results["regressor"], results["maps"]
    typer.echo(
        f"regressor: mean absolute error {facts['mae']:.1f} mg/cm3 "
        f"(guessing the mean: {facts['mae_of_the_mean']:.1f}), r = {facts['pearson_r']:.3f}, n = {facts['n']} phantoms"
    )
    width = max(len(r["map"]) for r in measured)
    typer.echo(f"\n{'map'.ljust(width)}  average precision  relevance mass     (in the bone, 95 % interval)")
    for row in measured:
        precision, mass = row["average precision"], row["relevance mass"]
        typer.echo(f"{row['map'].ljust(width)}  {precision:<20} {mass:<20} {row['kind']}".rstrip())
    typer.echo(f"\nreport: {path / 'report.html'}")
    scan = next(iter(scans[0].inputs.values()))
    again = ["regard", "explain", str(path / MODEL), str(scan), "-m", "lime", "-o", f"{path}-lime"]
    typer.echo(f"next: {shlex.join(again)}")
    weigh = ["regard", "weigh", f"{path}-lime", "--truth", str(path / "truth")]
    typer.echo(f"then: {shlex.join(weigh)}    (is it true?)")
