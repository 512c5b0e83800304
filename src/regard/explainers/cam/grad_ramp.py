"""Gradient times activation place by place, for networks that measure: parts of the output."""

from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.explainers.cam.base import ONE_MAP, AbstractCAM
from regard.explainers.cam.recorded import Recorded

__all__ = ["GradRAMP"]


class GradRAMP(AbstractCAM):
    """Regression activation map by place: sum over channels of gradient times activation.

    For a tail that is piecewise linear in the layer, the signed map sums to the output less the tail's effective bias,
    which `notes` states as ``remainder``; for any other tail the remainder holds the curvature too.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Kang et al. 2023, bone mineral density from CT: abs(sum_k g_k * A_k) with g_k = dy/dA_k, place by place. The
    published form takes the absolute value of the coarse map, and is a score.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.UNSIGNED)
    breaks = ONE_MAP

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        return (recorded.gradients * recorded.activations).sum(1, keepdim=True)

    def _published(self, coarse: Tensor) -> Tensor:
        return coarse.abs()
