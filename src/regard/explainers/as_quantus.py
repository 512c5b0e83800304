"""A method of Regard where Quantus expects a function: model, arrays and labels in, an array of maps out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.core.batching import BatchSize
from regard.core.errors import ShapeError
from regard.core.explainer import AbstractExplainer
from regard.core.recording import Network
from regard.core.target import AbstractTarget, Output, TargetLike
from regard.explainers.spec import MethodSpec, parse_methods

__all__ = ["Array", "ClassOrNumber", "ExplainFunction", "as_tensor", "network_of", "targets_of"]

Array: TypeAlias = NDArray[Any]
Maker: TypeAlias = Callable[[Network], AbstractExplainer]


@dataclass(frozen=True)
class ClassOrNumber(AbstractTarget):
    """Output number ``index`` of a network with several, the output of one with a single output.

    A classifier's label says which output is meant. A regressor has one, and its label, an age say, names none.
    """

    index: int = 0

    def value(self, output: Tensor) -> Tensor:
        return Output(0 if output[0].numel() == 1 else self.index).value(output)

    @property
    def label(self) -> str:
        return f"output:{self.index}"


class ExplainFunction:
    """A method of Regard as an ``explain_func`` of Quantus.

    Parameters
    ----------
    method
        Registered name with its knobs, such as ``"occlusion:window=4"``, or a function that makes the explainer for a
        network, such as ``lambda network: GradRAM(network, layer="layer4")``.
    target
        What is explained, for every case. By default the output of a network that has one, and the label's output of
        one that has several; a network that gives images needs one.
    reference, seed, batch_size
        As in `AbstractExplainer.attribute`.

    Examples
    --------
    >>> metric(model=network, x_batch=x, y_batch=y, a_batch=None,
    ...        explain_func=ExplainFunction("integrated-gradients:n_steps=20"))    # doctest: +SKIP
    """

    def __init__(
        self,
        method: str | MethodSpec | Maker,
        *,
        target: TargetLike = None,
        reference: Any = None,
        seed: int = 0,
        batch_size: BatchSize = "auto",
    ) -> None:
        self.make: Maker = parse_methods([method])[0].build if isinstance(method, (str, MethodSpec)) else method
        self.target, self.reference, self.seed, self.batch_size = target, reference, seed, batch_size

    def __call__(self, model: Any, inputs: Array | Tensor, targets: Any, **_: Any) -> Array:
        """Maps (batch, 1, \\*space), or (batch, channel, \\*space), float32.

        Parameters
        ----------
        model
            The network, or Quantus' wrapper around it.
        inputs
            Images (batch, channel, \\*space).
        targets
            Labels (batch,).

        What else Quantus hands over, such as the name of a method or a device, is of no use here.
        """
        network = network_of(model)
        x = as_tensor(inputs, network)
        goals = [self.target] * len(x) if self.target is not None else targets_of(targets, len(x))
        alike = all(goal == goals[0] for goal in goals)
        found: Tensor = self.make(network).attribute(
            x, goals[0] if alike else goals, reference=self.reference, seed=self.seed, batch_size=self.batch_size
        )
        return found.cpu().numpy()


def network_of(model: Any) -> Network:
    """The network itself, out of Quantus' wrapper where there is one."""
    return model.get_model() if hasattr(model, "get_model") else model  # type: ignore[no-any-return]


def as_tensor(values: Array | Tensor, network: Network) -> Tensor:
    """Images as a tensor of the network's own type, where the network is."""
    parameters = getattr(network, "parameters", lambda: iter(()))()
    like = next((p for p in parameters if p.is_floating_point()), None)
    tensor = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    return tensor.to(torch.float32) if like is None else tensor.to(like.device, like.dtype)


def targets_of(labels: Any, n: int) -> list[TargetLike]:
    """The target of each case, from labels (batch,) as Quantus has them.

    Raises
    ------
    ShapeError
        If there is not one for each case.
    """
    numbers = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).reshape(-1)
    if len(numbers) != n:
        raise ShapeError(f"{len(numbers)} labels", f"one for each of {n} cases")
    return [ClassOrNumber(int(number)) for number in numbers]
