"""Whether a network can be explained: it is loaded and probed, as ``regard doctor`` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.case.explaining import Scan
from regard.core.errors import InputError
from regard.core.image_target import Mean
from regard.core.target import Output
from regard.core.volume import Volume
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import find_cases
from regard.models import Model, load_model
from regard.probing.example import random_scans
from regard.probing.probe import Preflight, Probe
from regard.probing.run import preflight
from regard.references import ReferenceValue
from regard.runs.computing import computing
from regard.runs.installed import installed
from regard.runs.opening import as_explained
from regard.runs.question import further_inputs, read_question, scans_of
from regard.runs.requests.doctor import DoctorRequest
from regard.runs.result import columns_of_text

__all__ = ["DoctorResult", "doctor"]

RANDOM = "a random image"


@dataclass(frozen=True)
class DoctorResult:
    """What `doctor` gives back.

    Parameters
    ----------
    rows
        A row for each probe and case; or, without a network, for each package.
    model
        Name of the network; None without one.
    """

    rows: tuple[dict[str, Any], ...]
    model: str | None = None

    @property
    def exit_code(self) -> int:
        """2 where a probe refuses, 0 otherwise."""
        return 2 if any(row.get("state") == "refused" for row in self.rows) else 0

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows in plain values."""
        return list(self.rows)

    def __str__(self) -> str:
        if self.model is None:
            return columns_of_text(self.rows)
        lines, case = [], None
        for row in self.rows:
            if row["case"] != case:
                case = row["case"]
                lines.append(f"{self.model}, probed with {case}:")
            lines.append(f"{row['state']:<8} {row['probe']}: {row['sentence']}")
        return "\n".join(lines)


def doctor(request: DoctorRequest) -> DoctorResult:
    """Probe a network, or tell what is installed.

    Parameters
    ----------
    request
        What is asked; its fields are the options of ``regard doctor``.

    Raises
    ------
    InputError
        If what is asked cannot be read.
    """
    if request.model is None:
        return DoctorResult(tuple(installed()))
    with computing(request) as device:
        return _probed(request, request.model, device)


def _probed(request: DoctorRequest, name: str, device: str) -> DoctorResult:
    specs, paths = parse_methods(request.methods), list(request.paths)
    cases = find_cases(paths, further_inputs(request.further)) if paths else []
    if request.further and not paths:
        raise InputError("--input without a CASE", "the file of the first input", "give it, or leave --input out")
    if (request.reference or "").startswith("value:"):
        raise InputError(f"--reference {request.reference}", "FILE", "regard explain looks for a case near to a value")
    model = load_model(name, weights=request.weights, trust=request.trust, device=device)
    question = read_question(as_explained(request, model=name, output=Path()), model)
    reference = None if isinstance(question.reference, ReferenceValue) else question.reference
    scans: dict[str, Mapping[str, Volume]] = {c.case: scans_of(c, model, None) for c in cases}
    rows = []
    for case, images in (scans or {RANDOM: random_scans(model.card)}).items():
        said = preflight(model, images, question.target, layer=request.layer, methods=specs, reference=reference)
        if question.target is None and [p.error_type for p in said] == ["TargetError"]:
            said = _with_some_target(said, model, images, request.layer, specs, reference)
        rows += [{"case": case, **{k: v for k, v in line.items() if k != "one_case"}} for line in said.lines()]
    return DoctorResult(tuple(rows), model.card.name)


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
