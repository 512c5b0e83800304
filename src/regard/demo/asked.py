"""The demo as it is asked for: a folder with the network, its scans, maps and a page."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from regard.core.batching import reporting
from regard.core.errors import InputError
from regard.demo.phantom_demo import METHODS, Case, Demo, explain_held_out, predict, score, train, what_it_depends_on
from regard.demo.request import DemoRequest
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
from regard.runs.computing import computing
from regard.runs.progress import shown
from regard.runs.result import RunResult

__all__ = ["SIZES", "DemoResult", "demo"]

SIZES = {"smoke": Demo(n_train=24, n_test=10, n_explained=2, n_epochs=2), "default": Demo()}
"""How large the demo is, by name."""

MODEL = "models/phantom-density"
RESULTS = "demo.json"


@dataclass(frozen=True, kw_only=True)
class DemoResult(RunResult):
    """What `demo` gives back.

    Parameters
    ----------
    results
        Size, facts of the regressor, measures of the maps and what the network truly depends on.
    scan
        One of the scans that were explained.
    """

    results: Mapping[str, Any] = field(default_factory=dict)
    scan: Path = Path()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {"folder": str(self.folder), **{k: v for k, v in self.results.items() if k != "schema"}}

    def __str__(self) -> str:
        facts, measured = self.results["regressor"], self.results["maps"]
        width = max(len(r["map"]) for r in measured)
        error, of_the_mean = f"{facts['mae']:.1f} mg/cm3", f"{facts['mae_of_the_mean']:.1f}"
        correlation = f"r = {facts['pearson_r']:.3f}, n = {facts['n']} phantoms"
        lines = [
            f"regressor: mean absolute error {error} (guessing the mean: {of_the_mean}), {correlation}",
            "",
            f"{'map'.ljust(width)}  average precision  relevance mass     (in the bone, 95 % interval)",
        ]
        for row in measured:
            precision, mass = row["average precision"], row["relevance mass"]
            lines.append(f"{row['map'].ljust(width)}  {precision:<20} {mass:<20} {row['kind']}".rstrip())
        lime = f"{self.folder}-lime"
        again = ["regard", "explain", str(self.folder / MODEL), str(self.scan), "-m", "lime", "-o", lime]
        weigh = ["regard", "weigh", lime, "--truth", str(self.folder / "truth")]
        lines += ["", *self._last_lines(), f"next: {shlex.join(again)}"]
        return "\n".join([*lines, f"then: {shlex.join(weigh)}    (is it true?)"])


def demo(request: DemoRequest) -> DemoResult:
    """Make phantoms, train on them, explain and measure, as ``regard demo`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    InputError
        If there is no such size.
    """
    with computing(request) as device:
        return _demonstrate(request, device)


def _demonstrate(request: DemoRequest, where: str) -> DemoResult:
    output, size, seed = request.output, request.size, request.seed
    if size not in SIZES:
        raise InputError(f"the size '{size}'", f"one of {', '.join(SIZES)}")
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
        "threads": request.threads,
        "batch_size": "auto",
    }
    with (
        RunFolder(
            output,
            "demo",
            config,
            argv=request.words("demo"),
            cases=scans,
            versions=versions(),
            overwrite=request.overwrite,
        ) as folder,
        shown(quiet=request.quiet) as progress,
    ):
        if folder.resumed and (folder.path / RESULTS).exists():
            return _result(folder.path, read_json(folder.path / RESULTS, "demo"), scans)
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
    return _result(folder.path, results, scans)


def _result(path: Path, results: Mapping[str, Any], scans: Sequence[InputCase]) -> DemoResult:
    scan = next(iter(scans[0].inputs.values()))
    return DemoResult(folder=path, report=path / "report.html", results=results, scan=scan)


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
