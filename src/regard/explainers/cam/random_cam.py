"""Activations with random channel weights: the control of every class activation map."""

from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.randomness import uniform
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded

__all__ = ["RandomCAM"]

_DRAWN = "the weights are drawn, the output is not asked: that is the control"


class RandomCAM(AbstractCAM):
    """Sum over channels of a random weight times activation.

    What a class activation map shows by its layer alone; a map that does no better says nothing of the output. The
    draws are keyed by seed and case: they differ by nothing else.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Weights uniform in (-1, 1), as Hroub et al., Computers in Biology and Medicine 2024, compare it. The published form
    keeps what is positive.
    """

    quantity = Quantity.SCORE
    sign = Sign.UNSIGNED
    compared_with = "nothing: random weights"
    breaks = {**A_SCORE, Promise.CONSTANT: _DRAWN, Promise.SCALE: _DRAWN}

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        activations = recorded.activations
        drawn = uniform((activations.shape[1],), query.seed, query.case, "channel weights")
        return weighted_sum((2 * drawn - 1).to(activations)[None], activations)
