"""What ``regard retrain`` does."""

import json
import os
import sys
from pathlib import Path

import typer

from regard.cli.options import set_up
from regard.cli.progress import shown
from regard.cli.request import card_sha256
from regard.cohort.cases import find_cohort, numbered_patients
from regard.cohort.retraining import read_cases, recipe_of, retrain
from regard.core.errors import SomeCasesFailed
from regard.io import Case, RunFolder
from regard.models import load_model
from regard.models.provenance import versions

__all__ = ["run"]


def run(
    model: str,
    table: Path,
    output: Path,
    *,
    n_networks: int,
    n_epochs: int,
    weights: Path | None,
    trust: bool,
    seed: int,
    device: str,
    threads: int | None,
    overwrite: bool,
    private: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Retrain a network and return the exit code; parameters as the options of ``regard retrain``."""
    # One thread by default: the weights are then the same wherever the command goes on.
    n_threads = threads or 1
    where = set_up(device=device, threads=n_threads, verbose=verbose, quiet=quiet)
    cases = find_cohort(table)
    if private:
        cases = numbered_patients(cases)
    known = load_model(model, weights=weights, trust=trust, device=where)
    recipe = recipe_of(known, n_epochs)
    config = {
        "model": os.path.abspath(model) if Path(model).exists() else model,
        "case_ids": [c.case for c in cases],
        "methods": [],
        "target": None,
        "reference": None,
        "epochs": n_epochs,
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
            output, "retrain", config, argv=sys.argv[1:], cases=cases, versions=versions(), overwrite=overwrite,
            private=private,
        ) as folder,
        shown(quiet=quiet) as progress,
    ):  # fmt: skip

        def on_failure(case: Case, error: Exception) -> None:
            folder.add_failure(case.case, "retrain", error)
            failed.append(case)

        learn = read_cases(known, cases, on_failure, progress.stage)
        made = retrain(
            known, learn, output, recipe, n_networks=n_networks, seed=seed, accelerator=where, progress=progress.stage
        )
        folder.finish("some_failed" if failed else "done")
    if as_json:
        names = [p.name for p in made]
        typer.echo(json.dumps({"folder": str(output), "networks": names, "failed": [c.case for c in failed]}, indent=2))
    else:
        typer.echo(f"cases: {len(learn.labels)} of {len(cases)}")
        typer.echo(f"networks: {made[0]}, beside it {n_networks} on shuffled labels, {n_networks} untrained")
        typer.echo(f"next: regard cohort {made[0]} TABLE ... --retrained {output}")
        if failed:
            typer.echo(f"failed: {len(failed)}, told in {output / 'failures.tsv'}")
    return SomeCasesFailed.exit_code if failed else 0
