"""Positive gradient times activation, place by place."""

import logging

from torch import Tensor
from torch.nn import functional

from regard.core.explainer import Query
from regard.core.quantity import Quantity, Sign
from regard.explainers.cam.base import A_SCORE, AbstractCAM
from regard.explainers.cam.recorded import Recorded

__all__ = ["LayerCAM"]

logger = logging.getLogger(__name__)


class LayerCAM(AbstractCAM):
    """Sum over channels of positive gradient times activation.

    The method leaves negative gradients out by definition, in both forms: the share of gradient times activation that
    is lost with them is stated in `notes` as ``left_out``. HiResCAM keeps both sides.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.

    Notes
    -----
    Jiang et al., IEEE Transactions on Image Processing 2021, equations 5 to 7: sum_k relu(dy/dA_k) * A_k, element by
    element; the published form keeps what is positive of the sum.
    """

    quantity = Quantity.SCORE
    sign = Sign.RAISED
    breaks = A_SCORE

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        return (functional.relu(recorded.gradients) * recorded.activations).sum(1, keepdim=True)

    def _notes(self, query: Query, recorded: Recorded) -> dict[str, object]:
        products = (recorded.gradients * recorded.activations).abs().flatten(1)
        lost = (products * (recorded.gradients.flatten(1) < 0)).sum(1)
        total = products.sum(1)
        shares = [float(part / whole) if whole > 0 else 0.0 for part, whole in zip(lost, total, strict=True)]
        if max(shares) == 1:
            logger.warning(
                "LayerCAM: every gradient at '%s' is negative, and the method keeps positive ones only: the map is 0; "
                "choose hires-cam or grad-ram, which keep both",
                recorded.name,
            )
        return {"left_out": shares[0] if len(shares) == 1 else shares}
