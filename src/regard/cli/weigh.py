"""``regard weigh``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import (
    BatchSize,
    Device,
    Json,
    NoLimits,
    Overwrite,
    Quiet,
    Seed,
    Threads,
    Trust,
    Verbose,
    Weights,
)

__all__ = ["weigh"]


def weigh(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run of regard explain.")],
    truth: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Mask or labels: one for all, FOLDER/<case>, or a column.")
    ] = None,
    boxes: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Table of boxes x, y, w, h in pixels (and case).")
    ] = None,
    measure: Annotated[list[str] | None, typer.Option(metavar="NAME", help="See regard measures. Repeatable.")] = None,
    by: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Subgroups. Repeatable.")] = None,
    n_null: Annotated[int, typer.Option(min=9, metavar="INT", help="Surrogate maps to compare with.")] = 99,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Judge by sensitivity-n, which asks the network once for all maps of a case."),
    ] = False,
    table: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Table of the cases, if it has moved since.")
    ] = None,
    weights: Weights = None,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: BatchSize = "auto",
    overwrite: Overwrite = False,
    no_limits: NoLimits = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Measure whether the maps of a run are true.

    The evidence is written beside the maps.

    Example: regard weigh run/ --truth bone.nii.gz
    """
    from regard.cli.weigh_run import WeighRequest, run
    from regard.io.limits import without_limits

    request = WeighRequest(
        folder=folder, truth=truth, boxes=boxes, measures=tuple(measure or ()), by=tuple(by or ()), n_null=n_null,
        quick=quick, table=table, weights=weights, trust=trust, seed=seed, device=device, threads=threads,
        batch_size=batch_size, overwrite=overwrite, verbose=verbose, quiet=quiet, as_json=as_json,
    )  # fmt: skip
    with without_limits(no_limits):
        return run(request)
