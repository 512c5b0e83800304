"""The derivative along the straight way from a reference to the image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.explainers.gradient.checkpointing import Checkpoint, read_checkpoint
from regard.explainers.gradient.path import along_path, between, times_difference
from regard.explainers.knobs import whole
from regard.explainers.reference import compared_with, remainder, value_at

__all__ = ["IntegratedGradients"]


class IntegratedGradients(AbstractExplainer):
    """Difference to a reference times the mean derivative on the straight way from there.

    The map keeps its channels, (batch, channel, \\*space), in output units, and sums to f(x) - f(reference) up to the
    stated completeness error. Without a reference each case is compared with its own smallest value per channel (air,
    background). Several inputs move together.

    Parameters
    ----------
    network
        A network that gradients pass through.
    n_steps
        Nodes of the Gauss-Legendre rule; memory does not grow with them.
    checkpoint
        Parts of the network keep only their input and are run again when the gradient needs them: ``"auto"``, when
        memory runs out at one image; ``"always"``, ``"never"``. The map is the same. What is saved depends on the
        network: half for fifteen layers of one size, nothing where the first layer alone holds most of it.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If ``n_steps`` is below 1.
    CapabilityError
        If parts are to be run again and the network has none.

    Notes
    -----
    Sundararajan, Taly and Yan 2017 (arXiv 1703.01365), eq. 1.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    takes_reference = True
    without_space = "a part for each feature with a reference, NaN without one"

    def __init__(
        self, network: Network, *, n_steps: int = 50, checkpoint: Checkpoint = "auto", form: Form = "signed"
    ) -> None:
        super().__init__(network, form=form)
        self.n_steps = whole("n_steps", n_steps)
        self.checkpoint = read_checkpoint(checkpoint)

    def removal(self, query: Query) -> Removal:
        return compared_with(query).tensors, None

    def _attribute(self, query: Query) -> Attribution:
        nodes, weights = np.polynomial.legendre.leggauss(self.n_steps)
        shares, weights = (nodes + 1) / 2, weights / 2
        compared = compared_with(query)
        reference = compared.tensors

        def place(step: int) -> list[Tensor]:
            share = float(shares[step])
            return [between(r, x, share) for r, x in zip(reference, query.inputs.tensors, strict=True)]

        def add(step: int, totals: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
            for total, gradient in zip(totals, gradients, strict=True):
                total.add_(gradient, alpha=float(weights[step]))

        with torch.no_grad():
            value = query.score([x.clone() for x in query.inputs.tensors]).detach()
        at_reference = value_at(query, reference)
        maps = along_path(query, self.n_steps, place, add, "integrated gradients", self.checkpoint)
        for total, r, x in zip(maps, reference, query.inputs.tensors, strict=True):
            times_difference(total, r, x)
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            notes={"reference": compared.words},
        )
        return compared.told(found)
