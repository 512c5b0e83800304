"""Gradient times activation, place by place."""

from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.explainers.cam.base import ONE_MAP, AbstractCAM
from regard.explainers.cam.recorded import Recorded

__all__ = ["HiResCAM"]


class HiResCAM(AbstractCAM):
    """Sum over channels of gradient times activation, without averaging the gradient over places.

    For a tail that is piecewise linear in the layer, the signed map sums to the output less the tail's effective bias,
    which `notes` states as ``remainder``.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Draelos and Carin 2020 (arXiv 2011.08891), section 3.3: sum_k dy/dA_k * A_k, element by element. The published form
    keeps what is positive, and is a score.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.RAISED)
    breaks = ONE_MAP

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        return (recorded.gradients * recorded.activations).sum(1, keepdim=True)
