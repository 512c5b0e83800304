"""The network that reads bone mineral density from one CT slice."""

from collections.abc import Sequence

from torch import Tensor, nn

from regard.core.errors import ShapeError
from regard.models.zoo.layers import layer
from regard.models.zoo.same_padding import SameConv

__all__ = ["BMDResNet", "bmd_resnet22"]

_EPSILON = 1e-3


class _Residual(nn.Module):
    """Batch norm, ReLU and convolution, twice, beside a shortcut; with ``stride`` 2 the shortcut is a 1-wide one."""

    def __init__(self, spatial_dims: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        norm = layer("BatchNorm", spatial_dims)
        self.main = nn.Sequential(
            norm(before, eps=_EPSILON),
            nn.ReLU(),
            SameConv(spatial_dims, before, after, 3, stride),
            norm(after, eps=_EPSILON),
            nn.ReLU(),
            SameConv(spatial_dims, after, after, 3),
        )
        self.shortcut = nn.Identity() if stride == 1 else SameConv(spatial_dims, before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)  # type: ignore[no-any-return]


class BMDResNet(nn.Module):
    """Pre-activation residual network of 22 layers with a flattening head.

    Parameters
    ----------
    shape
        Voxels of the input (\\*space); every axis is halved five times, rounding up.
    channels
        Channels of the input (batch, channels, \\*space).
    widths, blocks
        Channels and residual blocks of each stage.
    dense
        Units of the hidden dense layer.

    Raises
    ------
    ShapeError
        If there are not one to three axes, or widths and blocks differ in number.

    Notes
    -----
    Kang et al., Frontiers in Physiology 2023 (10.3389/fphys.2022.1061911). At 256 x 256 it has 1,614,273 trainable
    values. Module ``head.conv`` is the layer that the paper hooks, before its batch norm and ReLU, so that its channels
    have both signs.
    """

    def __init__(
        self,
        shape: Sequence[int] = (256, 256),
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (2, 2, 3, 3),
        dense: int = 512,
    ) -> None:
        super().__init__()
        if not 1 <= len(shape) <= 3 or len(widths) != len(blocks):
            raise ShapeError(
                f"shape={tuple(shape)}, widths={tuple(widths)}, blocks={tuple(blocks)}",
                "one to three axes, and as many widths as blocks",
            )
        n_axes = len(shape)
        norm = layer("BatchNorm", n_axes)
        self.stem = nn.Sequential(
            SameConv(n_axes, channels, widths[0], 3, 2), norm(widths[0], eps=_EPSILON), nn.ReLU()
        )
        self.stages = nn.Sequential()
        before, cells = widths[0], [-(-n // 2) for n in shape]
        for width, n_blocks in zip(widths, blocks, strict=True):
            steps = [_Residual(n_axes, before, width, 2)]
            steps += [_Residual(n_axes, width, width, 1) for _ in range(n_blocks - 1)]
            self.stages.append(nn.Sequential(*steps))
            before, cells = width, [-(-n // 2) for n in cells]
        n_places = 1
        for n in cells:
            n_places *= n
        self.head = nn.Sequential()
        self.head.add_module("conv", SameConv(n_axes, before, 16, 3))
        self.head.add_module("norm", norm(16, eps=_EPSILON))
        self.head.add_module("relu", nn.ReLU())
        self.head.add_module("flatten", nn.Flatten())
        self.head.add_module("dense", nn.Linear(16 * n_places, dense))
        self.head.add_module("dense_relu", nn.ReLU())
        self.head.add_module("output", nn.Linear(dense, 1))
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)  # as Keras starts
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, \\*shape) to (batch, 1)."""
        return self.head(self.stages(self.stem(x)))  # type: ignore[no-any-return]


def bmd_resnet22(
    shape: Sequence[int] = (256, 256),
    channels: int = 1,
    widths: Sequence[int] = (16, 32, 64, 128),
    blocks: Sequence[int] = (2, 2, 3, 3),
    dense: int = 512,
) -> nn.Module:
    """Build a `BMDResNet`; parameters as there."""
    return BMDResNet(shape, channels, widths, blocks, dense)
