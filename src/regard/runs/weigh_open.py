"""A finished run that is to be weighed: what was asked then, and what is asked now."""

import hashlib
import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from regard.core.errors import CardError, FolderError
from regard.core.quantity import Quantity
from regard.core.spatial import space
from regard.evidence.stored import network_map
from regard.explainers.spec import MethodSpec
from regard.io import Case, read_map
from regard.io.contents import named_contents
from regard.io.names import map_stem
from regard.io.records import read_run
from regard.io.schema import read_json
from regard.models import Model
from regard.models.case import prepare_case
from regard.runs.question import Question, scans_of
from regard.runs.requests.explain import ExplainRequest
from regard.runs.requests.weigh import WeighRequest
from regard.runs.weigh_truth import Truth

__all__ = ["OpenRun", "RunMap", "as_it_was_asked", "configuration", "finished"]


@dataclass(frozen=True)
class RunMap:
    """One map of the run: which method made it, of which input."""

    spec: MethodSpec
    input: str | None

    @property
    def name(self) -> str:
        return self.spec.label if self.input is None else f"{self.spec.label} ({self.input})"


@dataclass
class OpenRun:
    """A run that is being weighed."""

    request: WeighRequest
    said: ExplainRequest
    model: Model
    question: Question
    maps: Sequence[RunMap]
    cases: Sequence[Case]
    truth: Truth
    path: Path
    sums: dict[str, Tensor] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)

    def sidecar(self, case: Case, which: RunMap) -> Path:
        return self.path / "maps" / f"{map_stem(case.case, which.spec.label, which.input)}.json"

    def carried(self, case: Case) -> dict[str, Tensor]:
        """Each map of a case on the network's grid, (1, 1, \\*space), on the CPU."""
        prepared = prepare_case(self.model, scans_of(case, self.model, self.said.cut))
        names = [s.name for s in self.model.card.inputs]
        found = {}
        for which in self.maps:
            stored = read_map(self.sidecar(case, which))
            number = names.index(which.input) if which.input else 0
            seen, _ = network_map(stored, Quantity(stored.sidecar["quantity"]), prepared.parts[number])
            found[which.name] = seen.shaped(space(prepared.inputs.tensors[number])).relevance
        return found


def finished(folder: Path) -> dict[str, Any]:
    """The record of a run that can be weighed."""
    if not (folder / "run.yaml").exists():
        raise FolderError(
            f"no run.yaml in '{folder}'", "the folder of a finished run of regard explain", "check the path"
        )
    record = read_run(folder)
    if record.get("verb") != "explain":
        got = f"a folder that 'regard {record.get('verb')}' made"
        raise FolderError(got, "one of regard explain", "explain its scans with regard explain, and weigh that")
    if record.get("state") not in ("done", "some_failed"):
        got = f"a run whose state is '{record.get('state')}'"
        raise FolderError(got, "one that is done", "finish it: give its regard explain command again")
    kinds: dict[str, Any] = {
        "model": str,
        "methods": list,
        "seed": int,
        "argv": list,
        "weights_sha256": (str, type(None)),
    }
    wrong = [key for key, kind in kinds.items() if key not in record or not isinstance(record[key], kind)]
    wrong += [k for k in ("methods", "argv", "tables") if not all(isinstance(v, str) for v in record.get(k) or ())]
    either = (str, type(None))
    texts = ("target", "reference", "reference_cases", "layer", "mask", "slice", "weights")
    wrong += [key for key in texts if not isinstance(record.get(key), either)]
    if not isinstance(record.get("reference_tolerance"), (int, float, type(None))):
        wrong.append("reference_tolerance")
    if wrong:
        got = f"{wrong[0]}: {reprlib.repr(record.get(wrong[0]))} in '{folder / 'run.yaml'}'"
        raise CardError(got, "the value that regard explain wrote", "explain the cases again with --overwrite")
    return record


def as_it_was_asked(record: dict[str, Any], request: WeighRequest) -> ExplainRequest:
    """The request of the run that is weighed."""

    def path(key: str) -> Path | None:
        return None if record.get(key) is None else Path(record[key])

    return ExplainRequest(
        model=record["model"], paths=(), output=request.folder, methods=tuple(record["methods"]),
        target=record.get("target"), reference=record.get("reference"), reference_cases=path("reference_cases"),
        reference_tolerance=record.get("reference_tolerance"), layer=record.get("layer"),
        reshape=record.get("reshape"), mask=path("mask"),
        cut=record.get("slice"), weights=request.weights or path("weights"), seed=int(record["seed"]),
        private=bool(record.get("private")),
    )  # fmt: skip


def configuration(this: OpenRun, record: dict[str, Any], device: str) -> dict[str, Any]:
    """What makes two weighings the same."""
    request, digest = this.request, hashlib.sha256()
    for case in this.cases:
        for which in this.maps:
            said = dict(read_json(this.sidecar(case, which), "explanation"))
            digest.update(json.dumps({**said, "verdict": None}, sort_keys=True).encode())
    return {
        "case_ids": [c.case for c in this.cases],
        "methods": record["methods"],
        "seed": request.seed,
        "device": device,
        "threads": request.threads,
        "batch_size": request.batch_size,
        "truth": request.truth,
        "boxes": request.boxes,
        "measures": list(request.measures),
        "by": list(request.by),
        "n_null": request.n_null,
        "quick": request.quick,
        "maps_sha256": digest.hexdigest(),
        "contents": named_contents(truth=this.truth.file, boxes=request.boxes, **_truths(this)),
    }


def _truths(this: OpenRun) -> dict[str, Path]:
    """The files of truth that the table names, by case."""
    if this.truth.column is None:
        return {}
    files = {c.case: c.file(this.truth.column) for c in this.cases}
    return {f"truth_of_{case}": path for case, path in files.items() if path is not None}
