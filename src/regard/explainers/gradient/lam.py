"""The derivative along a way of less and less blur: which detail an output image is made from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import blur
from regard.explainers.gradient.path import along_path
from regard.explainers.knobs import real, whole
from regard.explainers.reference import Compared, remainder, value_at

__all__ = ["LAM"]


class LAM(AbstractExplainer):
    """Local attribution map: change of each voxel times the derivative, on the way from the blurred image to the image.

    The map keeps its channels, (batch, channel, \\*space), in output units, and sums to f(x) - f(blurred x) up to the
    stated completeness error. The way starts at the image's own blur, so that only structure counts, not brightness; it
    cannot start elsewhere. Made for a region or a place of an output image, it takes any target.

    Parameters
    ----------
    network
        A network that gradients pass through.
    sigma
        Width of the blur at the start, in voxels.
    n_steps
        Steps on the way; memory does not grow with them.
    form
        ``"published"`` is the absolute value, summed over the channels.

    Raises
    ------
    InputError
        If ``sigma`` is not positive or ``n_steps`` is below 1.

    Notes
    -----
    Gu and Dong 2021 (arXiv 2011.11036), eqs. 5 to 8: x(a) is the image blurred by sigma (1 - a). The derivative is
    taken in the middle of each step. Their target, the sum of the output's gradient magnitude over a window, is
    `regard.EdgeStrength`. Defaults are ours.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.UNSIGNED)
    without_space = "NaN: it has nothing to blur, and another reference cannot be given"

    def __init__(self, network: Network, *, sigma: float = 4.0, n_steps: int = 50, form: Form = "signed") -> None:
        super().__init__(network, form=form)
        self.sigma = real("sigma", sigma, 0)
        self.n_steps = whole("n_steps", n_steps)

    def removal(self, query: Query) -> Removal:
        return tuple(blur(x.double(), self.sigma).to(x) for x in query.inputs.tensors), None

    def _attribute(self, query: Query) -> Attribution:
        exact = [x.double() for x in query.inputs.tensors]

        def at(share: float) -> list[Tensor]:
            return [blur(x, self.sigma * (1 - share)) for x in exact]

        def place(step: int) -> list[Tensor]:
            return [p.to(x) for p, x in zip(at((step + 0.5) / self.n_steps), query.inputs.tensors, strict=True)]

        def add(step: int, totals: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
            before, after = at(step / self.n_steps), at((step + 1) / self.n_steps)
            for total, a, b, gradient in zip(totals, before, after, gradients, strict=True):
                total += (b - a) * gradient.double()

        with torch.no_grad():
            value = query.score([x.clone() for x in query.inputs.tensors]).detach()
        blurred = tuple(b.to(x) for b, x in zip(at(0), query.inputs.tensors, strict=True))
        at_reference = value_at(query, blurred)
        words = f"the image blurred by {self.sigma:g} voxels"
        maps = along_path(query, self.n_steps, place, add, "lam")
        error = remainder(maps, value, at_reference)
        if self.form == "published":
            maps = tuple(m.abs().sum(1, keepdim=True) for m in maps)
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=error,
            notes={"reference": words},
        )
        given = (False,) * len(blurred)
        return Compared(query.inputs, blurred, words, given, takes_reference=False).told(found)
