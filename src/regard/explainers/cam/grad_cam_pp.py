"""Grad-CAM with a weight for each place of the gradient."""

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.explainer import Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.spatial import space_axes
from regard.explainers.cam.base import A_SCORE, AbstractCAM, weighted_sum
from regard.explainers.cam.recorded import Recorded

__all__ = ["GradCAMPlusPlus"]


class GradCAMPlusPlus(AbstractCAM):
    """Sum over channels of activation times a weight in which each place's gradient counts by a factor of its own.

    The signed form is the paper's map of the target less the paper's map of its negative, both before the last ReLU: a
    place's gradient g counts by 1 / (2 + abs(g) sum abs(A)) whether it raises or lowers. For activations that are not
    negative, its raising half is the paper's; with abs(A) there is no pole when they are.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Chattopadhay et al., WACV 2018 (arXiv 1710.11063), equations 10 and 19: w_k = sum alpha_k relu(dY/dA_k) with
    alpha_k = g^2 / (2 g^2 + sum(A_k) g^3) = 1 / (2 + g sum(A_k)), g = dS/dA_k and Y = exp(S). The factor exp(S) is the
    same at every place of a case; it is left out, as it overflows for outputs such as an age of 700 months.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    breaks = {
        **A_SCORE,
        Promise.SCALE: "the paper's factors hold the square and the cube of the gradient, which scale differently",
    }

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        gradients, activations = recorded.gradients, recorded.activations
        axes = space_axes(activations)
        if self.form == "published":
            gradients = functional.relu(gradients)
            totals = activations.sum(axes, keepdim=True)
        else:
            totals = activations.abs().sum(axes, keepdim=True)
        factors = 2 + gradients.abs() * totals
        share = torch.where(factors == 0, 0, 1 / factors)
        return weighted_sum((share * gradients).sum(axes), activations)
