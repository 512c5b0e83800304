"""What ``regard study run`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import IntoFolder, OnDevice, Private, Seeded

__all__ = ["StudyRequest"]


@dataclass(frozen=True, kw_only=True)
class StudyRequest(Seeded, OnDevice, Private, IntoFolder):
    """Run a study. A run that was cut off goes on where it stopped, and ends the same.

    Example: regard study run bmd --size default -o runs/bmd

    Parameters
    ----------
    name
        Name of the study; see `regard study list`.
    size
        How much is made, trained and explained.
    config
        YAML with any of the settings.
    settings
        One setting, such as train.n_members=3.
    data
        Your own cases instead of phantoms.
    acts
        Of data,train,score,explain,weigh; all by default.
    source
        Run whose acts are used where they are not run here. Repeatable where a study takes several.
    """

    name: Annotated[str, Flag(metavar="NAME", argument=True)]
    size: Annotated[str, Flag(metavar="smoke|default|reference|paper")] = "default"
    config: Annotated[Path | None, Flag(metavar="FILE")] = None
    settings: Annotated[tuple[str, ...], Flag(("--set",), "KEY=VALUE")] = ()
    data: Annotated[Path | None, Flag(metavar="TABLE|DIR")] = None
    acts: Annotated[str | None, Flag(metavar="ACT,...")] = None
    source: Annotated[tuple[Path, ...], Flag(("--from",), "RUN")] = ()
