"""Relevance passed back from the output, divided in every layer among what made it."""

from typing import Any

import torch
from torch import nn

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, no_gradient
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.explainers.knobs import real
from regard.explainers.propagation.graph import refuse_unknown
from regard.explainers.propagation.mode import RelevanceMode
from regard.explainers.propagation.rules import Rule
from regard.explainers.reference import remainder

__all__ = ["LRP"]

_RULES: tuple[Rule, ...] = ("epsilon", "gamma", "zplus", "0")


class LRP(AbstractExplainer):
    """Layer-wise relevance propagation: f(x) is divided among the inputs of each layer, from the output to the image.

    The map keeps its channels, (batch, channel, \\*space), in output units. It sums to f(x), less what biases and
    epsilon take (and the softmax of attention, whose rule keeps only differences): that is stated. Rules:

    - Convolutions (also transposed) and linear layers: ``rule``. Batch norm with stored statistics is a linear layer of
      its own, whose shift is a bias.
    - Layer, group, instance and RMS norms, and whatever else is divided by what depends on the input: the divisor stays
      as it is.
    - Attention: softmax by its Taylor rule, a product of two activations gives half to each (AttnLRP).
    - Elementwise activations pass relevance on whole; of a signal times a sigmoid the signal takes all.
    - Sums and means in proportion, max pooling to the winner.

    What has no rule is refused by name. It works on calls, not on modules: functional and reused layers count as any.
    With ``rule=0`` it is gradient x input on a network of ReLUs. With ``gamma`` and ``zplus``, whose parts do not add
    up to a layer's output, a constant added to the output changes the map: they are made for classifiers.

    Parameters
    ----------
    network
        A network in PyTorch that gradients pass through.
    rule
        Of layers with weights: ``"epsilon"``, ``"gamma"`` (parts with the sign of the output weigh more), ``"zplus"``
        (positive parts only) or ``"0"``.
    epsilon
        What weakens small sums, as a share of the root mean square of a layer's output.
    gamma
        How much more parts with the sign of the output weigh.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If a knob is out of its range.
    CapabilityError
        If an operation of the network has no rule.

    Notes
    -----
    Bach et al. 2015, PLoS ONE 10(7):e0130140; Montavon et al. 2019, LNCS 11700, chapter 10; for attention and norms
    Achtibat et al. 2024 (arXiv 2402.05602), eqs. 10 to 15; for gates Arras et al. 2017 (arXiv 1706.07206), eq. 5.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    without_space = "a share of f(x) for each feature"

    def __init__(
        self,
        network: Network,
        *,
        rule: Rule | int = "epsilon",
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        named = str(rule)
        if named not in _RULES or isinstance(rule, bool):
            raise InputError(f"rule={rule!r}", f"one of {', '.join(_RULES)}", "choose one")
        self.rule: Rule = next(r for r in _RULES if r == named)
        self.epsilon = real("epsilon", epsilon, 0, open_low=False)
        self.gamma = real("gamma", gamma, 0, open_low=False)

    def _attribute(self, query: Query) -> Attribution:
        _readable(query.network)
        inputs = query.inputs.tensors
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        with RelevanceMode(self.rule, self.epsilon, self.gamma) as mode:
            value = query.score([leaf.clone() for leaf in leaves])
        if not value.requires_grad:
            raise no_gradient(query.network, "the input")
        refuse_unknown(value, mode.n_products)
        try:
            signals = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        except torch.utils.checkpoint.CheckpointError as error:
            raise CapabilityError(
                f"parts of {type(query.network).__name__} that run again for a gradient (checkpointing)",
                "a network that runs once",
                "switch checkpointing off, or choose integrated-gradients",
            ) from error
        maps = tuple(
            torch.zeros_like(x, dtype=torch.float64) if s is None else x.double() * s.double()
            for x, s in zip(inputs, signals, strict=True)
        )
        value = value.detach()
        nothing = torch.zeros_like(value)
        left = remainder(maps, value, nothing)
        notes: dict[str, Any] = {
            "reference": "no input: relevance is a share of f(x) itself",
            "absorbed": -float(left[0]),
            "absorbed_by": "biases, epsilon and the softmax of attention",
        }
        if float(value[0]) != 0:
            notes["absorbed_share"] = -float(left[0]) / float(value[0])
        return Attribution(maps, value, reference_value=nothing, completeness_error=left, notes=notes)


def _readable(network: Network) -> None:
    """Refuse what hides its calls."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    if isinstance(network, torch.jit.ScriptModule) or any(isinstance(m, torch.jit.ScriptModule) for m in modules):
        raise CapabilityError(
            f"a scripted part of {type(network).__name__}, whose calls cannot be seen",
            "a network in plain PyTorch",
            "choose integrated-gradients",
        )
