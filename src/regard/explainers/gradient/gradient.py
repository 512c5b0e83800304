"""The derivative of the output with respect to each voxel."""

from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.quantity import Promise, Quantity, Sign

__all__ = ["Gradient"]


class Gradient(AbstractExplainer):
    """Derivative of the target with respect to each intensity.

    The map keeps its channels, (batch, channel, \\*space), in output units per unit of intensity.

    Notes
    -----
    Simonyan, Vedaldi and Zisserman 2014 (arXiv 1312.6034), section 3; the published form is the largest absolute value
    over the channels.
    """

    quantity = Quantity.SENSITIVITY
    sign = Sign.RAISES
    published_meaning = (Quantity.SENSITIVITY, Sign.UNSIGNED)
    cases_together = True
    without_space = "a derivative for each feature"
    begins_with_gradient = True
    breaks = {Promise.COMPLETE: "a slope at one point, not a share of the output"}

    def _attribute(self, query: Query) -> Attribution:
        value, gradients = query.gradient(query.inputs.tensors)
        if self.form == "published":
            gradients = tuple(g.abs().amax(1, keepdim=True) for g in gradients)
        return Attribution(gradients, value)
