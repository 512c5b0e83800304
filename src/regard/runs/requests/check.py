"""What ``regard models check`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import WithNetwork

__all__ = ["CheckRequest"]


@dataclass(frozen=True, kw_only=True)
class CheckRequest(WithNetwork):
    """List the networks that Regard brings, or check one of yours.

    Example: regard models check models/mine sub-01_T1w.nii.gz

    Parameters
    ----------
    action
        Write the card of a model that has none, or try one.
    source
        Folder, exported program or bundle.
    scan
        A scan, to see what the network sees.
    output
        Where the picture goes.
    """

    action: Annotated[str | None, Flag(metavar="check", argument=True)] = None
    source: Annotated[Path | None, Flag(metavar="MODEL", argument=True)] = None
    scan: Annotated[Path | None, Flag(metavar="SCAN", argument=True)] = None
    output: Annotated[Path | None, Flag(("--output", "-o"), "PNG")] = None
