"""``regard bench``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Device, Json, Output, Overwrite, Quiet, Seed, Threads, Trust, Verbose

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
        list[str] | None,
        typer.Option("--phantoms", metavar="NAME,...", help="Phantoms, or tasks with --images; repeatable."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="TABLE",
            help="Your own scans: signals are planted into them, and networks trained on these.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="MODEL",
            help="With --images: a model whose architecture is trained, its preparation used; by default a small one.",
        ),
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(help="With --images: the strongest signal [standard deviations of fine texture]; by default 3."),
    ] = None,
    trust: Trust = False,
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
    """Compare methods on images whose truth is known.

    These are phantoms, or your own scans with planted signals. Trains small networks on each, for numbers, classes and
    images, asks them what their output depends on by rendering patients again, and measures which method's map shows
    it, beside controls. A run that was cut off goes on where it stopped. With --images the ranking is for these scans
    and this network.

    Example: regard bench -m grad-ram,integrated-gradients,occlusion:window=6,stride=2 --size smoke -o bench/
    """
    from regard.cli.bench_run import run

    return run(
        output,
        methods=methods or (),
        measures=measures or (),
        phantoms=phantoms or (),
        images=images,
        network=network,
        contrast=contrast,
        trust=trust,
        size=size,
        seed=seed,
        device=device,
        threads=threads,
        overwrite=overwrite,
        verbose=verbose,
        quiet=quiet,
        as_json=as_json,
    )
