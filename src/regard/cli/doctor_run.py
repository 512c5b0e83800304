"""What ``regard doctor MODEL`` does: load, read, probe, print."""

import json
from collections.abc import Mapping, Sequence

import typer

from regard.cli.options import set_up
from regard.cli.request import Request, further_inputs, read_question, scans_of
from regard.core.errors import InputError
from regard.core.image_target import Mean
from regard.core.target import Output
from regard.core.volume import Volume
from regard.explain import Scan
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import find_cases
from regard.io.atomic import plain
from regard.models import Model, load_model
from regard.probing.example import random_scans
from regard.probing.probe import Preflight, Probe
from regard.probing.run import preflight
from regard.references import ReferenceValue

__all__ = ["run"]

RANDOM = "a random image"


def run(request: Request) -> int:
    """Probe a model and return the exit code: 2 where a probe refuses."""
    device = set_up(device=request.device, threads=request.threads, verbose=request.verbose, quiet=request.quiet)
    specs = parse_methods(request.methods)
    paths = list(request.paths)
    cases = find_cases(paths, further_inputs(request.further)) if paths else []
    if request.further and not paths:
        raise InputError("--input without a CASE", "the file of the first input", "give it, or leave --input out")
    if (request.reference or "").startswith("value:"):
        raise InputError(f"--reference {request.reference}", "FILE", "regard explain looks for a case near to a value")
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    question = read_question(request, model)
    reference = None if isinstance(question.reference, ReferenceValue) else question.reference
    scans: dict[str, Mapping[str, Volume]] = {c.case: scans_of(c, model, request.cut) for c in cases}
    rows = []
    for case, images in (scans or {RANDOM: random_scans(model.card)}).items():
        said = preflight(model, images, question.target, layer=request.layer, methods=specs, reference=reference)
        if question.target is None and [p.error_type for p in said] == ["TargetError"]:
            said = _with_some_target(said, model, images, request.layer, specs, reference)
        rows += [{"case": case, **{k: v for k, v in line.items() if k != "one_case"}} for line in said.lines()]
    if request.as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
    else:
        shown = ""
        for row in rows:
            if row["case"] != shown:
                shown = row["case"]
                typer.echo(f"{model.card.name}, probed with {shown}:")
            typer.echo(f"{row['state']:<8} {row['probe']}: {row['sentence']}")
    return 2 if any(row["state"] == "refused" for row in rows) else 0


def _with_some_target(
    refused: Preflight,
    model: Model,
    images: Mapping[str, Volume],
    layer: str | None,
    specs: Sequence[MethodSpec],
    reference: Scan | None,
) -> Preflight:
    """The probes for the first number of an output of several, or the mean of an image, where no target was given."""
    for target, words in ((Output(0), "its first number"), (Mean(), "the mean of its image")):
        said = preflight(model, images, target, layer=layer, methods=specs, reference=reference)
        if not any(p.error_type == "TargetError" for p in said):
            line = Probe("target", "ok", f"none was given, and the output is not one number: probed with {words}")
            return Preflight((line, *said), said.target)
    return refused
