"""How a layer divides relevance among its inputs, as a factor on the signal that passes back.

Relevance R of a number z is z times the signal s that comes back to it (at the output s = 1). A rule that divides
R_j among the inputs of z_j in the parts c_ij / sum_i c_ij, with c linear in the input, is then the derivative of the
c of that layer, times z_j / sum_i c_ij: no division by an input, and what passes back through everything that is
linear, or picks a winner, is its plain derivative.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Linear", "Rule", "divide", "halve", "pass_back", "pass_whole", "stabilised"]

Rule: TypeAlias = Literal["epsilon", "gamma", "zplus", "0"]

Linear: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(input, weight, bias or None) -> output, linear in the first and in the weight."""


class _PassBack(torch.autograd.Function):
    """Give ``value``; pass back to ``carrier`` the signal times ``factor``."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, value: Tensor, factor: Tensor | None) -> Tensor:
        ctx.save_for_backward(*([] if factor is None else [factor]))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        signal = signals[0]
        for factor in ctx.saved_tensors:
            signal = signal * factor
        return signal, None, None


class _Gate(_PassBack):
    """The same, under a name that tells a gate."""


def pass_back(carrier: Tensor, value: Tensor, factor: Tensor | None, *, gate: bool = False) -> Tensor:
    """``value``, whose signal goes back to ``carrier`` times ``factor`` (None for 1)."""
    function = _Gate if gate else _PassBack
    made: Tensor = function.apply(carrier, value.detach(), factor)
    return made


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Above / below in single precision at least, 0 where below is 0."""
    wide = torch.promote_types(above.dtype, torch.float32)
    above, below = above.to(wide), below.to(wide)
    return torch.where(below == 0, 0.0, above / torch.where(below == 0, 1.0, below))


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """Z + epsilon rms(z) sign(z), with sign(0) = 1: epsilon is a share of the layer's size, so that no unit matters."""
    if epsilon == 0:
        return z
    size = z.double().square().mean().sqrt().to(z)
    return z + epsilon * size * torch.where(z < 0, -1.0, 1.0).to(z)


def pass_whole(x: Tensor, value: Tensor, *, gate: bool = False) -> Tensor:
    """Identity rule for an elementwise function: its input gets all the relevance of ``value``, R_x = R_value."""
    return pass_back(x, value, _ratio(value.detach(), x.detach()).to(value), gate=gate)


def halve(product: Tensor, epsilon: float) -> Tensor:
    """Each factor of a product z gets half of its relevance: z / (2 z + epsilon).

    Notes
    -----
    Achtibat et al. 2024 (arXiv 2402.05602), eq. 15.
    """
    z = product.detach()
    return pass_back(product, z, _ratio(z, stabilised(2 * z, epsilon)).to(z) if epsilon else torch.full_like(z, 0.5))


def divide(run: Linear, x: Tensor, weight: Tensor, bias: Tensor | None, rule: Rule, eps: float, gamma: float) -> Tensor:
    """The output of a linear layer, whose relevance goes back to ``x`` by a rule.

    Parameters
    ----------
    run
        The layer.
    x, weight, bias
        What it is run on; only ``x`` takes relevance.
    rule
        ``"0"``: in the parts x w. ``"epsilon"``: the same, less what epsilon takes. ``"gamma"``: parts with the sign of
        the output weigh 1 + gamma. ``"zplus"``: positive parts only, the bias left out.
    eps, gamma
        Settings of the rules.

    Notes
    -----
    Bach et al. 2015, PLoS ONE 10(7), eqs. 56 and 58 (0 and epsilon); Montavon et al. 2017, Pattern Recognition 65
    (z+); Montavon et al. 2019, in Explainable AI, LNCS 11700, ch. 10 (gamma), here for inputs and outputs of either
    sign.
    """
    z = run(x, weight, bias)
    if rule == "0" or (rule == "epsilon" and eps == 0):
        return z
    if rule == "epsilon":
        return pass_back(z, z, _ratio(z.detach(), stabilised(z.detach(), eps)).to(z))
    raised, lowered = weight.clamp(min=0), weight.clamp(max=0)
    positive, negative = x.clamp(min=0), x.clamp(max=0)
    one_sided = bool((x >= 0).all())

    def parts(for_positive: Tensor, for_negative: Tensor, shift: Tensor | None) -> Tensor:
        made = run(positive, for_positive, shift)
        return made if one_sided else made + run(negative, for_negative, None)

    if rule == "zplus":
        carrier = parts(raised, lowered, None)
    else:
        more, less = weight + gamma * raised, weight + gamma * lowered
        up = None if bias is None else bias + gamma * bias.clamp(min=0)
        down = None if bias is None else bias + gamma * bias.clamp(max=0)
        carrier = torch.where(z.detach() > 0, parts(more, less, up), parts(less, more, down))
    return pass_back(carrier, z, _ratio(z.detach(), stabilised(carrier.detach(), eps)).to(z))
