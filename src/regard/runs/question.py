"""What the texts of a request name, once they have been read: target, reference, mask, inputs."""

import hashlib
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regard.case.explaining import Scan
from regard.core.errors import InputError, ShapeError
from regard.core.image_target import Contrast, ErrorTo, Mean
from regard.core.places import parse_layout
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.explainers.of_case import takes_cases
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import Case, read, read_table
from regard.io.contents import named_contents
from regard.io.reading import kind_of
from regard.io.regions import read_region
from regard.io.tables import CHOICES, choosing, is_table
from regard.models import Model
from regard.models.scans import read_scans
from regard.models.target_text import absolute_target, read_target
from regard.references import ReferenceValue
from regard.runs.requests.explain import ExplainRequest

__all__ = [
    "Question",
    "card_sha256",
    "configuration",
    "further_inputs",
    "read_question",
    "scans_of",
    "shared_contents",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What is asked of every case, read from its files once."""

    target: AbstractTarget | None
    reference: Scan | ReferenceValue | None
    mask: Volume | None
    reference_cases: tuple[Scan, ...] = ()


def read_question(request: ExplainRequest, model: Model) -> Question:
    """Read the target, the reference and the mask of a request."""
    goal = read_target(request.target, model.card)
    return Question(
        target=_nameless(goal) if request.private else goal,
        reference=_reference(request, model),
        mask=None if request.mask is None else read_region(str(request.mask)),
        reference_cases=_reference_cases(request, model),
    )


def _nameless(goal: AbstractTarget | None) -> AbstractTarget | None:
    """A target whose label holds no name of a file."""
    if isinstance(goal, Contrast):
        return replace(goal, positive=replace(goal.positive, name="A"), negative=replace(goal.negative, name="B"))
    if isinstance(goal, Mean):
        return replace(goal, name="region")
    return replace(goal, name="image") if isinstance(goal, ErrorTo) else goal


def _reference(request: ExplainRequest, model: Model) -> Scan | ReferenceValue | None:
    text = request.reference or ""
    kind, _, number = text.partition(":")
    if kind != "value":
        unused = [] if request.reference_tolerance is None else ["reference-tolerance"]
        if request.reference_cases is not None and not any(map(takes_cases, parse_methods(request.methods))):
            unused.insert(0, "reference-cases")
        if unused:
            got = f"--{unused[0]} without a value to come near to"
            raise InputError(got, "--reference value:NUMBER, or expected-gradients", "give it, or leave this out")
        if not text:
            return None
        volume = _cut(_read_alike(text, request), request.cut)
        return {model.card.inputs[0].name: volume} if len(model.card.inputs) == 1 else volume
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"the reference '{text}'", "FILE or value:NUMBER")
    tolerance = request.reference_tolerance
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"--reference-tolerance {tolerance:g}", "a number of at least 0, in output units")
    among = []
    if request.reference_cases is not None:
        for case in choosing(read_table(request.reference_cases), request.volumes, request.series, request.rates):
            # The reference is told by its case id, never by the name of its file.
            volume = _cut(case.read(next(iter(case.inputs))), request.cut)
            among.append(replace(volume, source=case.case))
    return ReferenceValue(value, tuple(among), tolerance)


def _read_alike(path: str, request: ExplainRequest) -> Volume:
    """Read a reference as the cases are read: the same volume where it has several, the same series of a folder."""
    volumes, series = ([t for t in texts if "=" not in t] for texts in (request.volumes, request.series))
    number = series[0] if series and Path(path).is_dir() else None
    rates = [t for t in request.rates if "=" not in t]
    if rates and not Path(path).is_dir() and kind_of(path) == "signal table":
        return read(path, rate_hz=float(rates[0]))
    if volumes:
        try:
            return read(path, volume=int(volumes[0]), series=number)
        except ShapeError:
            logger.debug("%s is taken whole: it has no volume %s", path, volumes[0])
    return read(path, series=number)


def _reference_cases(request: ExplainRequest, model: Model) -> tuple[Scan, ...]:
    """The cases that methods average over; none where they are those among which one is chosen."""
    if request.reference_cases is None or (request.reference or "").startswith("value:"):
        return ()
    cases = choosing(read_table(request.reference_cases), request.volumes, request.series, request.rates)
    return tuple(scans_of(case, model, request.cut) for case in cases)


def further_inputs(texts: Sequence[str]) -> dict[str, Path]:
    """Read the ``NAME=FILE`` of ``--input``."""
    pairs: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"--input {text}", "NAME=FILE")
        if name in pairs:
            raise InputError(f"--input {name} twice", "one file for each input")
        pairs[name] = Path(path)
    return pairs


def scans_of(case: Case, model: Model, cut: str | None) -> Mapping[str, Volume]:
    """Read the images of a case, by the model's names of its inputs; the card gives the unit that a file does not."""
    return {name: _cut(volume, cut) for name, volume in read_scans(case, model).items()}


def _cut(volume: Volume, text: str | None) -> Volume:
    """One slice of a volume, ``AXIS:INDEX``, or all of it."""
    if text is None:
        return volume
    axis, index = _axis_and_index(text)
    return volume.slice(axis, index)


def _axis_and_index(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"[ijk]:-?[0-9]+", text):
        raise InputError(f"--slice {text}", "AXIS:INDEX with axis i, j or k, such as k:12")
    return "ijk".index(text[0]), int(text[2:])


def configuration(
    request: ExplainRequest, model: Model, specs: Sequence[MethodSpec], cases: Sequence[Case], device: str
) -> dict[str, Any]:
    """What makes two runs the same: paths are absolute, weights and shared files are their checksums.

    What is in the images of the cases is compared case by case, by the run folder.
    """
    if request.cut is not None:
        _axis_and_index(request.cut)
    reference = request.reference
    return {
        "model": _absolute(request.model) if Path(request.model).exists() else request.model,
        "weights": _absolute(request.weights),
        "weights_sha256": model.weights_sha256,
        "case_ids": [c.case for c in cases],
        "tables": [_absolute(p) for p in request.paths if is_table(p)],
        "methods": [str(s) for s in specs],
        "target": absolute_target(request.target),
        "reference": _absolute(reference) if reference and not reference.startswith("value:") else reference,
        "reference_cases": _absolute(request.reference_cases),
        "reference_tolerance": request.reference_tolerance,
        "layer": request.layer,
        # Left out where it is not given, so that older folders go on.
        **({"reshape": str(parse_layout(request.reshape))} if request.reshape is not None else {}),
        "mask": _absolute(request.mask),
        "slice": request.cut,
        # Left out where nothing is chosen, so that older folders go on.
        **({"chosen": chosen} if (chosen := _chosen(cases)) else {}),
        "dicom": request.dicom_seg or request.dicom,
        "seed": request.seed,
        "device": device,
        "threads": request.threads,
        "batch_size": request.batch_size,
        "contents": {"card": card_sha256(model), **shared_contents(request)},
    }


def card_sha256(model: Model) -> str:
    """Checksum of what a model's card says."""
    return hashlib.sha256(model.card.model_dump_json().encode()).hexdigest()


def shared_contents(request: ExplainRequest) -> dict[str, str]:
    """Checksums of the files that every case is explained with."""
    among = [] if request.reference_cases is None else read_table(request.reference_cases)
    images: dict[str, str | Path] = {f"reference_case_{c.case}": next(iter(c.inputs.values())) for c in among}
    images |= {f"reference_case_{c.case}_{n}": p for c in among for n, p in list(c.inputs.items())[1:]}
    for spec in parse_methods(request.methods):
        parts = spec.knobs.get("parts")
        if isinstance(parts, str) and Path(parts).is_file():
            images[f"parts_{spec.label}"] = parts
    return named_contents(
        target=request.target, reference=request.reference, reference_cases=request.reference_cases, mask=request.mask,
        **images,
    )  # fmt: skip


def _chosen(cases: Sequence[Case]) -> dict[str, dict[str, str]]:
    """Of each case, what says which part of its files is meant."""
    of_input = tuple(f"{c}_" for c in CHOICES)
    parts = {c.case: {k: v for k, v in c.columns.items() if k in CHOICES or k.startswith(of_input)} for c in cases}
    return {case: columns for case, columns in parts.items() if columns}


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)
