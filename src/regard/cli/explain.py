"""``regard explain``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import (
    BatchSize,
    ChosenSeries,
    ChosenVolumes,
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

__all__ = ["explain"]


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Card folder, zoo name, MONAI bundle or program.")],
    cases: Annotated[list[Path], typer.Argument(metavar="CASE", help="Images, DICOM folders or tables.")],
    output: Output,
    method: Annotated[
        list[str], typer.Option("--method", "-m", metavar="NAME[:knob=value,...][@LABEL]", help="Repeatable.")
    ],
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="TARGET", help="What is explained, such as logit:1.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="FILE|value:NUMBER", help="What to compare with.")] = None,
    reference_cases: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Cases to choose from, or all of them."),
    ] = None,
    reference_tolerance: Annotated[
        float | None, typer.Option(metavar="FLOAT", help="Of value:NUMBER, in output units.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer of CAM methods; the card's or the last by default.")
    ] = None,
    reshape: Reshape = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="Region of interest; NaN outside it.")] = None,
    further: Annotated[list[str] | None, typer.Option("--input", metavar="NAME=FILE", help="Further input.")] = None,
    cut: Annotated[
        str | None, typer.Option("--slice", metavar="AXIS:INDEX", help="Explain one slice of a volume, such as k:12.")
    ] = None,
    volume: ChosenVolumes = None,
    series: ChosenSeries = None,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Also DICOM Parametric Maps, or SEG: --dicom seg:0.5.")
    ] = False,
    dicom_seg: Annotated[str | None, typer.Option("--dicom-seg", metavar="seg:THRESHOLD", hidden=True)] = None,
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
    """Explain what a network depends on.

    The maps lie on each scan's own grid. The same command again goes on where it stopped.

    Example: regard explain models/brain-age sub-01_T1w.nii.gz -m grad-ram -m smoothgrad -o run/
    """
    from regard.cli.explain_run import run
    from regard.cli.request import Request
    from regard.io.limits import without_limits

    request = Request(
        model=model, paths=tuple(cases), output=output, methods=tuple(method), target=target, reference=reference,
        reference_cases=reference_cases, reference_tolerance=reference_tolerance, layer=layer, reshape=reshape,
        mask=mask, further=tuple(further or ()), cut=cut, volumes=tuple(volume or ()), series=tuple(series or ()),
        dicom=dicom, dicom_seg=dicom_seg, weights=weights, trust=trust, seed=seed, device=device,
        threads=threads, batch_size=batch_size, overwrite=overwrite, private=private, verbose=verbose, quiet=quiet,
        as_json=as_json,
    )  # fmt: skip
    with without_limits(no_limits):
        return run(request)
