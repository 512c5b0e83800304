"""Attention times its gradient, the positive part, accumulated through the blocks of a transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core.quantity import Promise
from regard.explainers.attention.base import AbstractRollout

__all__ = ["GradientRollout"]


class GradientRollout(AbstractRollout):
    """Attention weighted by how it raises the target: R <- R + E_h[(dy/dP * P)^+] R, from R = I.

    The map is R of the tokens that the output reads, without the identity that each token starts with. It is evidence
    for the target only: what lowers the output is stopped in every block. For evidence against it, explain the negative
    of the target, a function of the output.

    Notes
    -----
    Chefer, Gur and Wolf 2021, ICCV (arXiv 2103.15679), eqs. 5 and 6 for self-attention.
    """

    breaks = {
        Promise.COMPLETE: "products of positive parts, not shares of the output",
        Promise.SCALE: "a product over blocks holds powers of the gradient",
        Promise.SEVERAL_INPUTS: "tokens are patches of one image; of several none can be told from the others",
    }

    def _rolled(self, probabilities: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        identity = torch.eye(probabilities[0].shape[-1], dtype=torch.float64, device=probabilities[0].device)
        rolled = identity
        for heads, slopes in zip(probabilities, gradients, strict=True):
            rolled = rolled + (slopes * heads).clamp(min=0).mean(0) @ rolled
        return rolled - identity
