"""Activations weighted by the mean gradient of their channel."""

from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import space_axes
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded

__all__ = ["GradCAM"]


class GradCAM(AbstractCAM):
    """Sum over channels of mean gradient times activation.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Selvaraju et al., ICCV 2017 (arXiv 1610.02391), equations 1 and 2: alpha_k is the mean over all places of dy/dA_k,
    the map sum_k alpha_k A_k; the published form keeps what is positive.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    breaks = A_SCORE

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        weights = recorded.gradients.mean(space_axes(recorded.gradients))
        return weighted_sum(weights, recorded.activations)
