"""What ``regard explain`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import (
    FURTHER,
    LAYER,
    METHOD,
    RESHAPE,
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

__all__ = ["ExplainRequest"]


@dataclass(frozen=True, kw_only=True)
class ExplainRequest(Chosen, WithNetwork, Seeded, Batched, IntoFolder, ReadsFiles, Private, Pictured):
    """Explain what a network depends on.

    The maps lie on each scan's own grid. The same command again goes on where it stopped.

    Example: regard explain models/brain-age sub-01_T1w.nii.gz -m grad-ram -m smoothgrad -o run/

    Parameters
    ----------
    model
        Card folder, zoo name, MONAI bundle or program.
    paths
        Images, DICOM folders or tables.
    methods
        Repeatable.
    target
        What is explained, such as logit:1.
    reference
        What to compare with.
    reference_cases
        Cases to choose from, or all of them.
    reference_tolerance
        Of value:NUMBER, in output units.
    layer
        Layer of CAM methods; the card's or the last by default.
    reshape
        How the layer lies: channels-last, tokens:14x14+1, slices:S, instances:S.
    mask
        Region of interest; NaN outside it.
    further
        Further input.
    cut
        Explain one slice of a volume, such as k:12.
    dicom
        Also DICOM Parametric Maps, or SEG: --dicom seg:0.5.
    dicom_seg
        Also DICOM Segmentations, of what reaches a threshold: ``"seg:0.5"``.
    """

    model: Annotated[str, Flag(metavar="MODEL", argument=True)]
    paths: Annotated[tuple[Path, ...], Flag(metavar="CASE", argument=True)]
    methods: Annotated[tuple[str, ...], METHOD]
    target: Annotated[str | None, TARGET] = None
    reference: Annotated[str | None, Flag(metavar="FILE|value:NUMBER")] = None
    reference_cases: Annotated[Path | None, Flag(metavar="TABLE")] = None
    reference_tolerance: Annotated[float | None, Flag(metavar="FLOAT")] = None
    layer: Annotated[str | None, LAYER] = None
    reshape: Annotated[str | None, RESHAPE] = None
    mask: Annotated[Path | None, Flag(metavar="FILE")] = None
    further: Annotated[tuple[str, ...], FURTHER] = ()
    cut: Annotated[str | None, SLICE] = None
    dicom: Annotated[bool, Flag()] = False
    dicom_seg: Annotated[str | None, Flag(metavar="seg:THRESHOLD", hidden=True)] = None
