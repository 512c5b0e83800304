"""DeepLIFT and Shapley values as captum computes them, checked for completeness after every call."""

import logging
import warnings
from typing import Any

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.batching import is_out_of_memory, may_be_the_batch
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.optional import need
from regard.core.quantity import Quantity, Sign
from regard.core.recording import GRADIENT, LAYERS, Network
from regard.explainers.captum_inside import TargetValue, followed, without_traces
from regard.explainers.knobs import real, whole
from regard.explainers.monte_carlo import RunningMean
from regard.explainers.perturbation.players import Parts, PartsLike
from regard.explainers.reference import compared_with, remainder, value_at

__all__ = ["DeepLIFT", "ShapleySampling", "checked"]

logger = logging.getLogger(__name__)

_SHARE_ALLOWED = 0.01


def checked(found: Attribution, name: str, *, why: str) -> Attribution:
    """Say so when the map does not add up."""
    error, reference_value = found.completeness_error, found.reference_value
    if error is None or reference_value is None:
        return found
    size = max(float(found.value.abs().max()), float(reference_value.abs().max()))
    allowed = _SHARE_ALLOWED * float((found.value - reference_value).abs().max())
    allowed += 8 * torch.finfo(found.value.dtype).eps * size
    off = float(error.abs().max())
    if not off <= allowed:
        found.notes["completeness"] = f"violated by {off:.3g}"
        logger.warning("%s: the map misses f(x) - f(reference) by %.3g, more than 1 %% of it; %s", name, off, why)
    return found


class DeepLIFT(AbstractExplainer):
    """Differences to a reference, propagated through the network's activations (rescale rule), by captum.

    The map keeps its channels, (batch, channel, \\*space), in output units. It should sum to f(x) - f(reference);
    captum's does not after some max pooling, or when an activation is a function instead of a module, or unknown to it.
    The sum is checked after every call, and a violation is warned of and noted. Without a reference each case is
    compared with its own smallest value per channel.

    Raises
    ------
    MissingDependencyError
        If captum is not installed.

    Notes
    -----
    Shrikumar, Greenside and Kundaje 2017 (arXiv 1704.02685), section 3.5.1.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    needs = frozenset({GRADIENT, LAYERS})
    takes_reference = True
    without_space = "a part for each feature with a reference, NaN without one"

    def __init__(self, network: Network, *, form: Form = "signed") -> None:
        super().__init__(network, form=form)
        self._captum: Any = need("captum.attr", extra="captum", purpose="deeplift")

    def _attribute(self, query: Query) -> Attribution:
        compared = compared_with(query)
        reference = compared.tensors
        with torch.no_grad():
            value = query.score([x.clone() for x in query.inputs.tensors]).detach()
        at_reference = value_at(query, reference)
        wrapped = TargetValue(query)
        inputs = tuple(x.detach().clone() for x in query.inputs.tensors)
        with without_traces(wrapped), followed(query, "DeepLIFT", "choose integrated-gradients"):
            maps = self._captum.DeepLift(wrapped).attribute(inputs, baselines=tuple(r.clone() for r in reference))
        maps = tuple(m.detach().double() for m in maps)
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            notes={"reference": compared.words},
        )
        return checked(
            compared.told(found),
            "deeplift",
            why="max pooling, or an activation that captum does not see or know, may be why",
        )


class ShapleySampling(AbstractExplainer):
    """Shapley values of parts over random orders, by captum, with their standard error.

    Parts are superpixels or supervoxels, blocks, or the regions of an atlas (what no label covers is one part of its
    own); each column of an input without space is a part. A part's value is spread evenly over its places, so that the
    map sums to f(x) - f(reference). All channels of an image belong together; parts of several inputs play together.
    Without a reference each case is compared with its own smallest value per channel.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    parts
        ``"supervoxels"``, ``"blocks"``, a file of labels such as an atlas, or labels (\\*space) for each image.
    n_segments
        Parts wanted of each image, where they are made.
    n_samples
        Orders at most; each costs one evaluation per segment.
    tolerance
        Stop when the median standard error is at most this share of the map's size (99th percentile of the absolute
        mean), looked at every 8 orders; None for all of them.
    compactness
        Weight of nearness against intensity when segments are cut.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If a knob is out of its range.
    MissingDependencyError
        If captum is not installed.

    Notes
    -----
    Castro, Gomez and Tejada 2009, Computers and Operations Research 36(5); captum's ``ShapleyValueSampling``, one order
    a call, so that each order is keyed by its number.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    needs = frozenset()
    takes_reference = True
    without_space = "a part for each feature with a reference, NaN without one"

    def __init__(
        self,
        network: Network,
        *,
        parts: PartsLike = "supervoxels",
        n_segments: int = 50,
        n_samples: int = 25,
        tolerance: float | None = 0.05,
        compactness: float = 0.1,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.n_segments = whole("n_segments", n_segments)
        self.n_samples = whole("n_samples", n_samples)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)
        self.compactness = real("compactness", compactness, 0)
        self._parts = Parts(parts, self.n_segments, self.compactness)
        self.parts = self._parts.name
        self._captum: Any = need("captum.attr", extra="captum", purpose="shapley")

    def _attribute(self, query: Query) -> Attribution:
        inputs = query.inputs.tensors
        compared = compared_with(query)
        reference = compared.tensors
        with torch.no_grad():
            value = query.score([x.clone() for x in inputs]).detach()
        at_reference = value_at(query, reference)
        players = self._parts.of(query.inputs)
        masks, n_segments = players.labels, players.n
        shares = players.maps(torch.ones(n_segments, dtype=torch.float64))
        method = self._captum.ShapleyValueSampling(lambda *tensors: query.score([x.clone() for x in tensors]))
        running = RunningMean()
        at_once = query.items_at_once(n_segments)

        def in_one_order(key: int) -> tuple[Tensor, ...]:
            nonlocal at_once
            torch.manual_seed(key)
            try:
                return played(at_once)
            except (RuntimeError, AssertionError, ValueError) as error:
                if at_once == 1 or is_out_of_memory(error) or not may_be_the_batch(error):
                    raise
                at_once = 1
                torch.manual_seed(key)
                values = played(1)
                logger.info("shapley: the network takes no batch of several; going on one by one")
                return values

        def played(parts_at_once: int) -> tuple[Tensor, ...]:
            return method.attribute(  # type: ignore[no-any-return]
                tuple(inputs),
                baselines=tuple(r.clone() for r in reference),
                feature_mask=tuple(masks),
                n_samples=1,
                perturbations_per_eval=parts_at_once,
            )

        def evaluate(items: range) -> list[tuple[Tensor, ...]]:
            found = []
            for order in items:
                key = randomness.generator(query.seed, query.case, order).initial_seed()
                with warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")
                    values = in_one_order(key)
                found.append(tuple(v[:, : s.shape[1]].double() * s for v, s in zip(values, shares, strict=True)))
            return found

        def add(items: range, found: list[tuple[Tensor, ...]]) -> bool:
            for maps in found:
                running.add(maps)
                if running.enough(self.tolerance):
                    return True
            return False

        batching.run(evaluate, self.n_samples, add, batch_size=1, label="shapley")
        maps = running.means
        attribution = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            standard_error=tuple(e.float() for e in running.standard_errors()),
            notes={"reference": compared.words, "n_samples_used": running.n, "n_segments_used": n_segments},
        )
        return checked(
            compared.told(attribution), "shapley", why="the network may not give the same output for the same input"
        )
