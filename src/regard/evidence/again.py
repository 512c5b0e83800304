"""Explaining once more, what sanity and stability rest on."""

from collections.abc import Callable

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import InputError, ShapeError
from regard.core.recording import Network
from regard.evidence.measure import Exhibit

__all__ = ["explain_again"]


def explain_again(exhibit: Exhibit, x: Tensor | None = None, network: Network | None = None) -> Tensor:
    """Map of a changed input, or of another network, by the exhibit's own method.

    Returns
    -------
    Tensor
        Map (1, 1, \\*space), float64, on the CPU.

    Raises
    ------
    InputError
        If the exhibit cannot explain again.
    ShapeError
        If the map is not on the exhibit's grid.
    """
    if exhibit.explain is None:
        raise InputError(
            "an exhibit that cannot explain again", "one with `explain`", "ask the measure whether it `can`"
        )
    explain: Callable[[Network, Tensor], Tensor] = exhibit.explain
    asked = exhibit.network if network is None else network
    with recording.intact(asked):
        found = explain(asked, exhibit.x if x is None else x)
    if found.shape != exhibit.relevance.shape:
        raise ShapeError(
            f"an explanation of shape {tuple(found.shape)}", f"the exhibit's, {tuple(exhibit.relevance.shape)}"
        )
    return found.detach().to("cpu", torch.float64)
