"""What ``regard weigh`` does: open a finished run again, measure its maps and their controls, judge, and report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from regard.core.errors import FileError, FolderError, InputError
from regard.core.volume import Volume
from regard.evidence.comparison import WeighedMap
from regard.evidence.controls import resized
from regard.evidence.stored import OpenCase, open_case
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.of_case import with_reference_cases
from regard.explainers.spec import parse_methods
from regard.io import Case, RunFolder, read_map
from regard.io.records import read_inputs, read_run
from regard.io.schema import read_json
from regard.models import load_model
from regard.models.provenance import inputs_sha256, versions
from regard.probing.record import read_record
from regard.runs.computing import batch_size_of, computing
from regard.runs.progress import Shown, shown
from regard.runs.question import read_question, scans_of
from regard.runs.requests.weigh import WeighRequest
from regard.runs.result import RunResult
from regard.runs.weigh_done import Done
from regard.runs.weigh_open import OpenRun, RunMap, as_it_was_asked, configuration, finished
from regard.runs.weigh_report import cost_in_words, write
from regard.runs.weigh_truth import Truth, with_columns

__all__ = ["WeighResult", "weigh"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WeighResult(RunResult):
    """What `weigh` gives back.

    Parameters
    ----------
    verdicts
        For each map: ``verdict``, ``reasons``, ``scope`` and ``notes``, as in ``evidence.json``.
    """

    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {**super().to_dict(), "verdicts": dict(self.verdicts)}

    def table(self) -> Any:
        """Every row of ``evidence.tsv``.

        Returns
        -------
        pandas.DataFrame
            A row for each case, map, measure and control.
        """
        import pandas as pd

        return pd.read_csv(self.folder / "evidence.tsv", sep="\t")

    def __str__(self) -> str:
        lines = []
        for method, verdict in self.verdicts.items():
            lines.append(f"{method}: {verdict['verdict']} ({verdict['scope']})")
            lines += [f"  {sentence}" for sentence in (*verdict["reasons"], *verdict.get("notes", ()))]
        *before, report = self._last_lines()
        return "\n".join([*lines, *before, f"evidence: {self.folder / 'evidence.tsv'}", report])


def weigh(request: WeighRequest) -> WeighResult:
    """Weigh the maps of a run folder as ``regard weigh`` does: controls, measures, verdicts, report.

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
        return _weigh_all(request, device)


def _weigh_all(request: WeighRequest, device: str) -> WeighResult:
    record = finished(request.folder)
    probed = read_record(record.get("preflight"))
    if probed is not None and probed.alone:
        # Its cases mix in a batch, or it takes one at a time: measured as it was explained.
        request = replace(request, batch_size="1")
    truth = Truth(request.truth, request.boxes)
    wanted = [*request.by, *([truth.column] if truth.column else [])]
    cases = with_columns(read_inputs(request.folder), request.table, record, wanted)
    said = as_it_was_asked(record, request)
    specs = parse_methods(record["methods"])
    model = load_model(said.model, weights=said.weights, trust=request.trust, device=device)
    if model.weights_sha256 != record["weights_sha256"]:
        got = f"weights {_short(model.weights_sha256)} for maps of weights {_short(record['weights_sha256'])}"
        raise InputError(got, "the network that was explained", "give its weights with --weights, or explain again")
    inputs = [s.name for s in model.card.inputs]
    question = read_question(said, model)
    specs = with_reference_cases(specs, question.reference_cases)
    maps = [RunMap(s, name) for s in specs for name in ([*inputs] if len(inputs) > 1 else [None])]
    this = OpenRun(request, said, model, question, maps, cases, truth, request.folder)
    this.cases = [c for c in cases if all(this.sidecar(c, m).exists() for m in maps)]
    if not this.cases:
        raise FolderError(f"'{request.folder}' without the maps of a case", "a finished run", "explain a case first")
    n_patients = len({c.patient for c in this.cases})
    has_truth = request.truth is not None or request.boxes is not None
    plan = Plan.of(
        request.measures, truth=has_truth, quick=request.quick, n_null=request.n_null, n_patients=n_patients,
        seed=request.seed, curtail=len(this.cases) == 1,
    )  # fmt: skip
    before = read_run(request.folder, "weigh")["state"] if (request.folder / "weigh.yaml").exists() else None
    config = configuration(this, record, device)
    with RunFolder(
        request.folder, "weigh", config, argv=request.words("weigh"), versions=versions(),
        private=bool(record.get("private")), overwrite=request.overwrite, record="weigh",
    ) as folder:  # fmt: skip
        done = Done(folder.path, str(read_run(folder.path, "weigh")["hashes"]["configuration_sha256"]))
        if folder.resumed and before == "done" and (folder.path / "evidence.json").exists():
            folder.finish("done")
            return _result(request, [])
        with shown(quiet=request.quiet) as progress:
            weighed = _weigh(this, plan, folder, done, progress)
            failed = sorted({r["case"] for r in folder.failures if r["stage"] == "weigh"})
            if not weighed:
                raise FolderError(
                    f"none of {len(this.cases)} cases of '{request.folder}' could be weighed",
                    "one at least",
                    "see failures.tsv",
                )
            progress.stage("comparing", len(this.cases), len(this.cases))
            rows = comparisons(weighed, by=request.by, seed=request.seed)
            verdicts = all_verdicts(rows)
            write(this, rows, verdicts, weighed, len(failed))
        if not failed:
            done.clear()
        folder.finish("some_failed" if failed else "done")
    return _result(request, failed)


def _result(request: WeighRequest, failed: Sequence[str]) -> WeighResult:
    verdicts = read_json(request.folder / "evidence.json", "evidence")["verdicts"]
    return WeighResult(
        folder=request.folder, report=request.folder / "report.html", failed=tuple(failed), verdicts=verdicts
    )


def _weigh(this: OpenRun, plan: Plan, folder: RunFolder, done: Done, progress: Shown) -> list[WeighedMap]:
    """Measure case by case; what an interrupted weighing left is used."""
    unread = set()
    for n, case in enumerate(this.cases):
        progress.stage(f"reading {case.case}", n, len(this.cases))
        try:
            for which in this.maps:
                this.predictions[case.case] = float(read_json(this.sidecar(case, which), "explanation")["prediction"])
            for name, relevance in this.carried(case).items():
                this.sums[name] = (
                    relevance if name not in this.sums else this.sums[name] + resized(relevance, this.sums[name])
                )
        except Exception as error:
            unread.add(case.case)
            _failed(folder, case, error)
    # A case that failed in an earlier weighing is tried again: it may have been repaired.
    this.cases = [c for c in this.cases if c.case not in unread]
    found: list[WeighedMap] = []
    told = False
    for n, case in enumerate(this.cases):
        progress.stage(f"weighing {case.case}", n, len(this.cases))
        weighed = done.load(case.case)
        if weighed is None:
            try:
                weighed = _weigh_one(this, plan, case, None if told else progress)
                told = True
            except Exception as error:
                _failed(folder, case, error)
                continue
            done.save(case.case, weighed)
        folder.succeeded(case.case, "weigh")
        found += weighed
    return found


def _failed(folder: RunFolder, case: Case, error: Exception) -> None:
    folder.add_failure(case.case, "weigh", error)
    logger.warning("%s: %s", case.case, folder.failures[-1]["message"])
    logger.debug("the whole of it", exc_info=error)


def _weigh_one(this: OpenRun, plan: Plan, case: Case, progress: Shown | None) -> list[WeighedMap]:
    scans = scans_of(case, this.model, this.said.cut)
    _check_images(this, case, scans)
    opened = open_case(
        this.model, scans, target=this.question.target, reference=this.question.reference,
        layer=this.said.layer, reshape=this.said.reshape,
        case=case.case, seed=this.said.seed, batch_size=batch_size_of(this.request.batch_size),
    )  # fmt: skip
    values = list(this.predictions.values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    truth = this.truth.of(case, next(iter(scans.values())))
    exhibits, notes, target = {}, {}, ""
    for which in this.maps:
        stored = read_map(this.sidecar(case, which))
        target = str(stored.sidecar["target"])
        exhibits[which.name], notes[which.name] = opened.exhibit(
            stored, which.spec, spread=spread or None, truth=truth, label=this.truth.label
        )
    exhibits = {
        name: replace(
            e, others={other: o.relevance for other, o in exhibits.items() if other != name and o.x.shape == e.x.shape}
        )
        for name, e in exhibits.items()
    }
    beside = {
        which.name: _neighbours(this, opened, case, which, exhibits[which.name].relevance, other)
        for other in [_another_patient(this, case)]
        for which in this.maps
    }
    return weigh_case(
        exhibits, plan, target=target, patient=case.patient, beside=beside, columns=case.columns, notes=notes,
        forecast=None if progress is None else lambda f: progress.say(cost_in_words(this, plan, f)),
    )  # fmt: skip


def _check_images(this: OpenRun, case: Case, scans: Mapping[str, Volume]) -> None:
    """Refuse a case whose images are others than its maps were made of."""
    now = inputs_sha256(scans)
    for which in this.maps:
        before = read_json(this.sidecar(case, which), "explanation").get("inputs_sha256")
        if before is not None and before != now:
            raise FileError(
                f"images of case '{case.case}' that are others than its map '{which.name}' was made of",
                "the images that were explained",
                "restore them, or explain the case again",
            )


def _another_patient(this: OpenRun, case: Case) -> dict[str, Tensor]:
    """Maps of the next case of another patient; none if there is no other patient."""
    at = next(n for n, c in enumerate(this.cases) if c.case == case.case)
    for other in [*this.cases[at + 1 :], *this.cases[:at]]:
        if other.patient != case.patient:
            return this.carried(other)
    return {}


def _neighbours(
    this: OpenRun, opened: OpenCase, case: Case, which: RunMap, own: Tensor, others: dict[str, Tensor]
) -> Neighbours:
    mean = None
    if others:
        total = this.sums[which.name]
        mean = (total - resized(own.cpu(), total)) / (len(this.cases) - 1)
    other = others.get(which.name)
    return Neighbours(other, mean, lambda: opened.random_cam(which.input))


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else f"{digest[:8]}..."
