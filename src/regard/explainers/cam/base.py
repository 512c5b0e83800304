"""What all class activation maps share: a layer, one recorded pass, and the way from its grid to the input's."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.places import GRAMMAR, Arrangement, Layout, parse_layout
from regard.core.quantity import Promise
from regard.core.recording import GRADIENT, LAYERS, LayerLike, Network
from regard.core.spatial import interpolate, n_space, space, space_axes, spread
from regard.explainers.cam.beside import share_beside
from regard.explainers.cam.choice import Choice
from regard.explainers.cam.recorded import Recorded, Reshape, chosen, record

__all__ = ["AbstractCAM", "A_SCORE", "ONE_MAP", "weighted_sum"]

A_SCORE = {Promise.COMPLETE: "a score of the layer's places, not shares of the output"}
"""Promise that no score makes."""

ONE_MAP = {
    Promise.SEVERAL_INPUTS: "the layer has joined the inputs: each gets the whole map, which is not split among them"
}
"""Promise that a contribution of a layer cannot make."""

SHARE_TOLD = 0.01
"""Share of the output that goes round the layer from which on it is a warning."""


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum over channels of weight (batch, channel) times activation (batch, channel, \\*space); one channel is left."""
    shaped = weights.reshape(*weights.shape, *[1] * n_space(activations))
    return (shaped * activations).sum(1, keepdim=True)


class AbstractCAM(AbstractExplainer):
    """A map of a layer's places, brought to the input's grid.

    A subclass writes `_coarse`. The layer is recorded once; gradients reach back to it and no further. Scores are
    interpolated to the input's grid, contributions are spread so that their total is kept. Of several inputs each that
    the layer depends on gets the same map on its own grid; one that it does not depend on, or that has other axes than
    the layer (a number beside an image), gets NaN. Where the output does not pass through the layer alone, `notes` says
    as ``share_beside_layer`` which share of it does not (`regard.explainers.cam.beside`).

    Parameters
    ----------
    network
        A `torch.nn.Module`, or a model of Regard that is one.
    layer
        Dotted name, module, or None for the automatic choice: the last layer with places that the output is computed
        from (for an image, the last among those of the fewest places); of a mean of networks, a layer of each.
    form
        ``"signed"`` (default), or ``"published"`` for what the paper draws.
    reshape
        How the layer's output lies, where that cannot be told from the operations before it: ``"channels-last"``,
        ``"tokens:14x14+1"`` (a grid of tokens behind a class token), ``"slices:S"`` or ``"instances:S"``
        (`regard.core.places.parse_layout`); or a function from the output to (batch, channel, \\*space) that only
        selects and reorders.

    Raises
    ------
    CapabilityError
        If the network has no layers to look into.
    """

    needs = frozenset({GRADIENT, LAYERS})
    cases_together = True
    without_space = "NaN: the layer's places are none of its features"
    compared_with: ClassVar[str] = "the layer's activations at 0"
    """What a positive value is compared with."""

    def __init__(
        self,
        network: Network,
        layer: LayerLike = None,
        *,
        form: Form = "signed",
        reshape: Reshape | str | None = None,
    ) -> None:
        super().__init__(network, form=form)
        if isinstance(reshape, str):
            reshape = parse_layout(reshape)
        if reshape is not None and not callable(reshape):
            raise InputError(f"reshape={reshape!r}", f"{GRAMMAR}, or a function tokens -> (N, C, *space)")
        self.layer = layer
        self._reshape = reshape

    @abstractmethod
    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        """The map on the layer's grid, (batch, 1, \\*space), before what `_published` does."""

    def _published(self, coarse: Tensor) -> Tensor:
        """What the paper makes of the coarse map before it is drawn; ReLU in most."""
        return functional.relu(coarse)

    def _notes(self, query: Query, recorded: Recorded) -> dict[str, object]:
        """Further figures that belong to the map."""
        return {}

    def _attribute(self, query: Query) -> Attribution:
        if self.layer is not None:
            return self._of_layers(query, (self.layer,))
        choice = chosen(query)
        if choice.members:
            return self._of_members(query, choice)
        return self._of_layers(query, choice.layers)

    def _of_members(self, query: Query, choice: Choice) -> Attribution:
        """The mean of the members' maps; its total is compared with the mean network's own output."""
        parts = []
        for _, member in choice.members:
            asked = Query(member, query.inputs, query.wanted, None, query.seed, query.case, query.batch_size)
            parts.append(self._attribute(asked))
        found = Attribution(
            tuple(torch.stack(maps).mean(0) for maps in zip(*(p.relevance for p in parts), strict=True)), choice.value
        )
        names = [f"{name}.{p.notes['layer']}" for (name, _), p in zip(choice.members, parts, strict=True)]
        found.notes = {"layer": ", ".join(names), "compared_with": self.compared_with, "members": len(parts)}
        found.warnings = list(dict.fromkeys(w for p in parts for w in p.warnings))
        self._state_remainder(
            found, [p.completeness_error + p.value for p in parts if p.completeness_error is not None]
        )
        return found

    def _of_layers(self, query: Query, layers: Sequence[LayerLike]) -> Attribution:
        """The map of one layer, or for inputs that no one layer depends on the map of a layer each."""
        maps: list[Tensor | None] = [None] * len(query.inputs.tensors)
        totals: list[Tensor] = []
        names: list[str] = []
        warnings: list[str] = []
        notes: dict[str, object] = {}
        first: Recorded | None = None
        for layer in layers:
            recorded = record(query, layer, self._reshape)
            first = first or recorded
            looked_at = _told(query, recorded, alone=len(layers) == 1)
            warnings += looked_at.warnings
            coarse = self._coarse(query, recorded)
            if self.form == "published":
                coarse = self._published(coarse)
            bring = spread if self.meaning[0].sums else interpolate
            for n, x in enumerate(query.inputs.tensors):
                if maps[n] is None and recorded.reaches[n] and recorded.fits(x):
                    maps[n] = recorded.onto(coarse, x, bring)
            totals.append(coarse.sum((1, *space_axes(coarse))))
            names.append(recorded.name)
            notes |= {**looked_at.notes, **self._notes(query, recorded)}
        assert first is not None
        empty = first.activations.new_full((), torch.nan)
        found = Attribution(
            tuple(
                empty.expand(x.shape[0], 1, *space(x)).clone() if m is None else m
                for m, x in zip(maps, query.inputs.tensors, strict=True)
            ),
            first.value,
            notes={"layer": ", ".join(names), "compared_with": self.compared_with, **notes},
            warnings=list(dict.fromkeys([*warnings, *_unreached(query, maps, names)])),
        )
        self._state_remainder(found, [torch.stack(totals).sum(0)])
        return found

    def _state_remainder(self, found: Attribution, totals: Sequence[Tensor]) -> None:
        """What the map leaves over is the effective bias of the tail, stated and never spread over the image."""
        if not self.meaning[0].sums or not totals:
            return
        found.completeness_error = torch.stack(list(totals)).mean(0) - found.value
        remainder = [float(-e) for e in found.completeness_error]
        found.notes["remainder"] = remainder[0] if len(remainder) == 1 else remainder


@dataclass(frozen=True)
class _Told:
    """What is said of a layer beside its map."""

    notes: dict[str, object]
    warnings: tuple[str, ...]


def _told(query: Query, recorded: Recorded, *, alone: bool) -> _Told:
    """How the layer is laid out, whether anything looks at its places, and how much of the output goes round it.

    Raises
    ------
    CapabilityError
        If what follows the layer looks at what is no place alone.
    """
    notes: dict[str, object] = {}
    warnings = list(recorded.warnings)
    name = recorded.name
    if isinstance(recorded.reshape, (Arrangement, Layout)):
        notes["reshape"] = str(recorded.reshape)
    if recorded.gradient_elsewhere:
        raise CapabilityError(
            f"the layer '{name}', after which the output depends on no place, only on what is none (a class token)",
            "a layer whose places are still looked at",
            "name one before the last block's attention, such as its first norm, or leave the choice to Regard",
        )
    if not bool((recorded.gradients != 0).any()):
        warnings.append(f"the output has no gradient at any place of the layer '{name}': it is 0 at all of them")
    if recorded.goes_round and alone:
        shares = share_beside(query, recorded.layer, recorded.output, recorded.value)
        notes["share_beside_layer"] = shares[0] if len(shares) == 1 else shares
        known = [s for s in shares if s is not None]
        if known and max(known) >= SHARE_TOLD:
            warnings.append(
                f"{max(known):.0%} of what the output changes by, from a blank input to this one, does not pass "
                f"through the layer '{name}': the map does not show it"
            )
    return _Told(notes, tuple(warnings))


def _unreached(query: Query, maps: Sequence[Tensor | None], names: Sequence[str]) -> list[str]:
    """A sentence for each image that no layer depends on."""
    inputs = query.inputs
    warnings = []
    for n, (x, found) in enumerate(zip(inputs.tensors, maps, strict=True)):
        if found is None and n_space(x):
            which = f"'{inputs.names[n]}'" if inputs.names is not None else f"number {n + 1}"
            warnings.append(
                f"the layer '{', '.join(names)}' does not depend on the input {which}, or has other axes: its map "
                "is NaN; name a layer that it passes through"
            )
    return warnings
