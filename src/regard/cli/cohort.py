"""``regard cohort``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import (
    BatchSize,
    Device,
    Json,
    NoLimits,
    Output,
    Overwrite,
    Private,
    Quiet,
    Reshape,
    Seed,
    Threads,
    Trust,
    Verbose,
    Weights,
)

__all__ = ["cohort"]


def cohort(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Card folder, zoo name, MONAI bundle or program.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE|BIDS-DIR", help="Table of the cases, or a BIDS folder.")],
    output: Output,
    method: Annotated[
        list[str], typer.Option("--method", "-m", metavar="NAME[:knob=value,...][@LABEL]", help="Repeatable.")
    ],
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="TARGET", help="What is explained, such as logit:1.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="FILE|value:NUMBER|COLUMN", help="What to compare with.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer of CAM methods; the card's or the last by default.")
    ] = None,
    reshape: Reshape = None,
    mask: Annotated[str | None, typer.Option(metavar="FILE|COLUMN", help="Region of interest; NaN outside it.")] = None,
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Image whose grid the maps are carried to.")
    ] = None,
    warp: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Transforms from the template to each scan.")
    ] = None,
    atlas: Annotated[Path | None, typer.Option(metavar="FILE", help="Label image of regions.")] = None,
    atlas_table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their names: columns index and name.")
    ] = None,
    null: Annotated[
        str,
        typer.Option(
            metavar="auto|randomised|surrogate|none", help="Null map of the tests; auto: randomised, with --atlas only."
        ),
    ] = "auto",
    retrained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL|FOLDER", help="Networks without the labels (see `regard retrain`), at least 19. Repeatable."
        ),
    ] = None,
    pattern: Annotated[
        bool, typer.Option("--pattern", help="Also map what the image does when the prediction rises.")
    ] = False,
    groups: Annotated[str | None, typer.Option(metavar="COLUMN", help="Groups to compare.")] = None,
    covariate: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Tested, and nuisance to the others. Repeatable.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Rows for each subgroup. Repeatable.")] = None,
    voxelwise: Annotated[
        str | None,
        typer.Option(metavar="max-t|tfce", help="Also test groups and covariates in every voxel; needs --maps all."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes of this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster.")] = None,
    maps: Annotated[str, typer.Option(metavar="all|none", help="Keep every case's maps in maps.zarr.")] = "all",
    weights: Weights = None,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: BatchSize = "auto",
    overwrite: Overwrite = False,
    no_limits: NoLimits = False,
    private: Private = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Explain a cohort: population map, table of regions.

    A bad case is a row in failures.tsv. The same command again goes on where it stopped; the results are the same to
    the bit whatever the workers and the interruptions.

    Example: regard cohort models/brain-age participants.tsv -m integrated-gradients --atlas atlas.nii.gz -o cohort/
    """
    from regard.cli.cohort_request import CohortRequest
    from regard.cli.cohort_run import run
    from regard.io.limits import without_limits

    request = CohortRequest(
        model=model, table=table, output=output, methods=tuple(method), target=target, reference=reference,
        layer=layer, reshape=reshape, mask=mask, template=template, warp=warp,
        atlas=atlas, atlas_table=atlas_table, null=null, retrained=tuple(retrained or ()),
        pattern=pattern, groups=groups, covariates=tuple(covariate or ()), by=tuple(by or ()), voxelwise=voxelwise,
        workers=workers, scheduler=scheduler, maps=maps, weights=weights, trust=trust, seed=seed, device=device,
        threads=threads, batch_size=batch_size, overwrite=overwrite, private=private, verbose=verbose, quiet=quiet,
        as_json=as_json,
    )  # fmt: skip
    with without_limits(no_limits):
        return run(request)
