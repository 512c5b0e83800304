"""What ``regard retrain`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import IntoFolder, OnDevice, Private, ReadsFiles, Seeded, WithNetwork

__all__ = ["RetrainRequest"]


@dataclass(frozen=True, kw_only=True)
class RetrainRequest(WithNetwork, Seeded, OnDevice, IntoFolder, ReadsFiles, Private):
    """Retrain a network on its labels, and on shuffled ones.

    What `regard cohort --retrained` ranks a network among. All are trained alike, from new weights; a bad case is a
    row in failures.tsv. The same command again goes on where it stopped.

    Example: regard retrain models/brain-age training.tsv -o networks/

    Parameters
    ----------
    model
        Card folder or zoo name; its weights are not used.
    table
        Training cases with a column label.
    networks
        On shuffled labels; as many untrained.
    epochs
        Of each training.
    """

    model: Annotated[str, Flag(metavar="MODEL", argument=True)]
    table: Annotated[Path, Flag(metavar="TABLE|BIDS-DIR", argument=True)]
    networks: Annotated[int, Flag(metavar="INT", least=1)] = 19
    epochs: Annotated[int, Flag(metavar="INT", least=1)] = 30
