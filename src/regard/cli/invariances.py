"""``regard invariances``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import (
    BatchSize,
    ChosenSeries,
    ChosenVolumes,
    Device,
    Json,
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

__all__ = ["invariances"]


def invariances(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Card folder, zoo name, MONAI bundle or program.")],
    cases: Annotated[list[Path], typer.Argument(metavar="CASE", help="Images, DICOM folders or tables.")],
    output: Output,
    sampler: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw from a sampler that --fit made; training-free without.")
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Make a sampler from the images of a table.")] = False,
    null_space: Annotated[
        bool, typer.Option("--null-space", help="Follow the directions that the output answers to least.")
    ] = False,
    n: Annotated[int, typer.Option(min=1, metavar="INT", help="Samples for each case.")] = 100,
    tolerance: Annotated[
        str, typer.Option(metavar="FLOAT|auto", help="Largest d' of an image, or change of a number.")
    ] = "auto",
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="TARGET", help="What must stay the same; all by default.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="A layer whose activation must stay the same, not the output.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(metavar="FLOAT", help="Standard deviation of the noise; from the image by default.")
    ] = None,
    limit: Annotated[
        float, typer.Option(metavar="FLOAT", help="Largest change of a voxel, in standard deviations of the noise.")
    ] = 3.0,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="INT", help="Of the search (40), or of each network of --fit (600).")
    ] = None,
    form: Annotated[
        str, typer.Option(metavar="published|difference", help="What a sampler draws: the image, or its change.")
    ] = "published",
    controls: Annotated[int, typer.Option(min=0, metavar="INT", help="Samples of each control.")] = 6,
    patch: Annotated[
        int | None, typer.Option(metavar="INT", help="Look at a patch of so many voxels a side only.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="I,J[,K]", help="Voxel in the middle of the patch.")] = None,
    cut: Annotated[
        str | None, typer.Option("--slice", metavar="AXIS:INDEX", help="One slice of a volume, such as k:12.")
    ] = None,
    further: Annotated[list[str] | None, typer.Option("--input", metavar="NAME=FILE", help="Further input.")] = None,
    volume: ChosenVolumes = None,
    series: ChosenSeries = None,
    weights: Weights = None,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: BatchSize = "auto",
    overwrite: Overwrite = False,
    private: Private = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Find inputs that a network cannot tell apart.

    Each one is checked by the network; some differ from the image in noise, some in anatomy.

    Example: regard invariances models/denoiser scan.nii.gz --patch 128 --n 12 -o run/
    """
    from regard.cli.invariances_fit import fit_run
    from regard.cli.invariances_request import InvariancesRequest
    from regard.cli.invariances_run import run

    request = InvariancesRequest(
        model=model, paths=tuple(cases), output=output, methods=(), n=n, tolerance=tolerance, target=target,
        layer=layer, noise=noise, limit=limit, steps=steps, sampler=sampler, fit=fit, null_space=null_space,
        form=form, controls=controls, patch=patch, at=at, cut=cut,
        volumes=tuple(volume or ()), series=tuple(series or ()), further=tuple(further or ()), weights=weights,
        trust=trust, seed=seed, device=device, threads=threads, batch_size=batch_size, overwrite=overwrite,
        private=private, verbose=verbose, quiet=quiet, as_json=as_json,
    )  # fmt: skip
    return fit_run(request) if fit else run(request)
