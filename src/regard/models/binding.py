"""A target as one model and one scan have it: the activation known, regions on the output's grid."""

import numpy as np
from torch import Tensor

from regard.core.spatial import has_space, space
from regard.core.target import AbstractTarget, Expectation, TargetLike, as_target
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
    goal = as_target(target, output).with_activation(spec.activation)
    if isinstance(output, Tensor) and has_space(output):
        part = prepared.parts[0]
        goal = goal.on_grid(_output_grid(output, part.grid), part.scan.grid)
    return goal
