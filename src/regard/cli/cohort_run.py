"""What ``regard cohort`` does: every case, then what they say together."""

import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import typer

from regard.cli.cohort_files import SAYS, Written, write_all
from regard.cli.cohort_request import (
    CohortRequest,
    Space,
    asked,
    backend,
    check,
    configuration,
    function_of,
    null_of,
    space,
)
from regard.cli.options import set_up
from regard.cli.progress import shown
from regard.cohort.cases import find_cohort, numbered_patients
from regard.cohort.engine import Cohort, run_cases
from regard.cohort.explaining import NULL, Explaining, OpenExplaining
from regard.cohort.part import Failed
from regard.cohort.store import MapStore
from regard.core.errors import InputError, RegardError, SomeCasesFailed
from regard.explainers.spec import parse_methods
from regard.io import Case, RunFolder
from regard.io.atomic import plain
from regard.models import Model, load_model
from regard.models.provenance import versions
from regard.probing.record import read_record, write_record

__all__ = ["run"]

logger = logging.getLogger(__name__)

_TOLD_EVERY = 30.0

_TRIED = 3
"""Cases on which a preflight is tried before each worker makes its own."""


def run(request: CohortRequest) -> int:
    """Do the cases of a request and return the exit code."""
    # Each case alone, with one thread: then its figures are the same wherever it is done.
    threads = request.threads or 1
    device = set_up(device=request.device, threads=threads, verbose=request.verbose, quiet=request.quiet)
    cases = find_cohort(request.table)
    if request.private:
        cases = numbered_patients(cases)
    check(request, cases)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    where = space(request, cases, model)
    function = function_of(request, where, null_of(request, model), device)
    # What is wrong for every case is said before any is done.
    opened = function.open()
    weights = [m.weights_sha256 for m in opened.asked.retrained]
    config = configuration(request, model, function, cases, threads, weights)
    with (
        _stopped_by_sigterm(),
        RunFolder(
            request.output,
            "cohort",
            config,
            argv=sys.argv[1:],
            cases=cases,
            versions=versions(),
            hashes={"weights_sha256": model.weights_sha256},
            overwrite=request.overwrite,
            private=request.private,
        ) as folder,
    ):
        function = _probed(function, opened, folder, model, cases)
        cohort = _all_cases(request, folder, function, model, cases, threads)
        _check_some(cohort, cases)
        written = write_all(request, folder, cohort, cases, function, where, asked(request))
        folder.finish("some_failed" if cohort.failures else "done")
    _tell(request, where, cohort, cases, written)
    return SomeCasesFailed.exit_code if cohort.failures else 0


def _probed(
    function: Explaining, opened: OpenExplaining, folder: RunFolder, model: Model, cases: Sequence[Case]
) -> Explaining:
    """The function with what the network's probes say on the first case that can be read, for all workers alike."""
    known = read_record(folder.noted("preflight"), model)
    for case in cases[:_TRIED] if known is None and opened.asked.specs else ():
        try:
            probed = opened.asked.probe(case)
        except RegardError as error:
            logger.info("no preflight on %s: %s", case.case, error)
            continue
        folder.note(preflight=write_record(probed, model, case.case))
        # What is refused is told of every case, as its own failure.
        known = None if any(p.state == "refused" for p in probed) else probed
        break
    return replace(function, question=replace(function.question, preflight=known))


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Within this context SIGTERM, as batch systems send it, stops the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _all_cases(
    request: CohortRequest, folder: RunFolder, function: Explaining, model: Model, cases: Sequence[Case], threads: int
) -> Cohort:
    store = None
    if request.maps == "all":
        several = len(model.card.inputs) > 1
        specs = parse_methods(function.question.methods)
        labels = [f"{s.label}_input-{i.name}" if several else s.label for s in specs for i in model.card.inputs]
        kept = [*labels, *[name + NULL for name in labels if function.null != "none"]]
        store = MapStore(folder.path / "maps.zarr", [c.case for c in cases], function.grid, kept)
    for case in cases:
        folder.check_inputs(case)
    errors: list[Failed] = []
    last = time.monotonic()

    def on_success(case: Case) -> None:
        folder.record_inputs(case)
        folder.succeeded(case.case, "cohort")

    def on_failure(case: Case, error: Failed) -> None:
        folder.add_failure_in_words(case.case, "cohort", error.error_type, error.message)
        errors.append(error)
        logger.warning("%s: %s", case.case, folder.failures[-1]["message"])

    with shown(quiet=request.quiet) as progress:

        def told(said: str, settled: int, total: int) -> None:
            nonlocal last
            progress.stage(said, settled, total)
            if time.monotonic() - last > _TOLD_EVERY:
                last = time.monotonic()
                logger.info("%d of %d %s", settled, total, said)

        return run_cases(
            function,
            cases,
            folder.path / "checkpoints",
            backend(request, threads),
            store=store,
            progress=told,
            on_failure=on_failure,
            on_success=on_success,
        )


def _check_some(cohort: Cohort, cases: Sequence[Case]) -> None:
    """Tell why nothing was done, where one reason explains all."""
    if cohort.rows:
        return
    reasons = {f.message for f in cohort.failures.values()}
    if len(reasons) == 1:
        raise _SaidError(next(iter(reasons)))
    raise InputError(f"none of {len(cases)} cases could be done", "one at least", "see failures.tsv")


class _SaidError(RegardError):
    """What a worker said, in its own words."""

    exit_code = 2


def _tell(request: CohortRequest, where: Space, cohort: Cohort, cases: Sequence[Case], written: Written) -> None:
    """Print the results."""
    if request.as_json:
        said = {
            "folder": str(request.output),
            "report": str(written.report),
            "cases": len(cases),
            "done": len(cohort.rows),
            "failed": [cases[row].case for row in sorted(cohort.failures)],
            "space": where.name,
            "predictions": written.scores,
            "regions": written.regions,
        }
        typer.echo(json.dumps(plain(said), indent=2))
        return
    for sentence in written.sentences:
        typer.echo(f"warning: {sentence}")
    typer.echo(f"cases: {len(cohort.rows)} of {len(cases)}")
    if written.scores is not None:
        s = written.scores
        bounds = f" ({s['low']:.3g} to {s['high']:.3g})" if not math.isnan(s["low"]) else ""
        typer.echo(f"predictions: mean absolute error {s['mae']:.3g}{bounds}, r {s['pearson_r']:.2f}, n {s['n']}")
    for method in dict.fromkeys(r["method"] for r in written.regions):
        own = [r for r in written.regions if r["method"] == method and r["group"] == "*"]
        own = [r for r in own if r["contrast"] == own[0]["contrast"] and not math.isnan(r["density"])]
        for row in sorted(own, key=lambda r: -r["density"])[:5]:
            p = "" if math.isnan(row["p_maxT"]) else f", p {row['p_maxT']:.3g}"
            typer.echo(f"{method}  {row['region']}: density {row['density']:.2f} "
                       f"({row['low']:.2f} to {row['high']:.2f}){p}")  # fmt: skip
    for contrast in dict.fromkeys(r["contrast"] for r in written.regions if not math.isnan(r["p_maxT"])):
        if contrast in SAYS:
            typer.echo(f"p: {SAYS[contrast]}")
    if cohort.failures:
        typer.echo(f"failed: {len(cohort.failures)}, told in {request.output / 'failures.tsv'}")
    typer.echo(f"report: {written.report}")
