"""What ``regard cohort`` does: every case, then what they say together."""

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from regard.cohort.cases import find_cohort, numbered_patients
from regard.cohort.engine import Cohort, run_cases
from regard.cohort.explaining import NULL, Explaining, OpenExplaining
from regard.cohort.part import Failed
from regard.cohort.store import MapStore
from regard.core.errors import InputError, RegardError
from regard.explainers.spec import parse_methods
from regard.io import Case, RunFolder
from regard.models import Model, load_model
from regard.probing.record import read_record, write_record
from regard.runs.cohort_files import SAYS, write_all
from regard.runs.cohort_plan import asked, backend, check, configuration, function_of, null_of, space
from regard.runs.computing import computing
from regard.runs.opening import folder_of
from regard.runs.progress import shown
from regard.runs.requests.cohort import CohortRequest
from regard.runs.result import RunResult, bounds_in_words

__all__ = ["CohortResult", "cohort"]

logger = logging.getLogger(__name__)

_TOLD_EVERY = 30.0

_TRIED = 3
"""Cases on which a preflight is tried before each worker makes its own."""


@dataclass(frozen=True, kw_only=True)
class CohortResult(RunResult):
    """What `cohort` gives back.

    Parameters
    ----------
    n_cases, n_done
        Cases of the table, and those of them that were explained.
    space
        Where the population maps lie.
    predictions
        How far predictions are from the labels, where there are labels.
    regions
        Rows of ``regions.tsv``.
    warnings
        What a reader must know.
    """

    n_cases: int
    n_done: int
    space: str
    predictions: dict[str, float | int] | None = None
    regions: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {
            **super().to_dict(), "cases": self.n_cases, "done": self.n_done, "space": self.space,
            "predictions": self.predictions, "regions": list(self.regions),
        }  # fmt: skip

    def table(self) -> Any:
        """The regions as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each map, contrast, group and region, as in ``regions.tsv``.
        """
        import pandas as pd

        return pd.DataFrame(list(self.regions))

    def __str__(self) -> str:
        lines = [f"warning: {sentence}" for sentence in self.warnings]
        lines.append(f"cases: {self.n_done} of {self.n_cases}")
        if self.predictions is not None:
            s = self.predictions
            bounds = bounds_in_words(s["low"], s["high"])
            r = "r undefined" if math.isnan(s["pearson_r"]) else f"r {s['pearson_r']:.2f}"
            lines.append(f"predictions: mean absolute error {s['mae']:.3g}{bounds}, {r}, n {s['n']}")
        lines += self._largest_regions()
        tested = dict.fromkeys(r["contrast"] for r in self.regions if not math.isnan(r["p_maxT"]))
        lines += [f"p: {SAYS[contrast]}" for contrast in tested if contrast in SAYS]
        return "\n".join([*lines, *self._last_lines()])

    def _largest_regions(self) -> list[str]:
        """The five densest regions of each map, over all patients."""
        lines = []
        for method in dict.fromkeys(r["method"] for r in self.regions):
            rows = [r for r in self.regions if r["method"] == method and r["group"] == "*"]
            rows = [r for r in rows if r["contrast"] == rows[0]["contrast"] and not math.isnan(r["density"])]
            for row in sorted(rows, key=lambda r: -r["density"])[:5]:
                p = "" if math.isnan(row["p_maxT"]) else f", p {row['p_maxT']:.3g}"
                interval = f"{row['density']:.2f}{bounds_in_words(row['low'], row['high'], '.2f')}"
                lines.append(f"{method}  {row['region']}: density {interval}{p}")
        return lines


def cohort(request: CohortRequest) -> CohortResult:
    """Explain a cohort as ``regard cohort`` does: population maps, table of regions, report.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    RegardError
        If something is wrong for every case. What is wrong with one case is a row of ``failures.tsv``.
    """
    # Each case alone, with one thread: then its figures are the same wherever it is done.
    with computing(request, threads=1) as device:
        return _all_of_it(request, device, request.threads or 1)


def _all_of_it(request: CohortRequest, device: str, threads: int) -> CohortResult:
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
        folder_of(request, "cohort", config, cases, model) as folder,
    ):
        function = _probed(function, opened, folder, model, cases)
        done = _all_cases(request, folder, function, model, cases, threads)
        _check_some(done, cases)
        written = write_all(request, folder, done, cases, function, where, asked(request))
        folder.finish("some_failed" if done.failures else "done")
    return CohortResult(
        folder=request.output, report=written.report, failed=tuple(cases[row].case for row in sorted(done.failures)),
        n_cases=len(cases), n_done=len(done.rows), space=where.name, predictions=written.scores,
        regions=tuple(written.regions), warnings=written.sentences,
    )  # fmt: skip


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
