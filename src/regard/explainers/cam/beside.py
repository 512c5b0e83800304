"""How much of the output does not pass through a layer: what a map of that layer cannot show."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.explainer import Query
from regard.core.spatial import n_space, space_axes

__all__ = ["share_beside"]


def share_beside(query: Query, layer: nn.Module, output: Tensor, value: Tensor) -> list[float | None]:
    """Share of the output's change that goes round a layer, for each case.

    The change is that from a blank input (each image at the mean of each of its channels, other inputs at 0) to the
    input. It is divided between two ways, through the layer and round it, by Shapley's value for two players: with
    f(a, x) the output where the layer gives a and all else sees x, what goes round is half of
    f(a0, x) - f(a0, x0) + f(a, x) - f(a, x0), what passes is half of f(a, x0) - f(a0, x0) + f(a, x) - f(a0, x), and
    the share is the size of the first against the sizes of both. Three forward passes.

    Parameters
    ----------
    query
        Network, inputs and target.
    layer
        The layer.
    output
        What it gives for the inputs.
    value
        f(x), (batch,).

    Returns
    -------
    list
        Between 0 and 1; None where the output does not change.
    """
    inputs = query.inputs.tensors
    blank = [x.mean(space_axes(x), keepdim=True).expand_as(x) if n_space(x) else torch.zeros_like(x) for x in inputs]

    def run(tensors: Sequence[Tensor], give: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), recording.replaced_output(layer, give) as outputs:
            found = query.score([t.clone() for t in tensors])
        return found.detach().double(), outputs[0]

    nothing, empty = run(blank, lambda t: t.clone())
    only_layer, _ = run(blank, lambda _: output.clone())
    only_rest, _ = run(inputs, lambda _: empty.clone())
    whole = value.double()
    through = (only_layer - nothing + whole - only_rest) / 2
    beside = (only_rest - nothing + whole - only_layer) / 2
    total = through.abs() + beside.abs()
    rounding = 64 * torch.finfo(value.dtype).eps * whole.abs().clamp_min(torch.finfo(value.dtype).tiny)
    return [
        None if t <= r else float(b)
        for b, t, r in zip((beside.abs() / total.clamp_min(1e-300)), total, rounding, strict=True)
    ]
