"""A target as one model and one scan have it: the activation known, regions on the output's grid."""

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import TargetError
from regard.core.rows import read_target
from regard.core.spatial import has_space, n_space, space
from regard.core.target import AbstractTarget, Expectation, TargetLike, single_tensor
from regard.core.volume import Grid
from regard.models.case import PreparedCase
from regard.models.model import Model

__all__ = ["bind_target"]


def _output_grid(output: Tensor, grid: Grid) -> Grid:
    """Grid of an output image that covers the field of view of the input's ``grid``."""
    size = list(space(output)) + [1] * (3 - len(space(output)))
    ratio = np.array(grid.shape) / np.array(size)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    affine[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, :3] @ ((ratio - 1) / 2)
    return Grid(tuple(size), affine)  # type: ignore[arg-type]


def bind_target(model: Model, target: TargetLike, output: object, prepared: PreparedCase) -> AbstractTarget:
    """The target for this model and this scan: activation known, regions on the output's grid."""
    spec = model.card.output
    if target is None and spec.bins is not None:
        target = Expectation(tuple(spec.bins))
    goal = read_target(target, output, 1).with_activation(spec.activation)
    image = _lone_tensor(output)
    if has_space(image) and type(goal).on_grid is not AbstractTarget.on_grid:
        axes = n_space(prepared.inputs.tensors[0])
        if n_space(image) != axes:
            raise TargetError(
                f"an output of shape {tuple(image.shape)} for an input of {axes} spatial axes "
                f"and the target '{goal.label}'",
                f"an image (1, C, *space) of {axes} spatial axes",
                "keep the channel axis in the network (no bare squeeze()), or give a target function output -> (1,)",
            )
        part = prepared.parts[0]
        goal = goal.on_grid(_output_grid(image, part.grid), part.scan.grid)
    return goal


def _lone_tensor(output: object) -> Tensor:
    """The output as one tensor, or an empty one where it is several: a function may be asked of those."""
    try:
        return single_tensor(output)
    except TargetError:
        return torch.empty(0)
