"""A request of ``regard explain``: the options as they were given, and what they name once it has been read."""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regard.core.errors import InputError
from regard.core.image_target import Contrast, ErrorTo, Mean
from regard.core.places import parse_layout
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.explain import Scan
from regard.explainers.spec import MethodSpec
from regard.io import Case, read, read_table
from regard.io.contents import named_contents
from regard.io.tables import is_table
from regard.models import Model
from regard.models.scans import files_of, with_units
from regard.models.target_text import absolute_target, read_region, read_target
from regard.references import ReferenceValue

__all__ = [
    "Question",
    "Request",
    "card_sha256",
    "configuration",
    "files_of",
    "further_inputs",
    "read_question",
    "scans_of",
    "shared_contents",
]


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
    reshape: str | None = None
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


@dataclass(frozen=True)
class Question:
    """What is asked of every case, read from its files once."""

    target: AbstractTarget | None
    reference: Scan | ReferenceValue | None
    mask: Volume | None


def read_question(request: Request, model: Model) -> Question:
    """Read the target, the reference and the mask of a request."""
    goal = read_target(request.target, model.card)
    return Question(
        target=_nameless(goal) if request.private else goal,
        reference=_reference(request, model),
        mask=None if request.mask is None else read_region(str(request.mask)),
    )


def _nameless(goal: AbstractTarget | None) -> AbstractTarget | None:
    """A target whose label holds no name of a file."""
    if isinstance(goal, Contrast):
        return replace(goal, positive=replace(goal.positive, name="A"), negative=replace(goal.negative, name="B"))
    if isinstance(goal, Mean):
        return replace(goal, name="region")
    return replace(goal, name="image") if isinstance(goal, ErrorTo) else goal


def _reference(request: Request, model: Model) -> Scan | ReferenceValue | None:
    text = request.reference or ""
    kind, _, number = text.partition(":")
    if kind != "value":
        for name in ("reference_cases", "reference_tolerance"):
            if getattr(request, name) is not None:
                got = f"--{name.replace('_', '-')} without a value to come near to"
                raise InputError(got, "--reference value:NUMBER", "give it, or leave this out")
        if not text:
            return None
        volume = _cut(read(text), request.cut)
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
        for case in read_table(request.reference_cases):
            # The reference is told by its case id, never by the name of its file.
            volume = _cut(read(next(iter(case.inputs.values()))), request.cut)
            among.append(replace(volume, source=case.case))
    return ReferenceValue(value, tuple(among), tolerance)


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
    return with_units({name: _cut(read(path), cut) for name, path in files_of(case, model).items()}, model)


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
    request: Request, model: Model, specs: Sequence[MethodSpec], cases: Sequence[Case], device: str
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
        "dicom": request.dicom,
        "seed": request.seed,
        "device": device,
        "threads": request.threads,
        "batch_size": request.batch_size,
        "contents": {"card": card_sha256(model), **shared_contents(request)},
    }


def card_sha256(model: Model) -> str:
    """Checksum of what a model's card says."""
    return hashlib.sha256(model.card.model_dump_json().encode()).hexdigest()


def shared_contents(request: Request) -> dict[str, str]:
    """Checksums of the files that every case is explained with."""
    among = [] if request.reference_cases is None else read_table(request.reference_cases)
    images = {f"reference_case_{c.case}": next(iter(c.inputs.values())) for c in among}
    return named_contents(
        target=request.target, reference=request.reference, reference_cases=request.reference_cases, mask=request.mask,
        **images,
    )  # fmt: skip


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)
