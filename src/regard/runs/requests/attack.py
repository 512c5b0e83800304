"""What ``regard attack`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import (
    FURTHER,
    LAYER,
    METHOD,
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

__all__ = ["AttackRequest"]


@dataclass(frozen=True, kw_only=True)
class AttackRequest(Chosen, WithNetwork, Seeded, Batched, IntoFolder, ReadsFiles, Private, Pictured):
    """Move a map by changes that nobody sees.

    Small changes of an image that keep or change its prediction and its map are searched for.

    Each attack is judged on the network itself, beside noise and corruptions of the same size, and seen by every other
    method that is named.

    Example: regard attack models/chest scan.png -m grad-cam --goal keep-change --budget 2,4 -t logit:1 -o run/

    Parameters
    ----------
    model
        Card folder, zoo name, MONAI bundle or program.
    paths
        Images, DICOM folders or tables.
    methods
        Repeatable.
    goal
        What is done with the prediction, and with the map.
    budget
        Largest change, in the image's unit; several for a curve.
    norm
        Of a voxel (inf), or the root of the sum of squares (2).
    target
        What is explained, such as logit:1.
    tolerance
        How far the prediction may move and be kept; 0.1 of a class's probability, or what noise does to a number.
    towards
        What the map is to become; anything but itself by default.
    restarts
        Starts of the search.
    steps
        Gradient steps of each start.
    surrogate
        Method that the steps follow for methods that no gradient passes through.
    layer
        Layer of CAM methods; the card's or the last by default.
    further
        Further input.
    cut
        One slice of a volume, such as k:12.
    """

    model: Annotated[str, Flag(metavar="MODEL", argument=True)]
    paths: Annotated[tuple[Path, ...], Flag(metavar="CASE", argument=True)]
    methods: Annotated[tuple[str, ...], METHOD]
    goal: Annotated[str, Flag(metavar="keep-change|change-keep|change-change|keep-keep")]
    budget: Annotated[tuple[str, ...], Flag(metavar="FLOAT,...")]
    norm: Annotated[str, Flag(metavar="inf|2")] = "inf"
    target: Annotated[str | None, TARGET] = None
    tolerance: Annotated[float | None, Flag(metavar="FLOAT")] = None
    towards: Annotated[Path | None, Flag(metavar="FILE")] = None
    restarts: Annotated[int, Flag(metavar="INT", least=1)] = 2
    steps: Annotated[int, Flag(metavar="INT", least=1)] = 60
    surrogate: Annotated[str | None, Flag(metavar="NAME[:knob=value,...]")] = None
    layer: Annotated[str | None, LAYER] = None
    further: Annotated[tuple[str, ...], FURTHER] = ()
    cut: Annotated[str | None, SLICE] = None
