"""Networks retrained on labels and on shuffled labels, as ``regard retrain`` makes them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.cohort.cases import find_cohort, numbered_patients
from regard.cohort.retraining import read_cases, recipe_of
from regard.cohort.retraining import retrain as retrain_all
from regard.io import Case, RunFolder
from regard.models import load_model
from regard.models.provenance import versions
from regard.runs.computing import computing
from regard.runs.progress import shown
from regard.runs.question import card_sha256
from regard.runs.requests.retrain import RetrainRequest
from regard.runs.result import RunResult

__all__ = ["RetrainResult", "retrain"]


@dataclass(frozen=True, kw_only=True)
class RetrainResult(RunResult):
    """What `retrain` gives back.

    Parameters
    ----------
    networks
        Folders of the networks, that of the true labels first.
    n_cases, n_learned
        Cases of the table, and those that were learned from.
    """

    networks: tuple[Path, ...] = ()
    n_cases: int = 0
    n_learned: int = 0

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        facts = super().to_dict()
        return {"folder": facts["folder"], "networks": [p.name for p in self.networks], "failed": facts["failed"]}

    def __str__(self) -> str:
        n = (len(self.networks) - 1) // 2
        lines = [
            f"cases: {self.n_learned} of {self.n_cases}",
            f"networks: {self.networks[0]}, beside it {n} on shuffled labels, {n} untrained",
            f"next: regard cohort {self.networks[0]} TABLE ... --retrained {self.folder}",
        ]
        return "\n".join([*lines, *self._last_lines()])


def retrain(request: RetrainRequest) -> RetrainResult:
    """Retrain a network on its labels and on shuffled ones, as ``regard retrain`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    RegardError
        If something is wrong for every case. What is wrong with one case is a row of ``failures.tsv``.
    """
    # One thread by default: the weights are then the same wherever the command goes on.
    with computing(request, threads=1) as device:
        return _retrain_all(request, device)


def _retrain_all(request: RetrainRequest, where: str) -> RetrainResult:
    model, table, output, seed = request.model, request.table, request.output, request.seed
    n_threads, n_networks = request.threads or 1, request.networks
    cases = find_cohort(table)
    if request.private:
        cases = numbered_patients(cases)
    known = load_model(model, weights=request.weights, trust=request.trust, device=where)
    recipe = recipe_of(known, request.epochs)
    config = {
        "model": os.path.abspath(model) if Path(model).exists() else model,
        "case_ids": [c.case for c in cases],
        "methods": [],
        "target": None,
        "reference": None,
        "epochs": request.epochs,
        "networks": n_networks,
        "seed": seed,
        "device": where,
        "threads": n_threads,
        "batch_size": recipe.batch_size,
        "contents": {"card": card_sha256(known)},
    }
    failed: list[Case] = []
    with (
        RunFolder(
            output, "retrain", config, argv=request.words("retrain"), cases=cases, versions=versions(),
            overwrite=request.overwrite, private=request.private,
        ) as folder,
        shown(quiet=request.quiet) as progress,
    ):  # fmt: skip

        def on_failure(case: Case, error: Exception) -> None:
            folder.add_failure(case.case, "retrain", error)
            failed.append(case)

        learn = read_cases(known, cases, on_failure, progress.stage)
        made = retrain_all(
            known, learn, output, recipe, n_networks=n_networks, seed=seed, accelerator=where, progress=progress.stage
        )
        folder.finish("some_failed" if failed else "done")
    return RetrainResult(
        folder=output, failed=tuple(c.case for c in failed), networks=tuple(made), n_cases=len(cases),
        n_learned=len(learn.labels),
    )  # fmt: skip
