"""The derivative times the difference to a reference: the first-order share of the output."""

import torch

from regard.core.explainer import AbstractExplainer, Attribution, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.explainers.reference import remainder, value_at

__all__ = ["InputXGradient"]


class InputXGradient(AbstractExplainer):
    """Difference to the reference times the derivative, voxel by voxel; the reference is 0 unless one is given.

    The map keeps its channels, (batch, channel, \\*space), in output units. It sums to f(x) - f(reference) for a linear
    network; for others the remainder is stated.

    Notes
    -----
    Shrikumar et al. 2016 (arXiv 1605.01713), eq. 2, with the reference made explicit.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    takes_reference = True
    cases_together = True
    begins_with_gradient = True

    def removal(self, query: Query) -> Removal:
        return query.reference or tuple(torch.zeros_like(x) for x in query.inputs.tensors), None

    def _attribute(self, query: Query) -> Attribution:
        given = query.reference is not None
        reference = self.removal(query)[0] or ()
        value, gradients = query.gradient(query.inputs.tensors)
        maps = tuple(
            (x.double() - r.double()) * g.double()
            for x, r, g in zip(query.inputs.tensors, reference, gradients, strict=True)
        )
        at_reference = value_at(query, reference)
        return Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            notes={"reference": "given" if given else "0 in the network's input units"},
        )
