"""Activations weighted by what the output is when only their places are let through."""

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.explainer import Form, Query
from regard.core.quantity import Quantity, Sign
from regard.core.recording import LayerLike, Network
from regard.core.spatial import blur, interpolate, space, space_axes
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded, Reshape, in_batches

__all__ = ["ScoreCAM"]


class ScoreCAM(AbstractCAM):
    """Sum over channels of activation times the rise of the output when the channel's places are shown.

    The input is blurred, and shown as it is where the channel is active: the weight is f(shown in part) - f(blurred),
    in output units. Channels that are the same at all places are skipped. Channels are streamed: memory does not grow
    with their number.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.
    filler_width
        Width of the blur (standard deviation) as a share of the input's size along each axis.

    Notes
    -----
    Wang et al., CVPR Workshops 2020 (arXiv 1910.01279), equations 4 to 8 and algorithm 1. The published form multiplies
    the input by the channel's map scaled to 0 to 1, takes the softmax over channels of the outputs as weights, and
    keeps what is positive of the sum.

    Raises
    ------
    InputError
        If the width is not positive.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    cases_together = False
    compared_with = "the input blurred"
    breaks = A_SCORE

    def __init__(
        self,
        network: Network,
        layer: LayerLike = None,
        *,
        filler_width: float = 0.1,
        form: Form = "signed",
        reshape: Reshape | str | None = None,
    ) -> None:
        super().__init__(network, layer, form=form, reshape=reshape)
        if not filler_width > 0:
            raise InputError(f"filler_width={filler_width}", "a positive share of the input's size, such as 0.1")
        self.filler_width = filler_width

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        activations = recorded.activations
        axes = space_axes(activations)
        low, high = activations.amin(axes)[0], activations.amax(axes)[0]
        channels = (high > low).nonzero()[:, 0]
        if not len(channels):
            return torch.zeros_like(activations[:, :1])
        shown_to = zip(query.inputs.tensors, recorded.reaches, strict=True)
        fillers = [self._filler(x) if reached and recorded.fits(x) else x for x, reached in shown_to]

        def shown(items: range) -> Tensor:
            chosen = activations[:, channels[items.start : items.stop]].transpose(0, 1)
            pairs = zip(query.inputs.tensors, fillers, strict=True)
            return query.score([_show(x, filler, chosen, recorded) for x, filler in pairs]).to(activations)

        scores = in_batches(query, len(channels), shown, "score-cam")
        if self.form == "published":
            weights = scores.softmax(0)
        else:
            with torch.no_grad():
                weights = scores - query.score([filler.clone() for filler in fillers]).to(activations)
        return weighted_sum(weights[None], activations[:, channels])

    def _filler(self, x: Tensor) -> Tensor:
        """What stands where a channel is not active."""
        if self.form == "published":
            return torch.zeros_like(x)
        return blur(x, [self.filler_width * n for n in space(x)])


def _show(x: Tensor, filler: Tensor, channels: Tensor, recorded: Recorded) -> Tensor:
    """The input (1, channel, \\*space) shown where each of ``channels`` (n, 1, \\*space) is active, n cases."""
    if filler is x:
        return x.expand(channels.shape[0], *x.shape[1:]).clone()
    masks = recorded.onto(channels, x, interpolate)
    axes = tuple(range(1, masks.ndim))
    low, high = masks.amin(axes, keepdim=True), masks.amax(axes, keepdim=True)
    masks = ((masks - low) / (high - low).clamp_min(torch.finfo(masks.dtype).tiny)).to(x)
    return filler + masks * (x - filler)
