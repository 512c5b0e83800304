"""``regard demo``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Device, Json, Overwrite, Quiet, Seed, Threads, Verbose

__all__ = ["demo"]


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all results.")] = Path(
        "regard-demo"
    ),
    size: Annotated[str, typer.Option(metavar="smoke|default", help="How much is trained and explained.")] = "default",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train on phantoms, explain, measure.

    Needs no data: phantoms are made, a regressor is trained on them and explained, and the maps are measured against
    what is known to be true. An interrupted demo begins again; a finished one prints its results again.

    Example: regard demo
    """
    from regard.cli.demo_run import run

    return run(
        output,
        size=size,
        seed=seed,
        device=device,
        threads=threads,
        overwrite=overwrite,
        verbose=verbose,
        quiet=quiet,
        as_json=as_json,
    )
