"""The U-Nets of U-Noise: three that make noise maps, and the one that segments."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import InputError
from regard.core.spatial import space
from regard.models.zoo.layers import layer

__all__ = ["UNoise", "unoise_large", "unoise_medium", "unoise_small", "unoise_tiny", "unoise_utility"]


class UNoise(nn.Module):
    """U-Net of convolution, batch norm and ReLU, twice a level, that halves by max-pooling.

    Going up, the image is doubled (nearest), convolved 3 wide with batch norm and ReLU, and joined with its level's
    features. An image whose sizes are no multiples of 2^(depth - 1) is padded with its edge, and the output cropped.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes, 1 to 3.
    channels, outputs
        Channels of the input (batch, channels, \\*space) and of the output (batch, outputs, \\*space): logits.
    first_width
        Channels of the first level; each further level has twice as many.
    depth
        Number of levels.

    Raises
    ------
    InputError
        If there is no level.

    Notes
    -----
    Koker et al., ICIP 2021 (arXiv 2101.05791). With 3 channels in 2D and a first width of 16, depths 2, 3 and 4 have
    28,529, 130,577 and 537,425 parameters.
    """

    def __init__(
        self, spatial_dims: int = 2, channels: int = 3, outputs: int = 1, first_width: int = 16, depth: int = 2
    ) -> None:
        super().__init__()
        if depth < 1 or first_width < 1:
            raise InputError(f"depth={depth} and first_width={first_width}", "at least 1 for each")
        widths = [first_width * 2**n for n in range(depth)]
        self.down = nn.ModuleList()
        for before, width in zip((channels, *widths), widths, strict=False):
            steps = [*_step(spatial_dims, before, width), *_step(spatial_dims, width, width)]
            self.down.append(nn.Sequential(*steps))
        self.pool = layer("MaxPool", spatial_dims)(2)
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), *_step(spatial_dims, 2 * width, width)))
            steps = [*_step(spatial_dims, 2 * width, width), *_step(spatial_dims, width, width)]
            self.join.append(nn.Sequential(*steps))
        self.last = layer("Conv", spatial_dims)(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, \\*space) to logits (batch, outputs, \\*space)."""
        size, step = space(x), 2 ** (len(self.down) - 1)
        missing = [-n % step for n in size]
        if any(missing):
            x = functional.pad(x, [p for n in reversed(missing) for p in (0, n)], mode="replicate")
        levels: list[Tensor] = []
        for n, block in enumerate(self.down):
            x = block(self.pool(x) if n else x)
            levels.append(x)
        for up, join, beside in zip(self.up, self.join, reversed(levels[:-1]), strict=True):
            x = join(torch.cat([beside, up(x)], 1))
        x = self.last(x)
        return x[(slice(None), slice(None), *[slice(0, n) for n in size])] if any(missing) else x


def _step(spatial_dims: int, before: int, after: int) -> list[nn.Module]:
    conv, norm = layer("Conv", spatial_dims), layer("BatchNorm", spatial_dims)
    return [conv(before, after, 3, padding=1), norm(after), nn.ReLU()]


def unoise_tiny(spatial_dims: int = 2, channels: int = 3, outputs: int = 1) -> nn.Module:
    """Build a noise model of ours for volumes without a GPU, a `UNoise` of 3 levels from 4 channels on."""
    return UNoise(spatial_dims, channels, outputs, 4, 3)


def unoise_small(spatial_dims: int = 2, channels: int = 3, outputs: int = 1) -> nn.Module:
    """Build the small noise model, a `UNoise` of 2 levels."""
    return UNoise(spatial_dims, channels, outputs, 16, 2)


def unoise_medium(spatial_dims: int = 2, channels: int = 3, outputs: int = 1) -> nn.Module:
    """Build the medium noise model, a `UNoise` of 3 levels."""
    return UNoise(spatial_dims, channels, outputs, 16, 3)


def unoise_large(spatial_dims: int = 2, channels: int = 3, outputs: int = 1) -> nn.Module:
    """Build the large noise model, a `UNoise` of 4 levels."""
    return UNoise(spatial_dims, channels, outputs, 16, 4)


def unoise_utility(spatial_dims: int = 2, channels: int = 3, outputs: int = 1) -> nn.Module:
    """Build the segmentation network that U-Noise explains, a `UNoise` of 5 levels from 64 channels on."""
    return UNoise(spatial_dims, channels, outputs, 64, 5)
