"""What ``regard cohort`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import (
    LAYER,
    METHOD,
    RESHAPE,
    TARGET,
    Batched,
    IntoFolder,
    Pictured,
    Private,
    ReadsFiles,
    Seeded,
    WithNetwork,
)

__all__ = ["CohortRequest"]


@dataclass(frozen=True, kw_only=True)
class CohortRequest(WithNetwork, Seeded, Batched, IntoFolder, ReadsFiles, Private, Pictured):
    """Explain a cohort: population map, table of regions.

    A bad case is a row in failures.tsv. The same command again goes on where it stopped; the results are the same to
    the bit whatever the workers and the interruptions.

    Example: regard cohort models/brain-age participants.tsv -m integrated-gradients --atlas atlas.nii.gz -o cohort/

    Parameters
    ----------
    model
        Card folder, zoo name, MONAI bundle or program.
    table
        Table of the cases, or a BIDS folder.
    methods
        Repeatable.
    target
        What is explained, such as logit:1.
    reference
        What to compare with.
    layer
        Layer of CAM methods; the card's or the last by default.
    reshape
        How the layer lies: channels-last, tokens:14x14+1, slices:S, instances:S.
    mask
        Region of interest; NaN outside it.
    template
        Image whose grid the maps are carried to.
    warp
        Transforms from the template to each scan.
    atlas
        Label image of regions.
    atlas_table
        Names of its regions, as FreeSurfer, FSL, ITK-SNAP or nilearn write them.
    null
        Null map of the tests; auto: randomised, with --atlas only.
    retrained
        Networks without the labels (see `regard retrain`), at least 19. Repeatable.
    pattern
        Also map what the image does when the prediction rises.
    groups
        Groups to compare.
    covariates
        Tested, and nuisance to the others. Repeatable.
    by
        Rows for each subgroup. Repeatable.
    voxelwise
        Also test groups and covariates in every voxel; needs --maps all.
    workers
        Processes of this machine.
    scheduler
        Scheduler of a Dask cluster.
    maps
        Keep every case's maps in maps.zarr.
    """

    model: Annotated[str, Flag(metavar="MODEL", argument=True)]
    table: Annotated[Path, Flag(metavar="TABLE|BIDS-DIR", argument=True)]
    methods: Annotated[tuple[str, ...], METHOD]
    target: Annotated[str | None, TARGET] = None
    reference: Annotated[str | None, Flag(metavar="FILE|value:NUMBER|COLUMN")] = None
    layer: Annotated[str | None, LAYER] = None
    reshape: Annotated[str | None, RESHAPE] = None
    mask: Annotated[str | None, Flag(metavar="FILE|COLUMN")] = None
    template: Annotated[Path | None, Flag(metavar="FILE")] = None
    warp: Annotated[str | None, Flag(metavar="COLUMN")] = None
    atlas: Annotated[Path | None, Flag(metavar="FILE")] = None
    atlas_table: Annotated[Path | None, Flag(metavar="FILE")] = None
    null: Annotated[str, Flag(metavar="auto|randomised|surrogate|none")] = "auto"
    retrained: Annotated[tuple[str, ...], Flag(metavar="MODEL|FOLDER")] = ()
    pattern: Annotated[bool, Flag()] = False
    groups: Annotated[str | None, Flag(metavar="COLUMN")] = None
    covariates: Annotated[tuple[str, ...], Flag(("--covariate",), "COLUMN")] = ()
    by: Annotated[tuple[str, ...], Flag(metavar="COLUMN")] = ()
    voxelwise: Annotated[str | None, Flag(metavar="max-t|tfce")] = None
    workers: Annotated[int | None, Flag(metavar="N", least=1)] = None
    scheduler: Annotated[str | None, Flag(metavar="ADDRESS")] = None
    maps: Annotated[str, Flag(metavar="all|none")] = "all"
