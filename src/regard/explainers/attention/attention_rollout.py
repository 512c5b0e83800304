"""Attention multiplied through the blocks of a transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core.quantity import Promise
from regard.explainers.attention.base import AbstractRollout

__all__ = ["AttentionRollout"]


class AttentionRollout(AbstractRollout):
    """Mean attention over the heads, half of it kept where it was, multiplied through the blocks.

    R = A_L ... A_2 A_1 with A_l = 0.5 E_h[P_l] + 0.5 I: how much of each patch is mixed into what the output reads, if
    values and the other layers only pass it on. It does not know the target, nor which mixing mattered: read it as
    what could have been used. ``gradient-rollout`` knows the target.

    Notes
    -----
    Abnar and Zuidema 2020 (arXiv 2005.00928), eq. 1 and section 3.
    """

    breaks = {
        Promise.COMPLETE: "shares of attention, not of the output",
        Promise.CONSTANT: "attention goes on whatever the output does with it",
        Promise.SCALE: "attention does not know the output's size",
        Promise.SEVERAL_INPUTS: "tokens are patches of one image; of several none can be told from the others",
    }

    def _rolled(self, probabilities: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        identity = torch.eye(probabilities[0].shape[-1], dtype=torch.float64, device=probabilities[0].device)
        rolled = identity
        for heads in probabilities:
            rolled = (0.5 * heads.mean(0) + 0.5 * identity) @ rolled
        return rolled
