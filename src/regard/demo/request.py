"""What ``regard demo`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import OUTPUT, OnDevice, Seeded

__all__ = ["DemoRequest"]


@dataclass(frozen=True, kw_only=True)
class DemoRequest(Seeded, OnDevice):
    """Train on phantoms, explain, measure.

    Needs no data: phantoms are made, a regressor is trained on them and explained, and the maps are measured against
    what is known to be true. An interrupted demo begins again; a finished one prints its results again.

    Example: regard demo

    Parameters
    ----------
    output
        Folder for all results.
    size
        How much is trained and explained.
    overwrite
        Start anew in a folder that holds another run.
    """

    output: Annotated[Path, OUTPUT] = Path("regard-demo")
    size: Annotated[str, Flag(metavar="smoke|default")] = "default"
    overwrite: Annotated[bool, Flag()] = False
