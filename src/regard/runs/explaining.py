"""What ``regard explain`` does: read, explain, save, report; one failing case never costs the others."""

import errno
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regard.case.explaining import explain_case
from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.optional import need
from regard.core.volume import Volume
from regard.explainers.of_case import takes_cases
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import Case, RunFolder, StoredMap, read, read_map, save_map, save_parametric_map
from regard.io.maps import save_volume
from regard.io.names import safe_name, without_map_ending
from regard.io.reading import is_dicom, strip_ending
from regard.io.segmentation_map import save_segmentation, threshold_of
from regard.io.signal_maps import save_signal
from regard.models import Model, load_model
from regard.models.scans import inputs_of
from regard.probing.probe import Preflight
from regard.probing.record import read_record, write_record
from regard.report.colours import common_scales
from regard.runs.computing import batch_size_of, computing
from regard.runs.opening import cases_of, folder_of, raise_one_reason
from regard.runs.progress import shown
from regard.runs.question import Question, configuration, read_question, scans_of
from regard.runs.requests.explain import ExplainRequest
from regard.runs.result import RunResult

__all__ = ["ExplainResult", "explain"]

logger = logging.getLogger(__name__)

REPORTED = 24
"""Cases shown in one report; all have their maps, sidecars and pictures."""


@dataclass(frozen=True)
class _Run:
    """An open run: what is asked, of which model, into which folder."""

    request: ExplainRequest
    folder: RunFolder
    model: Model
    specs: Sequence[MethodSpec]
    question: Question
    errors: list[Exception] = field(default_factory=list)
    preflight: Preflight | None = None

    @property
    def input_names(self) -> list[str | None]:
        """Names of the inputs as they are in file names: none where there is one input."""
        names = [s.name for s in self.model.card.inputs]
        return [*names] if len(names) > 1 else [None]

    def lacks(self, case: Case) -> list[MethodSpec]:
        """The methods whose maps of a case are not there yet."""
        return [s for s in self.specs if not all(self.folder.is_done(case.case, s.label, n) for n in self.input_names)]


@dataclass(frozen=True, kw_only=True)
class ExplainResult(RunResult):
    """What `explain` gives back.

    Parameters
    ----------
    maps
        A row for each map: case, map, input, target, prediction with its unit, quantity, lowest and highest value with
        their unit, warnings and file.
    """

    maps: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {**super().to_dict(), "maps": list(self.maps)}

    def table(self) -> Any:
        """The maps as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each map.
        """
        import pandas as pd

        return pd.DataFrame(list(self.maps))

    def __str__(self) -> str:
        told = dict.fromkeys((r["case"], w) for r in self.maps for w in r["warnings"])
        lines = [f"warning: {case}: {warning}" for case, warning in told]
        for r in self.maps:
            name = r["map"] + (f" ({r['input']})" if r["input"] else "")
            said = f"{r.get('asked', r['target'])} = {r['prediction']:.4g} {r['unit']}"
            lines.append(f"{r['case']}  {name}: {said}; {r['quantity']} {_range(r)}")
        return "\n".join([*lines, *self._last_lines()])


def _range(row: Mapping[str, Any]) -> str:
    if math.isnan(row["lowest"]):
        return "that is not a number anywhere"
    return f"{row['lowest']:.3g} to {row['highest']:.3g} [{row['map_unit']}]"


def explain(request: ExplainRequest) -> ExplainResult:
    """Explain cases as ``regard explain`` does: into a run folder that is resumed, with maps, pictures and a report.

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
        return _explain_all(request, device)


def _explain_all(request: ExplainRequest, device: str) -> ExplainResult:
    batch_size_of(request.batch_size)
    specs = parse_methods(request.methods)
    cases = cases_of(request)
    _check_dicom(request, cases)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    for spec in specs:
        spec.build(model.network)
    config = configuration(request, model, specs, cases, device)
    question = read_question(request, model)
    with folder_of(request, "explain", config, cases, model) as folder:
        known = read_record(folder.noted("preflight"), model)
        this = _Run(request, folder, model, specs, question, preflight=known)
        for case in cases:
            if len(this.lacks(case)) < len(specs):
                folder.check_inputs(case)
        if request.private and any(strip_ending(p.name) == c.case for c in cases for p in c.inputs.values()):
            logger.warning("case ids are the names of the files; a table with the columns case and image gives others")
        with shown(quiet=request.quiet) as progress:
            for n, case in enumerate(cases):
                progress.stage(f"explaining {case.case}", n, len(cases))
                _try(this, case, alone=len(cases) == 1)
            done = [c for c in cases if not this.lacks(c)]
            if not done:
                raise_one_reason(this.errors)
            progress.stage("writing the report", len(cases), len(cases))
            rows = _report(this, done, len(cases))
        folder.finish("some_failed" if len(done) < len(cases) else "done")
    failed = tuple(c.case for c in cases if c not in done)
    report = folder.path / "report.html" if rows else None
    return ExplainResult(folder=folder.path, report=report, failed=failed, maps=tuple(rows))


def _check_dicom(request: ExplainRequest, cases: Sequence[Case]) -> None:
    """Refuse ``--dicom`` where it cannot be done, before anything is computed."""
    if request.dicom_seg is not None:
        threshold_of(request.dicom_seg)
    elif not request.dicom:
        return
    if request.private:
        why = "a DICOM file carries its patient's identity, as the standard asks"
        raise InputError("--dicom with --private", "one of them", why)
    for path in (p for c in cases for p in c.inputs.values()):
        if not (path.is_dir() or is_dicom(path)):
            raise InputError(f"--dicom with '{path}'", "DICOM images", "leave out --dicom")
        if request.cut is not None and path.is_dir():
            raise InputError("--dicom with --slice of a series", "one DICOM file", "give the file of that slice itself")
    need("highdicom", extra="dicom", purpose="--dicom")


def _try(this: _Run, case: Case, *, alone: bool) -> None:
    """Explain one case; a failure is kept, and told at once unless there is no other case."""
    try:
        _explain(this, case)
        this.folder.succeeded(case.case)
    except Exception as error:
        this.folder.add_failure(case.case, "explain", error)
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise  # no other case would fare better
        this.errors.append(error)
        if not alone:
            # As in failures.tsv: of an exception that is not ours no text is written, it may quote a header.
            logger.warning("%s: %s", case.case, this.folder.failures[-1]["message"])
            logger.debug("the whole of it", exc_info=error)


def _explain(this: _Run, case: Case) -> None:
    """Explain one case with the methods that it still lacks."""
    missing, request, model = this.lacks(case), this.request, this.model
    if not missing:
        # A run that was stopped between the maps of a case and their pictures.
        if not all(_picture(this.folder.map_path(case.case, s.label, n)).exists() for s in this.specs
                   for n in this.input_names):  # fmt: skip
            _draw(this, case, scans_of(case, model, request.cut))
        return
    single = len(model.card.inputs) == 1
    folder = this.folder

    def save(explanations: Sequence[Explanation]) -> None:
        folder.record_inputs(case)
        for explanation in [replace(e, input=None) if single else e for e in explanations]:
            path = folder.map_path(case.case, explanation.name, explanation.input)
            if explanation.scan.signal is not None:
                path = path.with_name(f"{without_map_ending(path.name)}.tsv")
            if request.dicom or request.dicom_seg:
                names = inputs_of(case, model)
                given = names[explanation.input] if explanation.input else next(iter(names.values()))
                place = f"{str(path).removesuffix('.nii.gz')}.dcm"
                series = case.choice(given).series
                if request.dicom_seg is None:
                    save_parametric_map(explanation, case.inputs[given], place, series=series)
                elif not save_segmentation(
                    explanation, case.inputs[given], place, threshold_of(request.dicom_seg), series=series
                ):
                    logger.warning("%s, %s: no voxel reaches %s", case.case, explanation.name, request.dicom_seg)
            save_map(explanation, path)

    scans = scans_of(case, model, request.cut)
    explained = explain_case(
        model,
        scans,
        missing,
        target=this.question.target,
        reference=this.question.reference,
        reference_cases=this.question.reference_cases if any(map(takes_cases, missing)) else (),
        layer=request.layer,
        reshape=request.reshape,
        mask=this.question.mask,
        seed=request.seed,
        case=case.case,
        batch_size=batch_size_of(request.batch_size),
        when_made=save,
        preflight=this.preflight or True,
    )
    if this.preflight is None and not folder.noted("preflight"):
        folder.note(preflight=write_record(explained.preflight, this.model, case.case))
    if explained.output is not None and explained.output.signal is not None:
        save_signal(explained.output, _image_path(folder, case).with_name(f"{safe_name(case.case)}_output.tsv"))
    elif explained.output is not None:
        save_volume(explained.output, _image_path(folder, case), "output of the network")
    _draw(this, case, scans)


def _draw(this: _Run, case: Case, scans: Mapping[str, Volume]) -> None:
    """Draw the pictures of a case that is done, all by one scale."""
    from regard.report.figures import overlay  # matplotlib, once there is something to draw

    explanations = _stored(this, case, scans)
    scales = common_scales(list(explanations.values()))
    for path, explanation in explanations.items():
        overlay(explanation, _picture(path), scale=scales, outlines=_regions(this))


def _regions(this: _Run) -> dict[str, Volume]:
    """Regions that the question speaks of, to be outlined."""
    from regard.report.outlines import target_regions

    mask = this.question.mask
    return {**target_regions(this.question.target), **({} if mask is None else {"the mask": mask})}


def _picture(path: Path) -> Path:
    """Where the picture of a map belongs."""
    return path.with_name(without_map_ending(path.name) + ".png")


def _stored(this: _Run, case: Case, scans: Mapping[str, Volume]) -> dict[Path, Explanation]:
    """The maps of a case that is done, by their paths."""
    paths = {
        this.folder.map_path(case.case, spec.label, name): name for spec in this.specs for name in this.input_names
    }
    first = next(iter(scans.values()))
    return {path: read_map(path).explanation(scans[name] if name else first) for path, name in paths.items()}


def _image_path(folder: RunFolder, case: Case) -> Path:
    """Where the network's own output image belongs."""
    table = folder.maps / f"{safe_name(case.case)}_output.tsv"
    return table if table.exists() else table.with_suffix(".nii.gz")


def _output(this: _Run, case: Case) -> Volume | None:
    """The network's own output image, with its unit, which NIfTI does not keep."""
    path = _image_path(this.folder, case)
    return replace(read(path), unit=this.model.card.output.image_unit) if path.exists() else None


def _report(this: _Run, done: Sequence[Case], n_cases: int) -> list[dict[str, Any]]:
    """Write the report of what is in the folder, computed now or before, and return a row for each map."""
    from regard.report.html import ReportCase, write_report

    rows: list[dict[str, Any]] = []
    shown_cases: list[ReportCase] = []
    regions = _regions(this)
    for case in done:
        scans = scans_of(case, this.model, this.request.cut) if len(shown_cases) < REPORTED else {}
        explanations = []
        for spec in this.specs:
            for name in this.input_names:
                path = this.folder.map_path(case.case, spec.label, name)
                stored = read_map(path)
                rows.append(_row(stored, path))
                if scans:
                    explanations.append(stored.explanation(scans[name] if name else next(iter(scans.values()))))
        if scans:
            shown_cases.append(ReportCase(case.case, explanations, output=_output(this, case), outlines=regions))
    if shown_cases:
        name = this.model.card.name
        meta = {"model": name, "target": rows[0]["asked"], "cases": n_cases}
        if n_cases > len(done):
            meta["failed"] = n_cases - len(done)
        if len(done) > REPORTED:
            meta["shown here"] = f"the first {REPORTED} of {len(done)}"
        write_report(this.folder.path / "report.html", f"{name}: what it depends on", shown_cases, meta=meta)
    return rows


def _row(stored: StoredMap, path: Path) -> dict[str, Any]:
    """What is printed of one map."""
    explanation = stored.explanation(stored.relevance)
    low, high = explanation.range
    return {
        "case": explanation.case,
        "map": explanation.name,
        "input": explanation.input,
        "target": explanation.target,
        "asked": explanation.asked,
        "prediction": explanation.prediction,
        "unit": explanation.output_unit,
        "quantity": str(explanation.quantity),
        "lowest": low,
        "highest": high,
        "map_unit": explanation.unit,
        "warnings": list(explanation.warnings),
        "file": str(path),
    }
