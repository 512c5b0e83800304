"""One row per case: the one place where the rows of an output are counted against the cases that went in.

Whoever asks a network about n cases reads the answer through `target_values` or `rows_of`. A network that squeezes its
batch axis away, folds slices into it, or gives a target function room to sum over it, is refused here by name: it would
otherwise give the sum of its classes, or a column of an image, as "the" output.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from regard.core.errors import RowsError
from regard.core.target import AbstractTarget, FunctionTarget, TargetLike, as_target, single_tensor

__all__ = ["counted", "read_target", "rows_of", "target_values"]


def _cases(n_cases: int) -> str:
    return "1 case" if n_cases == 1 else f"{n_cases} cases"


def rows_of(output: object, n_cases: int) -> Tensor:
    """The output as one tensor (batch, ...) with one row for each of ``n_cases`` that the network was given.

    A tuple, list or dict of one tensor is unwrapped. A lone number is the row of a lone case.

    Raises
    ------
    RowsError
        If the first axis does not count the cases.
    TargetError
        If there are several tensors, or none.
    """
    tensor = single_tensor(output)
    if tensor.ndim and tensor.shape[0] == n_cases:
        return tensor
    given = tuple(output.shape) if isinstance(output, Tensor) else tuple(tensor.shape)
    raise RowsError(
        f"an output of shape {given} for {_cases(n_cases)}",
        f"one row per input case, shape ({n_cases}, ...)",
        "keep the batch axis (flatten(1) or squeeze(-1) in place of squeeze()), or give a target function "
        f"output -> ({n_cases},) that says which of these numbers belong to each case",
    )


def _takes_a_tensor(target: AbstractTarget) -> bool:
    """Whether a target reads the output as one tensor, rows first; a function may read it as it likes."""
    return not isinstance(target, FunctionTarget) and type(target).__call__ is AbstractTarget.__call__


def read_target(wanted: TargetLike, output: object, n_cases: int) -> AbstractTarget:
    """Read what a user gave as target, knowing what the network gave for ``n_cases``.

    Raises
    ------
    RowsError
        If the output has not one row per case, and the target is no function that could say what belongs to each.
    TargetError
        If None is given and the output is not one scalar per case.
    """
    is_function = callable(wanted) and not isinstance(wanted, AbstractTarget)
    if is_function or (isinstance(wanted, AbstractTarget) and not _takes_a_tensor(wanted)):
        return as_target(wanted, output)
    return as_target(wanted, rows_of(output, n_cases))


def target_values(target: AbstractTarget, output: object, n_cases: int, n_space: int | None = None) -> Tensor:
    """The target's value of each case that the network was given, (n_cases,).

    Parameters
    ----------
    target
        What is asked of the output.
    output
        What the network gave.
    n_cases
        How many cases it was given.
    n_space
        Spatial axes of its input, where they are known: an output image without a channel axis is then refused.

    Raises
    ------
    RowsError
        If there is not one row in the output, and one value, for each case.
    """
    if _takes_a_tensor(target):
        output = rows_of(output, n_cases)
        if n_space is not None:
            target.check_axes(output, n_space)
    ask: Callable[[Any], Any] = target.function if isinstance(target, FunctionTarget) else target
    try:
        values = ask(output)
    except (RuntimeError, IndexError, TypeError, ValueError):
        # Before a function's own complaint: it may have been written for an output with rows.
        if isinstance(output, Tensor):
            rows_of(output, n_cases)
        raise
    if not isinstance(values, Tensor) or values.shape != torch.Size([n_cases]):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        of = f" for an output of {tuple(output.shape)}" if isinstance(output, Tensor) else ""
        raise RowsError(
            f"a target that gives {got}{of} and {_cases(n_cases)}",
            f"one value per input case, shape ({n_cases},)",
            "reduce every axis but the first, and keep the batch axis in the network (no bare squeeze())",
        )
    _refuse_mixed(ask, output, values)
    return values


@torch.no_grad()
def _refuse_mixed(ask: Callable[[Any], Any], output: object, values: Tensor) -> None:
    """Refuse values that are as many as the cases by accident: one along another axis of the same length.

    Where there is such an axis, the first case's row is changed: no other case's value may follow.
    """
    n = len(values)
    tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
    if n < 2 or not any(n in t.shape[1:] for t in tensors):
        return

    def changed(t: object) -> object:
        if not isinstance(t, Tensor) or t.ndim == 0 or len(t) != n or t.dtype == torch.bool:
            return t
        other = t.detach().clone()
        other[0] += 1 + other[0].abs()
        return other

    others = ask(tree_map(changed, output))
    if torch.allclose(others[1:].double(), values[1:].double(), equal_nan=True):
        return
    raise RowsError(
        f"a target whose value of one case follows the output of another, for {_cases(n)}",
        f"one value per input case, shape ({n},)",
        "reduce every axis but the first",
    )


def counted(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of images (batch, ...) whose answers are refused unless they have a row for each image."""

    def of(images: Tensor) -> Tensor:
        return rows_of(function(images), int(images.shape[0]))

    return of
