"""Grad-CAM for networks that measure: what lowers the output is kept."""

from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import space_axes
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded

__all__ = ["GradRAM"]


class GradRAM(AbstractCAM):
    """Gradient-weighted regression activation map: sum over channels of mean gradient times activation.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Kang et al. 2023, bone mineral density from CT: abs(sum_k alpha_k A_k) with alpha_k the mean over all places of
    dy/dA_k. The published form takes the absolute value, so that raising and lowering look the same; the signed one
    does not.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.UNSIGNED)
    breaks = A_SCORE

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        weights = recorded.gradients.mean(space_axes(recorded.gradients))
        return weighted_sum(weights, recorded.activations)

    def _published(self, coarse: Tensor) -> Tensor:
        return coarse.abs()
