"""``regard bench``."""

from typing import Annotated

import typer

from regard.cli.options import Device, Json, Output, Overwrite, Quiet, Seed, Threads, Verbose

__all__ = ["bench"]


def bench(
    output: Output,
    methods: Annotated[
        list[str] | None, typer.Option("--methods", "-m", metavar="NAME,...", help="Methods; repeatable.")
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option("--measures", metavar="NAME,...", help="Measures; repeatable.")
    ] = None,
    phantoms: Annotated[
        list[str] | None, typer.Option("--phantoms", metavar="NAME,...", help="Phantoms; repeatable.")
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="smoke|default|reference|paper", help="How much is trained and explained.")
    ] = "default",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Compare methods on phantoms whose truth is known.

    Trains small networks on each phantom, for numbers, classes and images, asks them what their output depends on by
    rendering patients again, and measures which method's map shows it, beside controls. A run that was cut off goes on
    where it stopped.

    Example: regard bench -m grad-ram,integrated-gradients,occlusion:window=6,stride=2 --size smoke -o bench/
    """
    from regard.cli.bench_run import run

    return run(
        output,
        methods=methods or (),
        measures=measures or (),
        phantoms=phantoms or (),
        size=size,
        seed=seed,
        device=device,
        threads=threads,
        overwrite=overwrite,
        verbose=verbose,
        quiet=quiet,
        as_json=as_json,
    )
