"""A small regressor that trains in seconds."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from regard.core.errors import InputError
from regard.models.zoo.layers import layer

__all__ = ["SmallRegressor", "small_regressor"]


class SmallRegressor(nn.Module):
    """Convolution blocks that halve the image, then a head.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes, 1 to 3.
    channels
        Channels of the input (batch, channels, \\*space).
    outputs
        Numbers that come out, (batch, outputs).
    widths
        Channels of each block.
    head
        ``"pool"``: mean over space, so that a map of the last layer says which place added what; ``"flatten"``: a
        weight for each of ``cells`` places per axis, so that the answer may depend on where things are.
    cells
        Places per axis of the head ``"flatten"``.

    Raises
    ------
    InputError
        If there is no such head.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        channels: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (8, 16, 32),
        head: Literal["pool", "flatten"] = "pool",
        cells: int = 4,
    ) -> None:
        super().__init__()
        if head not in ("pool", "flatten"):
            raise InputError(f"head '{head}'", "pool or flatten")
        conv, norm, pool = (layer(n, spatial_dims) for n in ("Conv", "BatchNorm", "MaxPool"))
        self.features = nn.Sequential()
        for n, (before, width) in enumerate(zip((channels, *widths), widths, strict=False)):
            block = nn.Sequential(conv(before, width, 3, padding=1), norm(width), nn.ReLU(), pool(2))
            self.features.add_module(f"block{n}", block)
        places = 1 if head == "pool" else cells
        self.pool = layer("AdaptiveAvgPool", spatial_dims)(places)
        self.head = nn.Linear(widths[-1] * places**spatial_dims, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, \\*space) to (batch, outputs)."""
        return self.head(self.pool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def small_regressor(
    spatial_dims: int = 2,
    channels: int = 1,
    outputs: int = 1,
    widths: Sequence[int] = (8, 16, 32),
    head: Literal["pool", "flatten"] = "pool",
    cells: int = 4,
) -> nn.Module:
    """Build a `SmallRegressor`; parameters as there."""
    return SmallRegressor(spatial_dims, channels, outputs, widths, head, cells)
