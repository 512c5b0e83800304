"""What is asked of every case: as it was written, and with its network and files in memory."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.case.explaining import Explained, explain_case
from regard.cohort import moments
from regard.cohort.moments import State
from regard.cohort.part import Part
from regard.cohort.retrained import check_retrained
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.evidence.controls import randomised
from regard.explainers.spec import parse_methods
from regard.io import Case, read
from regard.io.regions import read_region, split_region
from regard.models import Model, load_model
from regard.models.scans import read_scans
from regard.models.target_text import read_target
from regard.probing.probe import Preflight
from regard.probing.run import preflight
from regard.references import ReferenceLike, ReferenceValue

__all__ = ["OpenQuestion", "Predicting", "Question", "prediction_row"]


@dataclass(frozen=True)
class Question:
    """What is asked of every case, as it is written on the command line; all fields as the options of `regard cohort`.

    ``reference`` and ``mask`` are a file for all cases, or a column of the table; ``preflight`` is what the network's
    probes said on one case, so that no worker makes them again. ``limits`` is whether those of `regard.io.limits` hold.
    ``retrained`` are networks that were retrained on shuffled labels.
    """

    model: str
    methods: tuple[str, ...] = ()
    weights: str | None = None
    trust: bool = False
    target: str | None = None
    reference: str | None = None
    layer: str | None = None
    reshape: str | None = None
    mask: str | None = None
    seed: int = 0
    device: str = "cpu"
    batch_size: int | str = "auto"
    preflight: Preflight | None = None
    limits: bool = True
    retrained: tuple[str, ...] = ()

    def open(self) -> "OpenQuestion":
        """Load the network and the files that are the same for all cases."""
        return OpenQuestion(self)


class OpenQuestion:
    """`Question` with its network and its files in memory."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.model: Model = load_model(
            question.model, weights=question.weights, trust=question.trust, device=question.device
        )
        self.retrained = [load_model(m, trust=question.trust, device=question.device) for m in question.retrained]
        if self.retrained:
            check_retrained(self.model, self.retrained)
        self.specs = parse_methods(question.methods) if question.methods else []
        self.target = read_target(question.target, self.model.card)
        # A text that names a file is one for all cases, any other is a column: told apart once.
        mask, reference = _file(question.mask), _file(question.reference)
        self._mask = None if mask is None else read_region(mask)
        self._reference = None if reference is None else read(reference)

    def scans(self, case: Case) -> dict[str, Volume]:
        """The images of a case, by the model's names of its inputs."""
        return read_scans(case, self.model)

    def explain(self, case: Case, scans: Mapping[str, Volume], model: Model | None = None) -> Explained:
        """Explain one case with every method, or only predict where there is none."""
        found = explain_case(
            self.model if model is None else model,
            scans,
            self.specs,
            target=self.target,
            reference=self.reference(case),
            layer=self.question.layer,
            reshape=self.question.reshape,
            mask=self._mask_of(case),
            seed=self.question.seed,
            case=case.case,
            batch_size=self.question.batch_size,  # type: ignore[arg-type]
            preflight=(self.question.preflight or True) if model is None else False,
        )
        if len(scans) > 1:
            return found
        return replace(found, explanations=tuple(replace(e, input=None) for e in found.explanations))

    def probe(self, case: Case) -> Preflight:
        """What the network's probes say on one case."""
        return preflight(self.model, self.scans(case), self.target, layer=self.question.layer, methods=self.specs)

    def explain_forgetful(self, case: Case, scans: Mapping[str, Volume]) -> Explained:
        """Explain one case with a copy of the network whose weights are drawn anew; each case has its own copy."""
        forgetful = copy.copy(self.model)
        forgetful.network = randomised(self.model.network, seed=self.question.seed, case=case.case, draw="null")
        return self.explain(case, scans, forgetful)

    def explain_retrained(self, case: Case, scans: Mapping[str, Volume]) -> list[Explained]:
        """Explain one case with each network that was retrained on shuffled labels."""
        return [self.explain(case, scans, model) for model in self.retrained]

    def _mask_of(self, case: Case) -> Volume | None:
        if self._mask is not None or self.question.mask is None:
            return self._mask
        path = case.file(self.question.mask)
        return None if path is None else read_region(str(path))

    def reference(self, case: Case) -> ReferenceLike:
        """What a case is compared with: a file, an output value, or what its column says."""
        text = self.question.reference
        if text is None:
            return None
        volume = self._reference
        if volume is None:
            said = text.removeprefix("value:") if text.startswith("value:") else case.columns.get(text, "")
            value = _number(said)
            if value is not None:
                return ReferenceValue(value)
            path = case.file(text)
            if path is None:
                got = f"no reference in column '{text}' of case '{case.case}'"
                raise InputError(got, "a file or a number", "fill the cell")
            volume = read(path)
        names = [s.name for s in self.model.card.inputs]
        return {names[0]: volume} if len(names) == 1 else volume


@dataclass(frozen=True)
class Predicting:
    """Predicts each case: a row of numbers, and no map."""

    question: Question

    def open(self) -> "_OpenPredicting":
        return _OpenPredicting(self.question.open())

    def combine(self, a: State, b: State) -> State:
        return moments.combine(a, b)


@dataclass(frozen=True)
class _OpenPredicting:
    asked: OpenQuestion

    def part(self, case: Case) -> Part:
        return Part({}, prediction_row(case, self.asked.explain(case, self.asked.scans(case))))


def prediction_row(case: Case, found: Explained) -> dict[str, Any]:
    """What is kept of every case's answer."""
    explanation = found.explanations[0] if found.explanations else None
    return {
        "case": case.case,
        "patient": case.patient,
        "prediction": found.prediction,
        "outputs": dict(found.outputs),
        "target": "" if explanation is None else explanation.target,
        "unit": "" if explanation is None else explanation.output_unit,
        "warnings": [] if explanation is None else list(explanation.warnings),
        "threads": torch.get_num_threads(),
    }


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _file(text: str | None) -> str | None:
    """The text if it names a file, with a label or without."""
    return text if text is not None and Path(split_region(text).path).is_file() else None
