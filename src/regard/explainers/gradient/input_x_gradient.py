"""The derivative times the difference to a reference: the first-order share of the output."""

import torch

from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.quantity import Quantity, Sign
from regard.explainers.reference import compared_with, remainder, value_at

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
    without_space = "a part for each feature; the reference is 0 unless one is given"
    cases_together = True
    begins_with_gradient = True

    def _attribute(self, query: Query) -> Attribution:
        zeros = [torch.zeros_like(x) for x in query.inputs.tensors]
        compared = compared_with(query, zeros, "0 in the network's input units")
        reference = compared.tensors
        value, gradients = query.gradient(query.inputs.tensors)
        maps = tuple(
            (x.double() - r.double()) * g.double()
            for x, r, g in zip(query.inputs.tensors, reference, gradients, strict=True)
        )
        at_reference = value_at(query, reference)
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            notes={"reference": compared.words},
        )
        return compared.told(found)
