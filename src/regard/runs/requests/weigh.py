"""What ``regard weigh`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import Batched, Pictured, ReadsFiles, Seeded, WithNetwork

__all__ = ["WeighRequest"]


@dataclass(frozen=True, kw_only=True)
class WeighRequest(WithNetwork, Seeded, Batched, ReadsFiles, Pictured):
    """Measure whether the maps of a run are true.

    The evidence is written beside the maps.

    Example: regard weigh run/ --truth bone.nii.gz

    Parameters
    ----------
    folder
        Folder of a finished run of regard explain.
    truth
        Mask or labels: one for all, FOLDER/<case>, or a column.
    boxes
        Table of boxes x, y, w, h in pixels (and case).
    measures
        See regard measures. Repeatable.
    by
        Subgroups. Repeatable.
    n_null
        Surrogate maps to compare with.
    quick
        Judge by sensitivity-n, which asks the network once for all maps of a case.
    table
        Table of the cases, if it has moved since.
    overwrite
        Start anew in a folder that holds another run.
    """

    folder: Annotated[Path, Flag(metavar="DIR", argument=True)]
    truth: Annotated[str | None, Flag(metavar="FILE|COLUMN")] = None
    boxes: Annotated[str | None, Flag(metavar="FILE|COLUMN")] = None
    measures: Annotated[tuple[str, ...], Flag(("--measure",), "NAME")] = ()
    by: Annotated[tuple[str, ...], Flag(metavar="COLUMN")] = ()
    n_null: Annotated[int, Flag(metavar="INT", least=9)] = 99
    quick: Annotated[bool, Flag()] = False
    table: Annotated[Path | None, Flag(metavar="TABLE")] = None
    overwrite: Annotated[bool, Flag()] = False
