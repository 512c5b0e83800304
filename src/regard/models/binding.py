"""What a model's output means for one scan: the target bound to it, and the output itself as an image or by name."""

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import TargetError
from regard.core.quantity import Quantity
from regard.core.rows import read_target
from regard.core.spatial import has_space, n_space, space
from regard.core.target import AbstractTarget, Expectation, Logit, Output, Probability, TargetLike, single_tensor
from regard.core.volume import Grid, Volume
from regard.models.card import OutputSpec
from regard.models.case import PreparedCase
from regard.models.model import Model

__all__ = ["bind_target", "name_of", "outputs_of", "unit_of"]


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


def _number(goal: AbstractTarget) -> int:
    """Which of the output's numbers or channels a target is of; the first where it says nothing."""
    which = getattr(goal, "index", getattr(goal, "channel", 0))
    return which if isinstance(which, int) else 0


def unit_of(spec: OutputSpec, goal: AbstractTarget) -> str:
    """Unit of a target's value: that of the number or channel that it is of."""
    return goal.unit(spec.unit(_number(goal)) if spec.units else "a.u.")


def name_of(spec: OutputSpec, goal: AbstractTarget) -> str:
    """What the card calls a target, such as ``"bone density"`` or ``"logit of tuberculosis"``; empty without a name."""
    which = _number(goal)
    if not isinstance(goal, (Output, Logit, Probability, Expectation)) or not 0 <= which < len(spec.names):
        return ""
    kind = {Logit: "logit of ", Probability: "probability of "}.get(type(goal), "")
    return f"{kind}{spec.names[which]}"


def _lone_tensor(output: object) -> Tensor:
    """The output as one tensor, or an empty one where it is several: a function may be asked of those."""
    try:
        return single_tensor(output)
    except TargetError:
        return torch.empty(0)


def outputs_of(model: Model, output: object, prepared: PreparedCase) -> tuple[Volume | None, dict[str, float]]:
    """The network's own output: an image on the scan's grid, or numbers by name."""
    if not isinstance(output, Tensor) or output.shape[:1] != (1,):
        return None, {}
    part = prepared.parts[0]
    names = model.card.output.names
    if has_space(output) and n_space(output) == n_space(prepared.inputs.tensors[0]):
        channels = output[0].float()
        labelled = model.card.output.kind == "segmentation"
        if labelled:
            labels = channels.argmax(0, keepdim=True) if len(channels) > 1 else (channels > 0).long()
            channels = labels.float()
        if space(output) != space(prepared.inputs.tensors[0]):
            return None, {}
        tensor = part.bring_home(part.to_space(channels[None])[:1], Quantity.SCORE, nearest=labelled)[0].float()
        return part.scan.with_tensor(tensor, unit=model.card.output.image_unit), {}
    flat = output[0].reshape(-1)
    return None, {(names[n] if n < len(names) else f"output {n}"): float(v) for n, v in enumerate(flat)}
