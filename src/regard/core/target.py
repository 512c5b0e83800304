"""The one scalar per case that is explained: a function of the network's output.

One `Target` works in every explainer and every measure, so that a number, a class score and a region of an output
image are the same problem; targets on image outputs are in `regard.core.image_target`. A target is called with the
network's output and gives one value per case.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from regard.core.errors import TargetError
from regard.core.volume import Grid

__all__ = [
    "AbstractTarget",
    "Activation",
    "Expectation",
    "FunctionTarget",
    "Logit",
    "Output",
    "Probability",
    "TargetLike",
    "as_target",
    "single_tensor",
]

Activation = Literal["none", "sigmoid", "softmax"]
"""What has already been applied to a network's output."""


def single_tensor(output: object) -> Tensor:
    """Take the network's output as one tensor (batch, ...); a tuple, list or dict of one tensor is unwrapped.

    Raises
    ------
    TargetError
        If there are several tensors, or none.
    """
    values = list(output.values()) if isinstance(output, Mapping) else output
    tensor = values[0] if isinstance(values, (tuple, list)) and len(values) == 1 else values
    if isinstance(tensor, Tensor):
        return tensor[None] if tensor.ndim == 0 else tensor
    inside = f"{len(values)} values" if isinstance(values, (tuple, list)) else type(output).__name__
    raise TargetError(
        f"a network output of {inside}",
        "one tensor (N, ...), one row per input case",
        "give a target that takes this output: a function output -> (N,)",
    )


class AbstractTarget(ABC):
    """One value per case, made of the network's output.

    A subclass writes `value`. Everything else has a default.
    """

    @abstractmethod
    def value(self, output: Tensor) -> Tensor:
        """Return the scalar of each case.

        Parameters
        ----------
        output
            The network's output (batch, ...).

        Returns
        -------
        Tensor
            Values (batch,).
        """

    def __call__(self, output: object) -> Tensor:
        """Value of each case (batch,), from whatever the network returned."""
        tensor = single_tensor(output)
        value = self.value(tensor)
        if value.ndim != 1 or value.shape[0] != tensor.shape[0]:
            raise TargetError(
                f"a target that gives shape {tuple(value.shape)} for an output of {tuple(tensor.shape)}",
                f"one value per case, shape ({tensor.shape[0]},)",
                "reduce every axis but the first",
            )
        return value

    def check_axes(self, output: Tensor, n_space: int) -> None:
        """Refuse an output (batch, ...) that cannot be read for an input of ``n_space`` spatial axes."""
        return

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "AbstractTarget":
        """The same target with regions carried to the output's ``grid``; voxel indices are those of the ``scan``."""
        return self

    def with_activation(self, activation: Activation) -> "AbstractTarget":
        """The same target for an output that already has an ``activation`` applied."""
        return self

    def unit(self, output_unit: str) -> str:
        """Unit of the value, given the unit of the output."""
        return output_unit

    @property
    def label(self) -> str:
        """How the target is written on the command line and in a sidecar."""
        return type(self).__name__.lower()


TargetLike: TypeAlias = AbstractTarget | int | Callable[[Tensor], Tensor] | None
"""What a method takes as target: an object, a class index, a function output -> (N,), or None for a lone scalar."""


def _flat(output: Tensor, what: str) -> Tensor:
    """Output (batch, n) of a network that gives numbers, not images."""
    if output.ndim == 1:
        return output[:, None]
    if output.ndim == 2 or output[0, 0].numel() == 1:
        return output.reshape(output.shape[0], -1)
    raise TargetError(
        f"an output of shape {tuple(output.shape)} for the target '{what}'",
        "numbers, shape (N,) or (N, K)",
        "choose a target for images: mean:FILE, voxel:I,J,K, contrast:FILE#A,FILE#B or error:FILE "
        "(Mean, Voxel, Contrast, ErrorTo)",
    )


def _column(values: Tensor, index: int, what: str) -> Tensor:
    if not -values.shape[1] <= index < values.shape[1]:
        raise TargetError(
            f"{what} {index} of an output with {values.shape[1]}", f"0 to {values.shape[1] - 1}", "choose one of them"
        )
    return values[:, index]


@dataclass(frozen=True)
class Output(AbstractTarget):
    """Output number ``index`` as it is; the default when the output is one scalar."""

    index: int = 0

    def value(self, output: Tensor) -> Tensor:
        return _column(_flat(output, self.label), self.index, "output")

    @property
    def label(self) -> str:
        return f"output:{self.index}"


def _logits(values: Tensor, activation: Activation) -> Tensor:
    if activation == "sigmoid":
        return torch.logit(values, eps=1e-7)
    if activation == "softmax":
        return values.clamp_min(1e-12).log()
    return values


@dataclass(frozen=True)
class Logit(AbstractTarget):
    """Class score before sigmoid or softmax.

    Parameters
    ----------
    index
        Class number. For a network with one output, 1 is the output and 0 its negative.
    activation
        What the network has already applied; it is undone.
    """

    index: int
    activation: Activation = "none"

    def value(self, output: Tensor) -> Tensor:
        values = _logits(_flat(output, self.label), self.activation)
        if values.shape[1] == 1 and self.index in (0, 1):
            return values[:, 0] if self.index == 1 else -values[:, 0]
        return _column(values, self.index, "class")

    def with_activation(self, activation: Activation) -> "Logit":
        return replace(self, activation=activation)

    def unit(self, output_unit: str) -> str:
        return "logit"

    @property
    def label(self) -> str:
        return f"logit:{self.index}"


@dataclass(frozen=True)
class Probability(AbstractTarget):
    """Class probability: softmax over several outputs, sigmoid of one.

    Parameters
    ----------
    index
        Class number. For a network with one output, 1 is its probability and 0 the complement.
    activation
        What the network has already applied.
    independent
        Several labels that do not exclude each other: sigmoid for each.
    """

    index: int
    activation: Activation = "none"
    independent: bool = False

    def value(self, output: Tensor) -> Tensor:
        values = _flat(output, self.label)
        alone = values.shape[1] == 1
        if self.activation == "none":
            values = values.sigmoid() if alone or self.independent else values.softmax(1)
        if alone and self.index in (0, 1):
            return values[:, 0] if self.index == 1 else 1 - values[:, 0]
        return _column(values, self.index, "class")

    def with_activation(self, activation: Activation) -> "Probability":
        return replace(self, activation=activation, independent=self.independent or activation == "sigmoid")

    def unit(self, output_unit: str) -> str:
        return "probability"

    @property
    def label(self) -> str:
        return f"probability:{self.index}"


@dataclass(frozen=True, eq=False)
class Expectation(AbstractTarget):
    """Expected value of an output that holds one score per bin: sum of bin centre times probability.

    Parameters
    ----------
    bins
        Bin centres (K,), in the output's unit.
    activation
        What the network has already applied.

    Notes
    -----
    Peng et al., Medical Image Analysis 2021 (SFCN): age as the mean of its soft bins.
    """

    bins: Sequence[float]
    activation: Activation = "none"

    def value(self, output: Tensor) -> Tensor:
        values = _flat(output, self.label)
        centres = torch.as_tensor(self.bins, dtype=values.dtype, device=values.device)
        if len(centres) != values.shape[1]:
            raise TargetError(f"{values.shape[1]} outputs", f"one for each of {len(centres)} bins", "correct the bins")
        probabilities = values.softmax(1) if self.activation == "none" else values
        return (probabilities * centres).sum(1)

    def with_activation(self, activation: Activation) -> "Expectation":
        return replace(self, activation=activation)

    @property
    def label(self) -> str:
        return "expectation"


@dataclass(frozen=True, eq=False)
class FunctionTarget(AbstractTarget):
    """Any function of the network's output that gives one value per case."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, output: object) -> Tensor:
        value = self.function(output)  # type: ignore[arg-type]
        if not isinstance(value, Tensor) or value.ndim != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise TargetError(f"a target function that gives {got}", "a tensor (N,)", "reduce every axis but the first")
        return value

    def value(self, output: Tensor) -> Tensor:
        return self(output)

    def unit(self, output_unit: str) -> str:
        return "target"

    @property
    def label(self) -> str:
        return f"function:{getattr(self.function, '__name__', type(self.function).__name__)}"


def _whole(target: object) -> int:
    """A class index, also as NumPy and torch hold whole numbers; a truth value is none."""
    truth = isinstance(target, bool) or getattr(target, "dtype", None) == torch.bool
    if not truth and getattr(target, "ndim", 0) == 0:
        try:
            return operator.index(target)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TargetError(
        f"the target {target!r}",
        "a Target, a class index, a function output -> (N,), or None",
        "give a whole number, or a list of one target for each case",
    )


def as_target(target: TargetLike, output: object) -> AbstractTarget:
    """Read what a user gave as target, knowing one ``output`` of the network.

    Raises
    ------
    TargetError
        If None is given and the output is not one scalar per case: never a silent sum, softmax or argmax.
    """
    if isinstance(target, AbstractTarget):
        return target
    if callable(target):
        return FunctionTarget(target)
    index = None if target is None else _whole(target)
    tensor = single_tensor(output)
    if index is not None:
        _flat(tensor, f"output:{index}")
        return Output(index)
    if tensor[0].numel() == 1:
        return Output(0)
    if tensor.ndim >= 3 and tensor[0, 0].numel() > 1:
        do = (
            "say which place: mean:FILE, voxel:I,J,K, contrast:FILE#A,FILE#B or error:FILE "
            "(Mean, Voxel, Contrast, ErrorTo)"
        )
    else:
        do = f"say which: output:I, logit:K or probability:K with 0 to {tensor[0].numel() - 1}, or expectation"
    raise TargetError(
        f"no target for an output of shape {tuple(tensor.shape)}", "a target, as there is more than one number", do
    )
