"""What ``regard invariances`` does: search each case, check, save the samples, report."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from regard.cli.invariances_report import report, scores_of
from regard.cli.invariances_request import InvariancesRequest, centre_of, settings, tolerance_of
from regard.cli.invariances_result import CaseResult, result_of
from regard.cli.options import batch_size_of, set_up
from regard.cli.progress import shown
from regard.cli.request import Question, further_inputs, read_question, scans_of
from regard.core import recording
from regard.core.errors import SomeCasesFailed
from regard.core.target import AbstractTarget
from regard.explain import bind_target
from regard.explainers.generative.invariances import Function, Invariances, calibrate, find_invariances
from regard.explainers.generative.noise import NoiseModel, estimate_noise
from regard.explainers.generative.null_space import follow_null_space
from regard.explainers.generative.of_model import CaseFunction, crop
from regard.explainers.generative.sampler import draw_invariances, read_sampler
from regard.io import Case, RunFolder, find_cases
from regard.io.atomic import plain, write_json, write_tsv
from regard.io.tables import choosing
from regard.models import Model, load_model
from regard.models.case import prepare_case
from regard.models.provenance import versions

__all__ = ["posed_case", "run"]

logger = logging.getLogger(__name__)

SEARCH_STEPS = 40
CURVE = (0.5, 1.0, 2.0, 4.0)
COLUMNS = ("case", "sample", "distance", "leakage", "d_prime", "accepted", "kind", "scale")


@dataclass(frozen=True)
class _Run:
    request: InvariancesRequest
    folder: RunFolder
    model: Model
    question: Question
    errors: list[Exception] = field(default_factory=list)


def run(request: InvariancesRequest) -> int:
    """Find the invariances of the cases of a request and return the exit code."""
    device = set_up(device=request.device, threads=request.threads, verbose=request.verbose, quiet=request.quiet)
    batch_size_of(request.batch_size)
    cases = find_cases(list(request.paths), further_inputs(request.further))
    cases = choosing(cases, request.volumes, request.series)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    config = settings(request, model, cases, device)
    question = read_question(request, model)
    with RunFolder(
        request.output,
        "invariances",
        config,
        argv=sys.argv[1:],
        cases=cases,
        versions=versions(),
        hashes={"weights_sha256": model.weights_sha256},
        overwrite=request.overwrite,
        private=request.private,
    ) as folder:
        this = _Run(request, folder, model, question)
        with shown(quiet=request.quiet) as progress:
            for n, case in enumerate(cases):
                progress.stage(f"searching {case.case}", n, len(cases))
                _try(this, case)
            done = [r for c in cases if (r := result_of(folder.path, c.case)) is not None]
            if not done and len({str(e) for e in this.errors}) == 1:
                raise this.errors[0]
            rows = [[row[c] for c in COLUMNS] for one in done for row in one.rows]
            write_tsv(folder.path / "samples.tsv", COLUMNS, rows)
            write_json(folder.path / "scores.json", "scores", scores_of(done))
            report(folder.path, model.card.name, request, done)
        folder.finish("some_failed" if len(done) < len(cases) else "done")
    _tell(request, folder, done)
    return SomeCasesFailed.exit_code if len(done) < len(cases) else 0


def _try(this: _Run, case: Case) -> None:
    """Search one case; a failure is kept and costs the others nothing."""
    try:
        if result_of(this.folder.path, case.case) is None:
            _search(this, case)
        this.folder.succeeded(case.case)
    except Exception as error:
        this.folder.add_failure(case.case, "invariances", error)
        this.errors.append(error)
        logger.info("%s: %s", case.case, this.folder.failures[-1]["message"])
        logger.debug("the whole of it", exc_info=error)


def posed_case(request: InvariancesRequest, model: Model, target: AbstractTarget | None, case: Case) -> CaseFunction:
    """A case as a function of its intensities, cropped to the patch that is asked for."""
    scans = dict(scans_of(case, model, request.cut))
    if request.patch is not None and not request.fit:
        centre = centre_of(request.at)
        scans = {name: crop(scan, request.patch, centre) for name, scan in scans.items()}
    prepared = prepare_case(model, scans)
    goal = None
    numbers = request.layer is None and model.card.output.kind not in ("image", "segmentation")
    if target is not None or numbers:
        with recording.intact(prepared.network) as network:
            output = prepared.inputs.call(network, prepared.inputs.tensors)
        goal = bind_target(model, target, output, prepared)
    window = model.card.inputs[0].window
    seen = None if window is None else (float(window[0]), float(window[1]))
    return CaseFunction(prepared, goal, seen, request.layer)


def _found(this: _Run, case: Case, posed: CaseFunction, noise: NoiseModel, function: Function) -> Invariances:
    """Search, follow the null space, or draw from the sampler."""
    request = this.request
    tolerance = tolerance_of(request.tolerance)
    if request.sampler is not None:
        sampler, _ = read_sampler(request.sampler, weights_sha256=this.model.weights_sha256, layer=request.layer)
        calibration = calibrate(function, posed.image, noise, seed=request.seed, case=case.case)
        return draw_invariances(
            sampler.to(posed.image.device),
            function,
            posed.image,
            calibration,
            n=request.n,
            tolerance=tolerance,
            form="difference" if request.form == "difference" else "published",
            seed=request.seed,
            case=case.case,
        )
    if request.null_space:
        return follow_null_space(
            function, posed.image, noise, n=request.n, tolerance=tolerance, limit=request.limit, bounds=posed.window,
            seed=request.seed, case=case.case,
        )[0]  # fmt: skip
    return find_invariances(
        function,
        posed.image,
        noise,
        n=request.n,
        tolerance=tolerance,
        limit=request.limit,
        n_steps=request.steps or SEARCH_STEPS,
        n_control=request.controls,
        curve=CURVE if request.controls else (),
        bounds=posed.window,
        seed=request.seed,
        case=case.case,
        batch_size=batch_size_of(request.batch_size),
    )


def _search(this: _Run, case: Case) -> None:
    request, model = this.request, this.model
    posed = posed_case(request, model, this.question.target, case)
    prepared, goal = posed.prepared, posed.goal
    noise = estimate_noise(posed.image)
    if request.noise is not None:
        noise = noise.scaled(request.noise)
    with recording.intact(prepared.network) as network:
        found = _found(this, case, posed, noise, posed.function(network))
    unit = prepared.parts[0].unit
    card_unit = model.card.output.image_unit if found.is_image else (model.card.output.units or ["a.u."])[0]
    output_unit = card_unit if goal is None else goal.unit(card_unit)
    if request.layer is not None:
        output_unit = "activation"
    CaseResult.save(this.folder.path, case.case, posed, found, noise.origin, unit, output_unit, prepared.warnings)


def _tell(request: InvariancesRequest, folder: RunFolder, done: Sequence[CaseResult]) -> None:
    """Print the results."""
    page = folder.path / "report.html"
    failed = sorted({r["case"] for r in folder.failures})
    if request.as_json:
        said: dict[str, Any] = {
            "folder": str(folder.path),
            "report": str(page) if done else None,
            "failed": failed,
            "cases": [one.summary() for one in done],
        }
        typer.echo(json.dumps(plain(said), indent=2))
        return
    for one in done:
        typer.echo(one.sentence())
    if failed:
        typer.echo(f"failed: {len(failed)}, told in {folder.path / 'failures.tsv'}")
    if done:
        typer.echo(f"report: {page}")
