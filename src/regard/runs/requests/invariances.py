"""What ``regard invariances`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import (
    FURTHER,
    LAYER,
    SLICE,
    TARGET,
    Batched,
    Chosen,
    IntoFolder,
    Pictured,
    Private,
    ReadsFiles,
    Seeded,
    WithNetwork,
)

__all__ = ["InvariancesRequest"]


@dataclass(frozen=True, kw_only=True)
class InvariancesRequest(Chosen, WithNetwork, Seeded, Batched, IntoFolder, ReadsFiles, Private, Pictured):
    """Find inputs that a network cannot tell apart.

    Each one is checked by the network; some differ from the image in noise, some in anatomy.

    Example: regard invariances models/denoiser scan.nii.gz --patch 128 --n 12 -o run/

    Parameters
    ----------
    model
        Card folder, zoo name, MONAI bundle or program.
    paths
        Images, DICOM folders or tables.
    sampler
        Draw from a sampler that --fit made; training-free without.
    fit
        Make a sampler from the images of a table.
    null_space
        Follow the directions that the output answers to least.
    n
        Samples for each case.
    tolerance
        Largest d' of an image, or change of a number.
    target
        What must stay the same; all by default.
    layer
        A layer whose activation must stay the same, not the output.
    noise
        Standard deviation of the noise; from the image by default.
    limit
        Largest change of a voxel, in standard deviations of the noise.
    steps
        Of the search (40), or of each network of --fit (600).
    form
        What a sampler draws: the image, or its change.
    controls
        Samples of each control.
    patch
        Look at a patch of so many voxels a side only.
    at
        Voxel in the middle of the patch.
    cut
        One slice of a volume, such as k:12.
    further
        Further input.
    """

    model: Annotated[str, Flag(metavar="MODEL", argument=True)]
    paths: Annotated[tuple[Path, ...], Flag(metavar="CASE", argument=True)]
    sampler: Annotated[Path | None, Flag(metavar="DIR")] = None
    fit: Annotated[bool, Flag()] = False
    null_space: Annotated[bool, Flag()] = False
    n: Annotated[int, Flag(metavar="INT", least=1)] = 100
    tolerance: Annotated[str, Flag(metavar="FLOAT|auto")] = "auto"
    target: Annotated[str | None, TARGET] = None
    layer: Annotated[str | None, LAYER] = None
    noise: Annotated[float | None, Flag(metavar="FLOAT")] = None
    limit: Annotated[float, Flag(metavar="FLOAT")] = 3.0
    steps: Annotated[int | None, Flag(metavar="INT", least=1)] = None
    form: Annotated[str, Flag(metavar="published|difference")] = "published"
    controls: Annotated[int, Flag(metavar="INT", least=0)] = 6
    patch: Annotated[int | None, Flag(metavar="INT")] = None
    at: Annotated[str | None, Flag(metavar="I,J[,K]")] = None
    cut: Annotated[str | None, SLICE] = None
    further: Annotated[tuple[str, ...], FURTHER] = ()
