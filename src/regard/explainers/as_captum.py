"""A method of Regard where captum's tools expect one of theirs: its arguments, its kinds of target, its shapes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from regard.core.errors import InputError, TargetError
from regard.core.explainer import AbstractExplainer
from regard.core.target import AbstractTarget, FunctionTarget, TargetLike

__all__ = ["AsCaptum", "CaptumTarget", "read_target"]

CaptumTarget: TypeAlias = (
    int | tuple[int, ...] | Tensor | Sequence[int] | Sequence[tuple[int, ...]] | AbstractTarget | None
)
"""What captum takes as target: a class, a place (a tuple), or one of these for each case; or a target of Regard."""


class AsCaptum:
    """A method of Regard with captum's signature, for captum's metrics, noise tunnels and users.

    Parameters
    ----------
    explainer
        The method, made for its network.
    seed, batch_size
        As in `AbstractExplainer.attribute`.

    Examples
    --------
    >>> from captum.metrics import sensitivity_max                             # doctest: +SKIP
    >>> sensitivity_max(AsCaptum(regard.Occlusion(network)).attribute, x, target=1)
    """

    def __init__(self, explainer: AbstractExplainer, *, seed: int = 0, batch_size: int | None = None) -> None:
        self.explainer, self.seed, self.batch_size = explainer, seed, batch_size

    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Any = None,
        target: CaptumTarget = None,
        additional_forward_args: None = None,
    ) -> Any:
        """Map of the inputs' own shape, (batch, channel, \\*space), or a tuple of them for a tuple.

        A method that knows no channels gives each channel the same: of a contribution its part, so that the total is
        kept, of everything else the whole.

        Parameters
        ----------
        inputs
            Tensor (batch, channel, \\*space), or a tuple of them.
        baselines
            What the inputs are compared with: a number, or tensors that broadcast to the inputs.
        target
            See `CaptumTarget`.
        additional_forward_args
            Not taken: wrap the network instead.

        Raises
        ------
        InputError
            If further arguments of the network are given.
        """
        if additional_forward_args is not None:
            raise InputError("additional_forward_args", "none", "wrap the network in a function that knows them")
        given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        found = self.explainer.attribute(
            given,
            read_target(target),
            reference=baselines,
            seed=self.seed,
            batch_size="auto" if self.batch_size is None else self.batch_size,
        )
        sums = self.explainer.meaning[0].sums
        maps = tuple(_wide(m, x, sums) for m, x in zip(found, given, strict=True))
        return maps[0] if isinstance(inputs, Tensor) else maps


def read_target(target: CaptumTarget) -> TargetLike | list[TargetLike]:
    """Read a target as captum writes it.

    Raises
    ------
    TargetError
        If it is none.
    """
    if isinstance(target, Tensor):
        numbers = target.flatten().tolist()
        return int(numbers[0]) if len(numbers) == 1 else [int(n) for n in numbers]
    if isinstance(target, tuple):
        return _place(target)
    if isinstance(target, list):
        return [_place(t) if isinstance(t, tuple) else int(t) for t in target]
    if target is None or isinstance(target, (int, AbstractTarget)):
        return target
    raise TargetError(f"the target {target!r}", "a class, a place, or one of them for each case")


def _place(indices: tuple[int, ...]) -> AbstractTarget:
    """The output at one place, counted without the batch axis."""
    places: tuple[Any, ...] = (slice(None), *indices)
    return FunctionTarget(lambda output: output[places])


def _wide(relevance: Tensor, x: Tensor, sums: bool) -> Tensor:
    if relevance.shape == x.shape:
        return relevance
    shared = relevance / x.shape[1] if sums else relevance
    return torch.broadcast_to(shared, x.shape).clone()
