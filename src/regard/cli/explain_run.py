"""What ``regard explain`` does: read, explain, save, report; one failing case never costs the others."""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from regard.cli.options import batch_size_of, set_up
from regard.cli.progress import shown
from regard.core.errors import InputError, RegardError, SomeCasesFailed
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.explain import explain_case
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import Case, RunFolder, find_cases, read, read_map, read_table, save_map
from regard.io.maps import save_volume
from regard.io.names import safe_name
from regard.models import Model, load_model
from regard.models.provenance import versions
from regard.models.target_text import read_region, read_target
from regard.references import ReferenceValue
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.report.html import ReportCase, write_report

__all__ = ["Request", "run"]

logger = logging.getLogger(__name__)

REPORTED = 24
"""Cases shown in one report; all have their maps, sidecars and pictures."""


@dataclass(frozen=True)
class Request:
    """The command as it was given; fields as the options of ``regard explain``."""

    model: str
    paths: tuple[Path, ...]
    output: Path
    methods: tuple[str, ...]
    target: str | None = None
    reference: str | None = None
    reference_cases: Path | None = None
    reference_tolerance: float | None = None
    layer: str | None = None
    mask: Path | None = None
    further: tuple[str, ...] = ()
    cut: str | None = None
    dicom: bool = False
    weights: Path | None = None
    trust: bool = False
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    batch_size: str = "auto"
    overwrite: bool = False
    private: bool = False
    verbose: bool = False
    quiet: bool = False
    as_json: bool = False


def run(request: Request) -> int:
    """Explain the cases of a request and return the exit code."""
    device = set_up(device=request.device, threads=request.threads, verbose=request.verbose, quiet=request.quiet)
    if request.dicom and request.private:
        raise InputError(
            "--dicom with --private", "one of them", "a DICOM file carries its patient's identity, as the standard asks"
        )
    batch_size_of(request.batch_size)
    specs = parse_methods(request.methods)
    cases = find_cases(list(request.paths), _pairs(request.further))
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    for spec in specs:
        spec.build(model.network)
    read_target(request.target, model.card)
    config = _config(request, specs, cases)
    with RunFolder(
        request.output,
        "explain",
        config,
        argv=sys.argv[1:],
        cases=cases,
        versions=versions(),
        hashes={"weights_sha256": model.weights_sha256},
        overwrite=request.overwrite,
        private=request.private,
    ) as folder:
        with shown(quiet=request.quiet) as progress:
            for n, case in enumerate(cases):
                progress.stage(f"explaining {case.case}", n, len(cases))
                try:
                    _explain(request, folder, model, specs, case)
                except (RegardError, OSError, RuntimeError, ValueError, ArithmeticError) as error:
                    folder.add_failure(case.case, "explain", error)
                    if len(cases) == 1:
                        raise
                    logger.warning("%s: %s", case.case, error)
            done = [c for c in cases if all(_is_done(folder, c, s, model) for s in specs)]
            progress.stage("writing the report", len(cases), len(cases))
            shown_cases = [_read_back(request, folder, model, specs, c) for c in done[:REPORTED]]
        meta = {"model": model.card.name, "target": request.target or "the output", "cases": len(cases)}
        if len(done) > REPORTED:
            meta["shown here"] = f"the first {REPORTED} of {len(done)}"
        if shown_cases:
            write_report(folder.path / "report.html", f"{model.card.name}: what it depends on", shown_cases, meta=meta)
        folder.finish("some_failed" if len(done) < len(cases) else "done")
    _tell(request, folder, [e for c in shown_cases for e in c.explanations], len(cases) - len(done))
    return SomeCasesFailed.exit_code if len(done) < len(cases) else 0


def _pairs(texts: tuple[str, ...]) -> dict[str, Path]:
    pairs = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"--input {text}", "NAME=FILE")
        pairs[name] = Path(path)
    return pairs


def _config(request: Request, specs: list[MethodSpec], cases: list[Case]) -> dict[str, Any]:
    """What makes two runs the same."""
    return {
        "model": request.model,
        "weights": None if request.weights is None else str(request.weights),
        "case_ids": [c.case for c in cases],
        "methods": [str(s) for s in specs],
        "target": request.target,
        "reference": request.reference,
        "reference_cases": None if request.reference_cases is None else str(request.reference_cases),
        "reference_tolerance": request.reference_tolerance,
        "layer": request.layer,
        "mask": None if request.mask is None else str(request.mask),
        "slice": request.cut,
        "seed": request.seed,
        "device": request.device,
        "threads": request.threads,
        "batch_size": request.batch_size,
    }


def _inputs(case: Case, model: Model) -> dict[str, Path]:
    """Files of a case by the model's names of its inputs; a lone image is the first input."""
    names = [spec.name for spec in model.card.inputs]
    files = dict(case.inputs)
    if names[0] not in files and "image" in files:
        files = {names[0]: files.pop("image"), **files}
    return files


def _is_done(folder: RunFolder, case: Case, spec: MethodSpec, model: Model) -> bool:
    return all(folder.is_done(case.case, spec.label, name) for name in _names(model))


def _names(model: Model) -> list[str | None]:
    """Names of the inputs as they are in file names: none where there is one input."""
    return [s.name for s in model.card.inputs] if len(model.card.inputs) > 1 else [None]


def _scan(path: Path, request: Request) -> Volume:
    volume = read(path)
    if request.cut is None:
        return volume
    axis, _, index = request.cut.partition(":")
    if axis not in ("i", "j", "k") or not index.lstrip("-").isdigit():
        raise InputError(f"--slice {request.cut}", "AXIS:INDEX with axis i, j or k, such as k:12")
    return volume.slice("ijk".index(axis), int(index))


def _scans(request: Request, model: Model, case: Case) -> Mapping[str, Volume]:
    return {name: _scan(path, request) for name, path in _inputs(case, model).items()}


def _reference(request: Request, model: Model) -> Any:
    text = request.reference
    if text is None:
        return None
    kind, colon, number = text.partition(":")
    if kind != "value" or not colon:
        volume = _scan(Path(text), request)
        return {model.card.inputs[0].name: volume} if len(model.card.inputs) == 1 else volume
    try:
        value = float(number)
    except ValueError:
        raise InputError(f"the reference '{text}'", "FILE or value:NUMBER") from None
    among = []
    if request.reference_cases is not None:
        among = [_scan(next(iter(c.inputs.values())), request) for c in read_table(request.reference_cases)]
    return ReferenceValue(value, tuple(among), request.reference_tolerance)


def _explain(request: Request, folder: RunFolder, model: Model, specs: list[MethodSpec], case: Case) -> None:
    """Explain one case with the methods that it still lacks."""
    missing = [s for s in specs if not _is_done(folder, case, s, model)]
    if not missing:
        return
    found = explain_case(
        model,
        _scans(request, model, case),
        missing,
        target=read_target(request.target, model.card),
        reference=_reference(request, model),
        layer=request.layer,
        mask=None if request.mask is None else read_region(str(request.mask)),
        seed=request.seed,
        case=case.case,
        batch_size=batch_size_of(request.batch_size),  # type: ignore[arg-type]
    )
    single = len(model.card.inputs) == 1
    explanations = [replace(e, input=None) if single else e for e in found.explanations]
    scales = common_scales(explanations)
    if found.output is not None:
        save_volume(found.output, _image_path(folder, case), "output of the network")
    for explanation in explanations:
        path = folder.map_path(case.case, explanation.name, explanation.input)
        stem = str(path).removesuffix(".nii.gz")
        overlay(explanation, f"{stem}.png", scale=scales)
        if request.dicom:
            _save_dicom(explanation, _inputs(case, model), f"{stem}.dcm")
        save_map(explanation, path)
    folder.succeeded(case.case)


def _image_path(folder: RunFolder, case: Case) -> Path:
    """Where the network's own output image belongs."""
    return folder.maps / f"{safe_name(case.case)}_output.nii.gz"


def _save_dicom(explanation: Explanation, files: Mapping[str, Path], path: str) -> None:
    from regard.io import save_parametric_map

    source = files[explanation.input] if explanation.input else next(iter(files.values()))
    save_parametric_map(explanation, source, path)


def _read_back(
    request: Request, folder: RunFolder, model: Model, specs: list[MethodSpec], case: Case
) -> ReportCase:
    """A case of the run folder as the report shows it, whether it was computed now or before."""
    scans = _scans(request, model, case)
    explanations = []
    for spec in specs:
        for name in _names(model):
            stored = read_map(folder.map_path(case.case, spec.label, name))
            scan = scans[name] if name is not None else next(iter(scans.values()))
            explanations.append(stored.explanation(scan))
    image = _image_path(folder, case)
    output = read(image) if image.exists() else None
    return ReportCase(case.case, tuple(explanations), output=output)


def _tell(request: Request, folder: RunFolder, explanations: list[Explanation], n_failed: int) -> None:
    """Print the results."""
    rows = [
        {
            "case": e.case, "map": e.name, "target": e.target, "prediction": e.prediction, "unit": e.output_unit,
            "quantity": str(e.quantity), "lowest": e.range[0], "highest": e.range[1], "map_unit": e.unit,
            "file": str(folder.map_path(e.case, e.name, e.input)),
        }
        for e in explanations
    ]  # fmt: skip
    if request.as_json:
        typer.echo(json.dumps({"folder": str(folder.path), "failed": n_failed, "maps": rows}, indent=2))
        return
    for e in explanations:
        name = e.name + (f" ({e.input})" if e.input else "")
        low, high = e.range
        typer.echo(
            f"{e.case}  {name}: {e.target} = {e.prediction:.4g} {e.output_unit}; "
            f"{e.quantity} {low:.3g} to {high:.3g} [{e.unit}]"
        )
    for warning in dict.fromkeys(w for e in explanations for w in e.warnings):
        typer.echo(f"warning: {warning}")
    if n_failed:
        typer.echo(f"{n_failed} case(s) failed: {folder.path / 'failures.tsv'}")
    typer.echo(f"report: {folder.path / 'report.html'}")
