"""What ``regard invariances`` does: search each case, check, save the samples, report."""

import logging
from dataclasses import dataclass, field
from typing import Any

from regard.core import recording
from regard.explainers.generative.invariances import Function, Invariances, calibrate, find_invariances
from regard.explainers.generative.noise import NoiseModel, estimate_noise
from regard.explainers.generative.null_space import follow_null_space
from regard.explainers.generative.of_model import CaseFunction
from regard.explainers.generative.sampler import draw_invariances, read_sampler
from regard.io import Case, RunFolder
from regard.io.atomic import write_json, write_tsv
from regard.models import Model, load_model
from regard.models.binding import unit_of
from regard.runs.computing import batch_size_of, computing
from regard.runs.fitting import fit
from regard.runs.invariances_report import report, scores_of
from regard.runs.invariances_result import CaseResult, result_of
from regard.runs.invariances_settings import settings, tolerance_of
from regard.runs.opening import as_explained, cases_of, folder_of, raise_one_reason
from regard.runs.posing import posed_case
from regard.runs.progress import shown
from regard.runs.question import Question, read_question
from regard.runs.requests.invariances import InvariancesRequest
from regard.runs.result import RunResult

__all__ = ["InvariancesResult", "invariances"]

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


@dataclass(frozen=True, kw_only=True)
class InvariancesResult(RunResult):
    """What `invariances` gives back.

    Parameters
    ----------
    cases
        What was found of each case.
    sampler
        What is said of the sampler that was made, with ``fit``.
    """

    cases: tuple[CaseResult, ...] = ()
    sampler: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {**super().to_dict(), "cases": [one.summary() for one in self.cases]}

    def table(self) -> Any:
        """The samples as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each sample, as in ``samples.tsv``.
        """
        import pandas as pd

        return pd.DataFrame([row for one in self.cases for row in one.rows], columns=list(COLUMNS))

    def __str__(self) -> str:
        return "\n".join([*self.sampler, *(one.sentence() for one in self.cases), *self._last_lines()])


def invariances(request: InvariancesRequest) -> InvariancesResult:
    """Find inputs that a network cannot tell apart, or make a sampler of them, as ``regard invariances`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    RegardError
        If something is wrong for every case. What is wrong with one case is a row of ``failures.tsv``.
    """
    with computing(request) as device:
        if request.fit:
            return InvariancesResult(folder=request.output, sampler=fit(request, device))
        return _all_cases(request, device)


def _all_cases(request: InvariancesRequest, device: str) -> InvariancesResult:
    batch_size_of(request.batch_size)
    cases = cases_of(request)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    config = settings(request, model, cases, device)
    question = read_question(as_explained(request, methods=()), model)
    with folder_of(request, "invariances", config, cases, model) as folder:
        this = _Run(request, folder, model, question)
        for case in (c for c in cases if result_of(folder.path, c.case) is not None):
            folder.check_inputs(case)
        with shown(quiet=request.quiet) as progress:
            for n, case in enumerate(cases):
                progress.stage(f"searching {case.case}", n, len(cases))
                _try(this, case)
            done = [r for c in cases if (r := result_of(folder.path, c.case)) is not None]
            if not done:
                raise_one_reason(this.errors)
            rows = [[row[c] for c in COLUMNS] for one in done for row in one.rows]
            write_tsv(folder.path / "samples.tsv", COLUMNS, rows)
            write_json(folder.path / "scores.json", "scores", scores_of(done))
            report(folder.path, model.card.name, request, done)
        folder.finish("some_failed" if len(done) < len(cases) else "done")
    known = {one.case for one in done}
    return InvariancesResult(
        folder=folder.path, report=folder.path / "report.html" if done else None,
        failed=tuple(c.case for c in cases if c.case not in known), cases=tuple(done),
    )  # fmt: skip


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
    this.folder.record_inputs(case)
    posed = posed_case(request, model, this.question.target, case)
    prepared, goal = posed.prepared, posed.goal
    noise = estimate_noise(posed.image)
    if request.noise is not None:
        noise = noise.scaled(request.noise)
    with recording.intact(prepared.network) as network:
        found = _found(this, case, posed, noise, posed.function(network))
    unit = prepared.parts[0].unit
    output = model.card.output
    card_unit = output.image_unit if found.is_image else (output.units or ("a.u.",))[0]
    output_unit = card_unit if goal is None else goal.unit(card_unit) if found.is_image else unit_of(output, goal)
    if request.layer is not None:
        output_unit = "activation"
    CaseResult.save(this.folder.path, case.case, posed, found, noise.origin, unit, output_unit, prepared.warnings)
