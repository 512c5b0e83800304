"""Activations weighted by what removing their channel does to the output."""

from torch import Tensor

from regard.core.errors import InputError
from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import expand_cases
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded, in_batches, open_tail

__all__ = ["AblationCAM"]


class AblationCAM(AbstractCAM):
    """Sum over channels of activation times the fall of the output when the channel is set to 0.

    One evaluation of the network's tail per channel; no gradient is used.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Desai and Ramaswamy, WACV 2020, equations 3 and 4: w_k = (y - y_k) / y, and ReLU of sum_k w_k A_k, which is the
    published form. The signed form leaves y - y_k in output units, as the output of a network that measures may be
    near 0.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    cases_together = False
    breaks = A_SCORE

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        activations = recorded.activations
        with open_tail(query, recorded) as evaluate:

            def without(channels: range) -> Tensor:
                changed = activations.repeat(len(channels), *[1] * (activations.ndim - 1))
                changed[range(len(channels)), channels] = 0
                return query.value(evaluate(recorded.as_output(changed)), len(channels)).to(activations)

            values = in_batches(query, activations.shape[1], without, "ablation-cam")
        weights = (recorded.value.to(activations) - values)[None]
        if self.form == "published":
            if bool((recorded.value == 0).any()):
                raise InputError("an output of 0, which the published form divides by", "another", "use form=signed")
            weights = weights / expand_cases(recorded.value.to(activations), weights)
        return weighted_sum(weights, activations)
