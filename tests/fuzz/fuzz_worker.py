"""Reads one file after another, as `fuzz_driver` names them, and says how each was answered."""

import importlib
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = ["READERS", "main"]

_SLOW = (
    "monai.bundle", "monai.networks.nets", "monai.transforms", "onnx", "onnxruntime", "nrrd", "pydicom", "tifffile",
    "regard.runs.weigh_open", "regard.runs.weigh_truth", "regard.runs.invariances_settings", "regard.runs.question",
    "regard.cohort.tree", "regard.cohort.warp", "regard.explainers.generative.sampler",
    "regard.explainers.learned.optimise", "regard.models", "regard.models.bundle_run", "regard.studies.bmd.config",
)  # fmt: skip

MEMORY = 2 * 2**30
_DECODER_SECONDS = 5.0


def _read(path: Path) -> None:
    from regard.io import read

    read(path)


def _interval(path: Path) -> None:
    from regard.io.intervals import interval_region

    interval_region(path)


def _table(path: Path) -> None:
    from regard.io import read_table

    for case in read_table(path):
        case.choice()
        case.columns.get("label") and case.number("label")


def _boxes(path: Path) -> None:
    from regard.core.volume import Volume
    from regard.io import Case
    from regard.runs.weigh_truth import Truth

    scan = Volume(torch.zeros(1, 8, 8, 1), torch.eye(4).numpy(), "grey level", "x")
    Truth(boxes=str(path)).of(Case("a", {}), scan)


def _regions(path: Path) -> None:
    from regard.cohort.region_names import read_region_names

    read_region_names(path)


def _transform(path: Path) -> None:
    from regard.cohort.warp import read_warp

    read_warp(path)


def _card(path: Path) -> None:
    from regard.models import load_model

    load_model(path.parent)


def _weights(path: Path) -> None:
    from regard.models.weights import read_bytes, read_state

    read_state(read_bytes(path, "weights"), path.name)


def _program(path: Path) -> None:
    from regard.models import load_model

    load_model(path, trust=True)


def _bundle(path: Path) -> None:
    from regard.models import load_model

    load_model(path.parents[1])


def _sidecar(path: Path) -> None:
    from regard.io import read_map

    stored = read_map(path)
    stored.explanation(stored.relevance)


def _run_record(path: Path) -> None:
    from regard.explainers.spec import parse_methods
    from regard.io.records import read_failures, read_inputs
    from regard.runs.requests.weigh import WeighRequest
    from regard.runs.weigh_open import as_it_was_asked, finished
    from regard.runs.weigh_truth import with_columns

    folder = path.parent
    record = finished(folder)
    read_failures(folder)
    with_columns(read_inputs(folder), None, record, [])
    as_it_was_asked(record, WeighRequest(folder=folder))
    parse_methods(record["methods"])


def _settings(path: Path) -> None:
    from regard.studies.bmd.config import SIZES
    from regard.studies.config import resolve

    resolve(SIZES, "smoke", file=path)


def _checkpoint(path: Path) -> None:
    from regard.cohort.tree import Tree

    Tree(path.parent, lambda a, b: a).total(1)


def _sampler(path: Path) -> None:
    from regard.explainers.generative.sampler import read_sampler

    read_sampler(path.parents[2])


def _training(path: Path) -> None:
    from regard.explainers.learned.optimise import _restore

    leaf = torch.zeros(3, requires_grad=True)
    _restore(path, "k", [leaf], torch.optim.Adam([leaf]))


def _option(path: Path) -> None:
    from regard.core.errors import CardError
    from regard.explainers.spec import parse_methods
    from regard.models.card import ModelCard
    from regard.models.target_text import read_target
    from regard.runs import question
    from regard.runs.computing import batch_size_of
    from regard.runs.invariances_settings import centre_of
    from regard.studies.bmd.config import SIZES
    from regard.studies.config import resolve

    kind, _, text = path.read_bytes().decode("utf-8", "surrogateescape").partition(" ")
    text = text.replace("\0", "")  # no argument of a program can hold it
    card = ModelCard.model_validate(
        {"name": "x", "inputs": [{}], "output": {"kind": "regression", "names": ["a"], "units": ["y"]}}
    )
    readers: dict[str, Callable[[], Any]] = {
        "method": lambda: parse_methods([text])[0].build(torch.nn.Conv2d(1, 1, 1)),
        "target": lambda: read_target(text, card),
        "set": lambda: resolve(SIZES, "smoke", settings=[text]),
        "at": lambda: centre_of(text),
        "input": lambda: question.further_inputs([text]),
        "slice": lambda: question._axis_and_index(text),
        "batch": lambda: batch_size_of(text),
        "reference": lambda: question._reference(_Reference(text), None),  # type: ignore[arg-type]
    }
    if kind not in readers:
        raise CardError(f"the option '{kind[:20]}'", "one of these")
    readers[kind]()


class _Reference:
    reference_cases = reference_tolerance = cut = None

    def __init__(self, text: str) -> None:
        self.reference = f"value:{text.removeprefix('value:')}"


READERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("nifti", "pairs", "dicom", "picture", "nrrd", "metaimage", "signal"), _read),
    "interval": _interval, "table": _table, "boxes": _boxes, "regions": _regions, "transform": _transform,
    "card": _card, "weights": _weights, "program": _program, "bundle": _bundle, "sidecar": _sidecar,
    "run_record": _run_record,
    "settings": _settings, "checkpoint": _checkpoint, "sampler": _sampler, "training": _training, "option": _option,
}  # fmt: skip


def _peak() -> int:
    """Most memory that this process has used so far [byte]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def answer(kind: str, path: Path) -> dict[str, Any]:
    """How a file is answered: read, refused by an error of Regard's, or let through as something else."""
    from regard.core.errors import RegardError

    start = time.monotonic()
    said: dict[str, Any] = {"outcome": "read"}
    try:
        READERS[kind](path)
    except RegardError as error:
        text = f"{type(error).__name__}: {error}"
        # A sentence that nobody can read is no better than none.
        outcome = "memory" if "more memory than there is" in text else "refused" if len(text) <= 2000 else "bare"
        said = {"outcome": outcome, "error": text[:600]}
    except MemoryError as error:
        said = {"outcome": "memory", "error": repr(error)[:300]}
    except BaseException as error:
        import traceback

        frames = traceback.extract_tb(error.__traceback__)[-3:]
        places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
        said = {"outcome": "bare", "error": f"{type(error).__name__}: {error}"[:300] + f" at {places}"}
    return {**said, "seconds": time.monotonic() - start}


def main() -> None:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # What takes seconds to import is no part of the time of a file.
    for name in _SLOW:
        importlib.import_module(name)
    from regard.io import decoder

    decoder.SECONDS = _DECODER_SECONDS
    limit = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    torch.set_num_threads(1)
    before = _peak()
    for line in sys.stdin:
        asked = json.loads(line)
        said = answer(asked["kind"], Path(asked["path"]))
        peak = _peak()
        if peak - before > MEMORY and said["outcome"] != "bare":
            said["outcome"] = "memory"
        before = max(before, peak) if peak - before <= MEMORY else peak
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
