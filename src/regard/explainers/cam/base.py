"""What all class activation maps share: a layer, one recorded pass, and the way from its grid to the input's."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.inputs import Inputs
from regard.core.quantity import Promise
from regard.core.recording import GRADIENT, LAYERS, LayerLike, Network
from regard.core.spatial import interpolate, n_space, space, space_axes, spread
from regard.explainers.cam.recorded import Recorded, Reshape, record

__all__ = ["AbstractCAM", "A_SCORE", "ONE_MAP", "weighted_sum"]

A_SCORE = {Promise.COMPLETE: "a score of the layer's places, not shares of the output"}
"""Promise that no score makes."""

ONE_MAP = {
    Promise.SEVERAL_INPUTS: "the layer has joined the inputs: each gets the whole map, which is not split among them"
}
"""Promise that a contribution of a layer cannot make."""


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum over channels of weight (batch, channel) times activation (batch, channel, \\*space); one channel is left."""
    shaped = weights.reshape(*weights.shape, *[1] * n_space(activations))
    return (shaped * activations).sum(1, keepdim=True)


class AbstractCAM(AbstractExplainer):
    """A map of a layer's places, brought to the input's grid.

    A subclass writes `_coarse`. The layer is recorded once; gradients reach back to it and no further. Scores are
    interpolated to the input's grid, contributions are spread so that their total is kept. Of several inputs each gets
    the same map on its own grid; one that has other axes than the layer (a number beside an image) gets NaN.

    Parameters
    ----------
    network
        A `torch.nn.Module`, or a model of Regard that is one.
    layer
        Dotted name, module, or None for the last layer with places.
    form
        ``"signed"`` (default), or ``"published"`` for what the paper draws.
    reshape
        For layers without places (transformers): a function from the layer's output, such as tokens
        (batch, token, feature), to (batch, channel, \\*space) that only selects and reorders.

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
        self, network: Network, layer: LayerLike = None, *, form: Form = "signed", reshape: Reshape | None = None
    ) -> None:
        super().__init__(network, form=form)
        if reshape is not None and not callable(reshape):
            raise InputError(f"reshape={reshape!r}", "a function tokens -> (N, C, *space)", "give it in Python")
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
        recorded = record(query, self.layer, self._reshape)
        coarse = self._coarse(query, recorded)
        if self.form == "published":
            coarse = self._published(coarse)
        sums = self.meaning[0].sums
        found = Attribution(
            _to_inputs(coarse, query.inputs, keep_total=sums),
            recorded.value,
            notes={"layer": recorded.name, "compared_with": self.compared_with, **self._notes(query, recorded)},
        )
        if sums:
            # What the map leaves over is the effective bias of the tail, stated and never spread over the image.
            found.completeness_error = coarse.sum((1, *space_axes(coarse))) - recorded.value
            remainder = [float(-e) for e in found.completeness_error]
            found.notes["remainder"] = remainder[0] if len(remainder) == 1 else remainder
        return found


def _to_inputs(coarse: Tensor, inputs: Inputs, *, keep_total: bool) -> tuple[Tensor, ...]:
    bring = spread if keep_total else interpolate
    return tuple(
        bring(coarse, space(x))
        if n_space(x) == n_space(coarse)
        else torch.full((x.shape[0], 1, *space(x)), torch.nan, dtype=coarse.dtype, device=coarse.device)
        for x in inputs.tensors
    )
