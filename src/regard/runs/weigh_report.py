"""What ``regard weigh`` writes and tells: cost, evidence, verdicts and the report."""

from collections.abc import Sequence

from regard.core.volume import Volume
from regard.evidence.comparison import Comparison, WeighedMap
from regard.evidence.files import evidence_rows, write_evidence
from regard.evidence.forecast import Forecast
from regard.evidence.verdict import Verdict
from regard.evidence.weigh import Plan
from regard.io import StoredMap, read, read_map
from regard.io.maps import set_verdict
from regard.io.names import safe_name
from regard.report.html import ReportCase, write_report
from regard.runs.explaining import REPORTED
from regard.runs.progress import span
from regard.runs.question import scans_of
from regard.runs.weigh_open import OpenRun

__all__ = ["cost_in_words", "write"]


def cost_in_words(this: OpenRun, plan: Plan, forecast: Forecast) -> str:
    """What is going to be done and how long it takes."""
    seconds = forecast.this + forecast.other * (len(this.cases) - 1)
    bound = "at most" if plan.curtail else "about"
    n_maps, n_cases = len(this.maps) * len(this.cases), len(this.cases)
    what = f"{n_maps} map{'s' * (n_maps != 1)} of {n_cases} case{'s' * (n_cases != 1)}"
    return (
        f"weighing {what}, each beside {plan.n_draws} surrogates and other controls, "
        f"with {plan.n_randomised} further explanations of each: {bound} {span(seconds)}"
    )


def write(
    this: OpenRun,
    rows: Sequence[Comparison],
    verdicts: dict[str, Verdict],
    weighed: Sequence[WeighedMap],
    n_failed: int,
) -> None:
    """Write evidence, verdicts and report."""
    notes = {name: list(dict.fromkeys(n for m in weighed if m.method == name for n in m.notes)) for name in verdicts}
    weighed_cases = {m.case for m in weighed}
    for case in this.cases:
        for which in this.maps:
            if case.case in weighed_cases and which.name in verdicts:
                set_verdict(this.sidecar(case, which), verdicts[which.name].verdict)
    write_evidence(this.path, rows, verdicts, notes)
    shown_cases = []
    for case in [c for c in this.cases if c.case in weighed_cases][:REPORTED]:
        scans = scans_of(case, this.model, this.said.cut)
        first = next(iter(scans.values()))
        stored: list[StoredMap] = [read_map(this.sidecar(case, m)) for m in this.maps]
        explanations = [
            s.explanation(scans[m.input] if m.input else first) for s, m in zip(stored, this.maps, strict=True)
        ]
        image = this.path / "maps" / f"{safe_name(case.case)}_output.nii.gz"
        truth = _outline(this.truth.of(case, first), this.truth.label, first)
        shown_cases.append(ReportCase(case.case, explanations, truth, read(image) if image.exists() else None))
    meta = {
        "model": this.model.card.name,
        "target": shown_cases[0].explanations[0].asked,
        "cases": len(weighed_cases),
        "patients": len({m.patient for m in weighed}),
        "surrogates a map": Plan({}, this.request.n_null, len({m.patient for m in weighed})).n_draws,
    }
    if n_failed:
        meta["not weighed"] = n_failed
    if len(weighed_cases) > REPORTED:
        meta["shown here"] = f"the first {REPORTED} of {len(weighed_cases)}"
    write_report(
        this.path / "report.html",
        f"{this.model.card.name}: what it depends on, and whether that is true",
        shown_cases,
        meta=meta,
        evidence=evidence_rows(rows),
        verdicts={m: {"verdict": v.verdict, "reasons": v.reasons, "scope": v.scope} for m, v in verdicts.items()},
    )


def _outline(truth: Volume | None, label: int | None, scan: Volume) -> Volume | None:
    """The core of a truth as a mask, where it can be drawn over the scan."""
    if truth is None or not truth.grid.matches(scan.grid, tolerance_mm=1e-2):
        return None
    several = len(truth.tensor.unique()) > 2
    core = (
        truth.tensor[:1].round() == label
        if label is not None
        else truth.tensor[:1].round() == 1
        if several
        else truth.tensor[:1] > 0
    )
    return truth.with_tensor(core.float(), unit="label")
