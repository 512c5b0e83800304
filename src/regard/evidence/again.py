"""Explaining once more, what sanity and stability rest on."""

from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import InputError, ShapeError
from regard.core.explainer import AbstractExplainer, Query
from regard.core.inputs import Inputs
from regard.core.recording import Network
from regard.core.target import TargetLike
from regard.evidence.measure import Exhibit

__all__ = ["TakenAway", "explain_again", "taken_away"]


class TakenAway(TypedDict):
    """What a method takes away of one input: these two of an `Exhibit` of its map."""

    reference: Tensor | None
    parts: Tensor | None


def taken_away(
    explainer: AbstractExplainer,
    x: Tensor,
    target: TargetLike = None,
    *,
    reference: Tensor | None = None,
    seed: int = 0,
    case: str = "",
) -> TakenAway:
    """What a method takes away of one input: ``reference`` and ``parts`` of an `Exhibit` of its map.

    Parameters
    ----------
    explainer
        The method.
    x
        Input (1, channel, \\*space).
    target
        What is explained.
    reference
        What was given to compare with, (1, channel, \\*space), where the method takes one.
    seed, case
        As the map was made.
    """
    given = (reference,) if reference is not None and explainer.takes_reference else None
    query = Query(recording.unwrap(explainer.network), Inputs.of(x), target, given, seed, case)
    counted_from, parts = explainer.taken_away(query)
    return {
        "reference": None if counted_from is None else counted_from[0].detach(),
        "parts": None if parts is None else parts[0][0],
    }


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
