"""First principal component of gradient times activation."""

import torch
from torch import Tensor

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.explainers.cam.base import A_SCORE, AbstractCAM
from regard.explainers.cam.recorded import Recorded

__all__ = ["EigenGradCAM"]


class EigenGradCAM(AbstractCAM):
    """Each place's coordinate along the first principal component of gradient times activation.

    Places are the samples and channels the variables, centred on the mean place, so that the map's mean is 0. The
    component's direction is fixed by the gradient: the map correlates positively with sum_k dy/dA_k * A_k.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Eigen-CAM (Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299) on gradient times activation instead of the
    activations alone, as Hroub et al., Computers in Biology and Medicine 2024, compare it. The published form keeps
    what is positive. Computed in float64.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    compared_with = "the mean place of the layer"
    breaks = A_SCORE

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        products = (recorded.gradients * recorded.activations).double().flatten(2).mT
        centred = products - products.mean(1, keepdim=True)
        component = torch.linalg.svd(centred, full_matrices=False).Vh[:, 0]
        coordinates = torch.einsum("npk,nk->np", centred, component)
        agreement = torch.einsum("np,np->n", coordinates, centred.sum(2))
        coordinates = torch.where(agreement < 0, -1.0, 1.0)[:, None] * coordinates
        shape = recorded.activations.shape
        return coordinates.reshape(shape[0], 1, *shape[2:]).to(recorded.activations.dtype)
