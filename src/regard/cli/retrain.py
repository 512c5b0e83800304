"""``regard retrain``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import (
    Device,
    Json,
    NoLimits,
    Output,
    Overwrite,
    Private,
    Quiet,
    Seed,
    Threads,
    Trust,
    Verbose,
    Weights,
)

__all__ = ["retrain"]


def retrain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Card folder or zoo name; its weights are not used.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE|BIDS-DIR", help="Training cases with a column label.")],
    output: Output,
    networks: Annotated[
        int, typer.Option("--networks", min=1, metavar="INT", help="On shuffled labels; as many untrained.")
    ] = 19,
    epochs: Annotated[int, typer.Option("--epochs", min=1, metavar="INT", help="Of each training.")] = 30,
    weights: Weights = None,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    no_limits: NoLimits = False,
    private: Private = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Retrain a network on its labels, and on shuffled ones.

    What `regard cohort --retrained` ranks a network among. All are trained alike, from new weights; a bad case is a
    row in failures.tsv. The same command again goes on where it stopped.

    Example: regard retrain models/brain-age training.tsv -o networks/
    """
    from regard.cli.retrain_run import run
    from regard.io.limits import without_limits

    with without_limits(no_limits):
        return run(
            model, table, output, n_networks=networks, n_epochs=epochs, weights=weights, trust=trust, seed=seed,
            device=device, threads=threads, overwrite=overwrite, private=private, verbose=verbose, quiet=quiet,
            as_json=as_json,
        )  # fmt: skip
