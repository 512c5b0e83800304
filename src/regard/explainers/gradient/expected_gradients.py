"""The derivative along straight ways from many references to the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.errors import ReferenceInputError, ShapeError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.explainers.knobs import real, whole
from regard.explainers.monte_carlo import RunningMean
from regard.explainers.reference import compared_with, remainder

__all__ = ["ExpectedGradients"]


class ExpectedGradients(AbstractExplainer):
    """Integrated gradients averaged over references: (x - x') times the derivative on the way, both drawn at random.

    Each draw takes one of the references and one place on the straight way from it. The map keeps its channels,
    (batch, channel, \\*space), in output units, and sums to f(x) less the mean of f over the references, up to the
    stated remainder, which is Monte-Carlo error (its standard error is noted). Several inputs move together. References
    are cases of the same kind, such as other patients: ``--reference-cases TABLE``, ``regard.explain(...,
    reference_cases=...)``, or tensors.
    Without any, the one reference of other methods is used: the one given, or each case's own smallest value.

    Parameters
    ----------
    network
        A network that gradients pass through.
    references
        One tensor (n_references, channel, \\*space) per input; a bare tensor for one input.
    n_samples
        Draws at most.
    tolerance
        Stop when the median standard error is at most this share of the map's size (99th percentile of the absolute
        mean), looked at every 8 draws; None for all of them.
    form
        Both forms are the same.

    Raises
    ------
    ShapeError
        If the references do not fit the inputs.
    ReferenceInputError
        If references and a single reference are given.

    Notes
    -----
    Erion et al. 2021, Nature Machine Intelligence 3 (arXiv 1906.10670), eq. 3; Lundberg's GradientSHAP without its
    noise.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    takes_reference = True
    without_space = "a part for each feature with references, NaN without any"
    takes_reference_cases = True
    """Whether a table of references can be given."""

    def __init__(
        self,
        network: Network,
        *,
        references: Tensor | Sequence[Tensor] | None = None,
        n_samples: int = 200,
        tolerance: float | None = 0.05,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        if isinstance(references, str):
            raise ReferenceInputError(
                f"references={references}",
                "tensors",
                "give a table of cases with --reference-cases (reference_cases= in Python)",
            )
        self._references = (references,) if isinstance(references, Tensor) else references and tuple(references)
        self.n_references = len(self._references[0]) if self._references else 0
        self.n_samples = whole("n_samples", n_samples, 2)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)

    def removal(self, query: Query) -> Removal:
        if not self._references:
            return compared_with(query).tensors, None
        # Counted from the mean of f over the references, of which their mean is the nearest single image.
        return tuple(r.double().mean(0, keepdim=True).to(r) for r in self._given(query)), None

    def _attribute(self, query: Query) -> Attribution:
        inputs = [x.double() for x in query.inputs.tensors]
        query.of_the_case_alone()
        compared = None if self._references else compared_with(query)
        references = self._given(query) if compared is None else compared.tensors
        n_references = len(references[0])
        running, totals = RunningMean(), RunningMean()

        def evaluate(items: range) -> list[list[Tensor]]:
            positions: list[list[Tensor]] = [[] for _ in inputs]
            ways: list[list[Tensor]] = []
            for draw in items:
                which, share = randomness.uniform((2,), query.seed, query.case, draw).double().tolist()
                one = int(which * n_references)
                ways.append([x - r[one : one + 1].double() for x, r in zip(inputs, references, strict=True)])
                for position, x, way in zip(positions, inputs, ways[-1], strict=True):
                    position.append(x - (1 - share) * way)
            joined = [torch.cat(p).to(x) for p, x in zip(positions, query.inputs.tensors, strict=True)]
            _, gradients = query.gradient(joined)
            return [
                [way * g[n : n + 1].double() for way, g in zip(ways[n], gradients, strict=True)]
                for n in range(len(items))
            ]

        def add(items: range, products: list[list[Tensor]]) -> bool:
            for product in products:
                running.add(product)
                totals.add([torch.stack([p.sum() for p in product]).sum()])
                if running.enough(self.tolerance):
                    return True
            return False

        at_once = query.items_at_once(self.n_samples, backward=True)
        batching.run(evaluate, self.n_samples, add, batch_size=at_once, label="expected gradients")
        with torch.no_grad():
            value = query.score([x.clone() for x in query.inputs.tensors]).detach()
        at_references = _mean_value(query, references)
        found = Attribution(
            running.means,
            value,
            reference_value=at_references,
            completeness_error=remainder(running.means, value, at_references),
            standard_error=tuple(e.float() for e in running.standard_errors()),
            notes={
                "reference": f"the mean over {n_references} cases" if compared is None else compared.words,
                "n_samples_used": running.n,
                "completeness_standard_error": float(totals.standard_errors()[0]),
            },
        )
        return found if compared is None else compared.told(found)

    def _given(self, query: Query) -> tuple[Tensor, ...]:
        """The references (n, channel, \\*space) that were given for each input."""
        assert self._references
        if query.reference is not None:
            raise ReferenceInputError(
                f"a reference beside {self.n_references} references", "one or the other", "leave one out"
            )
        inputs = query.inputs.tensors
        shapes = [tuple(r.shape[1:]) for r in self._references]
        if shapes != [tuple(x.shape[1:]) for x in inputs] or len({len(r) for r in self._references}) > 1:
            raise ShapeError(
                f"references of {[tuple(r.shape) for r in self._references]}",
                f"as many for each input, each of {[tuple(x.shape[1:]) for x in inputs]}",
                "bring them to the inputs' grid",
            )
        return tuple(r.to(x) for r, x in zip(self._references, inputs, strict=True))


def _mean_value(query: Query, references: Sequence[Tensor]) -> Tensor:
    """Mean of the target's value over references, (1,)."""
    values: list[Tensor] = []

    @torch.no_grad()
    def evaluate(items: range) -> Tensor:
        return query.score([r[items.start : items.stop].clone() for r in references]).detach().double()

    n = len(references[0])
    batching.run(evaluate, n, lambda _, v: values.append(v), batch_size=query.items_at_once(n), label="references")
    return torch.cat(values).mean().reshape(1)
