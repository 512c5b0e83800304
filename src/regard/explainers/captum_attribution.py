"""Any attribution of captum as a method of Regard: any target, completeness checked, the network left as it was."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.core import randomness
from regard.core.errors import InputError, ReferenceInputError, ShapeError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import interpolate, n_space, space, spread
from regard.explainers.captum_inside import TargetValue, followed, without_traces
from regard.explainers.from_captum import checked
from regard.explainers.reference import compared_with, remainder, value_at

__all__ = ["CaptumAttribution"]

_ZERO = "zeros, captum's own"


class CaptumAttribution(AbstractExplainer):
    """What an attribution of captum says, as a method of Regard.

    captum is asked about the target's value, one number per case, so that every target of Regard works: a place, a mean
    over a region, an error. What it says is believed only as far as ``quantity`` and ``sign`` state; for a
    contribution its sum is checked against f(x) - f(reference), and a violation is warned of and noted. Maps of a
    layer are brought to the input's grid: contributions spread, everything else interpolated.

    Parameters
    ----------
    network
        A network that the attribution can follow.
    method
        A class of ``captum.attr``, or a function that takes a module (images in, one number per case out) and returns
        an object with ``attribute``, such as ``lambda f: LayerGradCam(f, network.layer4)``.
    quantity, sign
        What the numbers are and how their sign reads: captum does not say.
    options
        Further arguments of its ``attribute``, such as ``{"n_steps": 20}``; neither inputs nor target nor baselines.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If ``method`` cannot be called, or an option is not the attribution's to take.

    Notes
    -----
    Without a reference captum compares with zeros. What it draws at random is keyed by seed and case.

    Examples
    --------
    >>> from captum.attr import GradientShap                                   # doctest: +SKIP
    >>> explainer = CaptumAttribution(network, GradientShap, quantity="contribution", options={"n_samples": 20})
    """

    sign = Sign.RAISED
    takes_reference = True

    def __init__(
        self,
        network: Network,
        method: Callable[[nn.Module], Any],
        *,
        quantity: Quantity | str = Quantity.SCORE,
        sign: Sign | str = Sign.RAISED,
        options: Mapping[str, Any] | None = None,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        if not callable(method):
            raise InputError(f"a method of type {type(method).__name__}", "a class of captum.attr, or a function")
        reserved = {"inputs", "target", "baselines", "additional_forward_args"} & set(options or {})
        if reserved:
            raise InputError(f"the option '{min(reserved)}'", "options of the method's own", "give it to `attribute`")
        self._meaning = (Quantity(quantity), Sign(sign))
        self._method, self._options = method, dict(options or {})
        self.captum = getattr(method, "__name__", type(method).__name__)
        self.options = dict(self._options)

    @property
    def meaning(self) -> tuple[Quantity, Sign]:
        return self._meaning

    def _attribute(self, query: Query) -> Attribution:
        inputs = query.inputs.tensors
        with torch.no_grad():
            value = query.score([x.clone() for x in inputs]).detach()
        wrapped = TargetValue(query)
        key = randomness.generator(query.seed, query.case, f"captum/{self.captum}").initial_seed()
        told = followed(query, self.captum, "choose a method of Regard, such as integrated-gradients or occlusion")
        with without_traces(wrapped), _drawing(key), told:
            attribution = self._method(wrapped)
            takes = inspect.signature(attribution.attribute).parameters
            arguments = self._arguments(takes, query)
            found = attribution.attribute(tuple(x.detach().clone() for x in inputs), **arguments)
        maps = tuple(
            _on_grid(m.detach().double(), x, self.meaning[0])
            for m, x in zip(found if isinstance(found, tuple) else (found,), inputs, strict=True)
        )
        if not ("baselines" in takes and self.meaning[0].sums):
            return Attribution(maps, value)
        compared = compared_with(query, [torch.zeros_like(x) for x in inputs], _ZERO)
        reference = compared.tensors
        at_reference = value_at(query, reference)
        error = remainder(maps, value, at_reference)
        return checked(
            compared.told(Attribution(maps, value, at_reference, error, notes={"reference": compared.words})),
            self.captum,
            why="captum may not see or know one of the network's operations",
        )

    def _arguments(self, takes: Mapping[str, Any], query: Query) -> dict[str, Any]:
        unknown = sorted(set(self._options) - set(takes))
        if unknown:
            raise InputError(f"the option '{unknown[0]}' of {self.captum}", f"one of {', '.join(takes)}", "correct it")
        if query.reference is None:
            return dict(self._options)
        if "baselines" not in takes:
            raise ReferenceInputError(
                f"a reference for {self.captum}, which cannot compare with one", "none", "choose another method"
            )
        compared = compared_with(query, [torch.zeros_like(x) for x in query.inputs.tensors], _ZERO)
        return {**self._options, "baselines": tuple(r.clone() for r in compared.tensors)}


@contextmanager
def _drawing(key: int) -> Iterator[None]:
    """Draw from ``key``: captum takes random numbers from torch and, for mixing baselines, from NumPy."""
    before = np.random.get_state()  # noqa: NPY002
    torch.manual_seed(key)
    np.random.seed(key % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _on_grid(relevance: Tensor, x: Tensor, quantity: Quantity) -> Tensor:
    """A map (batch, channel, \\*grid) on the grid of ``x``."""
    if n_space(relevance) != n_space(x) or relevance.shape[0] != x.shape[0]:
        raise ShapeError(f"an attribution of shape {tuple(relevance.shape)}", f"one for inputs of {tuple(x.shape)}")
    if space(relevance) == space(x):
        return relevance
    return spread(relevance, space(x)) if quantity.sums else interpolate(relevance, space(x))
