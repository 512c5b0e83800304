"""A measure of Regard where Quantus expects a metric: model, arrays, labels and maps in, one number per case out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.core import recording
from regard.core.batching import BatchSize
from regard.core.errors import InputError, ShapeError
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.rows import read_target, rows_of
from regard.core.target import Probability, TargetLike
from regard.evidence import MEASURES
from regard.evidence.measure import AbstractMeasure, Exhibit, Explain, Measured, Places
from regard.explainers.as_quantus import Array, ClassOrNumber, as_tensor, network_of, targets_of

__all__ = ["QuantusMetric"]

_MISSING = {
    "places": "s_batch, where the truth lies",
    "explain": "explain_func, to explain again",
    "layers": "a torch.nn.Module, to look into",
    "gradient": "a network that gradients pass through",
}


class QuantusMetric:
    """A measure of Regard with the signature of a Quantus metric, for Quantus users and for ``quantus.evaluate``.

    Nothing is normalised, made absolute or passed through a softmax, so that a regressor of shape (batch, 1) is
    measured in the unit of its output, like any other network.

    Parameters
    ----------
    measure
        Name of a measure, such as ``"deletion"``, or one with settings of its own.
    target
        What was explained. By default the output of a network that has one, and the label's output of one that has
        several.
    quantity, sign
        What the numbers of the maps are and how their sign reads.
    spread
        Standard deviation of the output over the cohort, the scale of figures in output units.
    spacing
        Size of a voxel along each axis [mm], for distances.
    seed, batch_size
        As in every loop.

    Examples
    --------
    >>> scores = QuantusMetric("deletion")(network, x_batch, y_batch, a_batch)     # doctest: +SKIP
    """

    def __init__(
        self,
        measure: str | AbstractMeasure,
        *,
        target: TargetLike = None,
        quantity: Quantity | str = Quantity.CONTRIBUTION,
        sign: Sign | str = Sign.RAISED,
        spread: float | None = None,
        spacing: tuple[float, ...] | None = None,
        seed: int = 0,
        batch_size: BatchSize = "auto",
    ) -> None:
        self.measure: AbstractMeasure = MEASURES.load(measure)() if isinstance(measure, str) else measure
        self.target, self.quantity, self.sign = target, Quantity(quantity), Sign(sign)
        self.spread, self.spacing, self.seed, self.batch_size = spread, spacing, seed, batch_size

    def __call__(
        self,
        model: Any,
        x_batch: Array | Tensor,
        y_batch: Any,
        a_batch: Array | Tensor | None = None,
        s_batch: Array | Tensor | None = None,
        channel_first: bool | None = None,
        explain_func: Callable[..., Any] | None = None,
        explain_func_kwargs: Mapping[str, Any] | None = None,
        model_predict_kwargs: Mapping[str, Any] | None = None,
        softmax: bool | None = None,
        device: Any = None,
        batch_size: int = 64,
        custom_batch: Any = None,
    ) -> list[float]:
        """One figure per case; NaN is "undefined", never "passed". Parameters as `measured`; the rest is not used."""
        found = self.measured(
            model,
            x_batch,
            y_batch,
            a_batch,
            s_batch,
            explain_func=explain_func,
            explain_func_kwargs=explain_func_kwargs,
            softmax=softmax,
        )
        return [one.value for one in found]

    def measured(
        self,
        model: Any,
        x_batch: Array | Tensor,
        y_batch: Any,
        a_batch: Array | Tensor | None = None,
        s_batch: Array | Tensor | None = None,
        *,
        explain_func: Callable[..., Any] | None = None,
        explain_func_kwargs: Mapping[str, Any] | None = None,
        softmax: bool | None = None,
    ) -> list[Measured]:
        """All that the measure found: figure, unit, notes and curve of each case.

        Parameters
        ----------
        model
            The network, or Quantus' wrapper around it.
        x_batch
            Images (batch, channel, \\*space); channels come first.
        y_batch
            Labels (batch,): which output, for a network of several.
        a_batch
            Maps (batch, 1, \\*space), (batch, channel, \\*space), which are summed over channels, or (batch, \\*space);
            None to let ``explain_func`` make them.
        s_batch
            Where the truth lies, (batch, 1, \\*space) or (batch, \\*space), bool.
        explain_func, explain_func_kwargs
            Explains again, ``explain_func(model, inputs, targets, **explain_func_kwargs) -> array``.
        softmax
            Measure the probability instead of the output, for a network of several.

        Raises
        ------
        InputError
            If the measure needs what was not given, or there is a softmax of one number, which is constant.
        ShapeError
            If shapes do not fit.
        """
        network = network_of(model)
        x = as_tensor(x_batch, network)
        labels = np.asarray(y_batch.cpu() if isinstance(y_batch, Tensor) else y_batch).reshape(-1)
        goals: list[TargetLike] = [self.target] * len(x) if self.target is not None else targets_of(labels, len(x))
        if softmax:
            goals = self._probabilities(network, x, goals)
        arguments = dict(explain_func_kwargs or {})
        if a_batch is None:
            if explain_func is None:
                raise InputError("neither a_batch nor explain_func", "one of them", "give the maps, or what makes them")
            a_batch = explain_func(model=network, inputs=_array(x), targets=labels, **arguments)
        maps = _maps(a_batch, x)
        cores = None if s_batch is None else _maps(s_batch, x) > 0
        found = []
        for n in range(len(x)):
            exhibit = Exhibit(
                network,
                x[n : n + 1],
                read_target(goals[n], _output(network, x[n : n + 1]), 1),
                maps[n : n + 1],
                self.quantity,
                self.sign,
                case=str(n),
                spread=self.spread,
                places=None if cores is None else Places(cores[n, 0], spacing=self.spacing),
                explain=None if explain_func is None else _explain(explain_func, labels[n : n + 1], arguments),
                seed=self.seed,
                batch_size=self.batch_size,
            )
            self._check(exhibit)
            found.append(self.measure.measure(exhibit))
        return found

    def _check(self, exhibit: Exhibit) -> None:
        if self.measure.can(exhibit):
            return
        name = type(self.measure).__name__
        needs = [_MISSING.get(need, f"{need}, which Quantus has no place for") for need in sorted(self.measure.needs)]
        raise InputError(f"{name} without all that it needs", " and ".join(needs), "give it, or choose another measure")

    def _probabilities(self, network: Network, x: Tensor, goals: list[TargetLike]) -> list[TargetLike]:
        output = rows_of(_output(network, x[:1]), 1)
        if output[0].numel() == 1:
            raise InputError(
                f"softmax=True for an output of shape {tuple(output.shape)}, which would be 1 for any image",
                "several outputs",
                "leave softmax out",
            )
        return [Probability(g.index) if isinstance(g, ClassOrNumber) else g for g in goals]


def _output(network: Network, x: Tensor) -> object:
    with recording.intact(network) as plain, torch.no_grad():
        return plain(x)


def _array(x: Tensor) -> Array:
    return x.detach().cpu().numpy()


def _maps(values: Array | Tensor, x: Tensor) -> Tensor:
    """Maps as (batch, 1, \\*space), on the images' grid."""
    found = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values).to(x.device)
    if found.shape == (x.shape[0], *x.shape[2:]):
        found = found[:, None]
    if found.ndim != x.ndim or found.shape[1] not in (1, x.shape[1]) or found.shape[2:] != x.shape[2:]:
        raise ShapeError(
            f"maps of shape {tuple(found.shape)} for images of {tuple(x.shape)}", "one for each image, on its grid"
        )
    if found.dtype == torch.bool:
        return found.any(1, keepdim=True)
    if not bool(torch.isfinite(found).all()):
        raise InputError(f"{int((~torch.isfinite(found)).sum())} values that are not finite", "finite maps")
    return found.sum(1, keepdim=True)


def _explain(explain_func: Callable[..., Any], label: Array, arguments: Mapping[str, Any]) -> Explain:
    def again(network: Network, x: Tensor) -> Tensor:
        found = explain_func(model=network, inputs=_array(x), targets=label, **arguments)
        return _maps(found, x)

    return again
