"""The four networks that take the bones out of a chest radiograph."""

from collections.abc import Sequence

from torch import Tensor, nn

from regard.models.zoo.layers import layer
from regard.models.zoo.same_padding import same_conv

__all__ = ["ResidualSuppressor", "ResNetSuppressor", "ae_bs", "convnet_bs", "resnet_bs", "rl_bs"]


def ae_bs(spatial_dims: int = 2, widths: Sequence[int] = (16, 32, 64, 32, 16)) -> nn.Module:
    """Build the autoencoder AE-BS: two halvings and two doublings, 128,961 values.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes; each must be a multiple of 4.
    widths
        Channels of the five hidden convolutions.

    Returns
    -------
    nn.Module
        Radiograph (batch, 1, \\*space) in [0, 1] to its soft tissue (batch, 1, \\*space) in [0, 1] by a sigmoid.

    Notes
    -----
    Rajaraman et al., Diagnostics 2021 (10.3390/diagnostics11050840).
    """
    a, b, c, d, e = widths
    even = (4,) * spatial_dims  # padding is the same at every size that can be halved twice
    return nn.Sequential(
        same_conv(even, 1, a, 5), nn.ReLU(),
        same_conv(even, a, b, 5, 2), nn.ReLU(),
        same_conv(even, b, c, 5, 2), nn.ReLU(),
        same_conv(even, c, d, 5), nn.ReLU(),
        nn.Upsample(scale_factor=2),
        same_conv(even, d, e, 5), nn.ReLU(),
        nn.Upsample(scale_factor=2),
        same_conv(even, e, 1, 5), nn.Sigmoid(),
    )  # fmt: skip


def _plain(spatial_dims: int, widths: Sequence[int], dilated: int | None = None) -> nn.Sequential:
    conv = layer("Conv", spatial_dims)
    layers: list[nn.Module] = []
    for n, (before, after) in enumerate(zip((1, *widths), (*widths, 1), strict=True)):
        dilation = 2 if n == dilated else 1
        layers.append(conv(before, after, 3, padding=dilation, dilation=dilation))
        if n < len(widths):
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def convnet_bs(spatial_dims: int = 2, widths: Sequence[int] = (16, 32, 64, 128, 256, 512)) -> nn.Module:
    """Build the plain network ConvNet-BS: seven 3-wide convolutions, 1,577,089 values, a sigmoid at the end.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes.
    widths
        Channels of the hidden convolutions.

    Notes
    -----
    Rajaraman et al., Diagnostics 2021; their code has 126 channels in the fourth layer, a typing error that is not
    rebuilt. They add 1e-9 times the sum of the weights' sizes to the loss: `regard.training.losses.l1_penalty`.
    """
    return nn.Sequential(_plain(spatial_dims, widths), nn.Sigmoid())


class ResidualSuppressor(nn.Module):
    """RL-BS: what is added to the radiograph to take its bones out.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes.
    widths
        Channels of the hidden convolutions; the fourth is dilated by 2.

    Notes
    -----
    Rajaraman et al., Diagnostics 2021; the dilation stands in their code only.
    """

    def __init__(self, spatial_dims: int = 2, widths: Sequence[int] = (8, 16, 32, 64, 128, 256, 512)) -> None:
        super().__init__()
        self.residual = _plain(spatial_dims, widths, dilated=3)

    def forward(self, x: Tensor) -> Tensor:
        """Radiograph (batch, 1, \\*space) to its soft tissue, of the same shape, not bounded."""
        return x + self.residual(x)  # type: ignore[no-any-return]


def rl_bs(spatial_dims: int = 2, widths: Sequence[int] = (8, 16, 32, 64, 128, 256, 512)) -> nn.Module:
    """Build a `ResidualSuppressor`, 1,578,177 values; parameters as there."""
    return ResidualSuppressor(spatial_dims, widths)


class _Scaled(nn.Module):
    def __init__(self, spatial_dims: int, width: int, scale: float) -> None:
        super().__init__()
        conv = layer("Conv", spatial_dims)
        self.main = nn.Sequential(conv(width, width, 3, padding=1), nn.ReLU(), conv(width, width, 3, padding=1))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.main(x)  # type: ignore[no-any-return]


class ResNetSuppressor(nn.Module):
    """ResNet-BS: residual blocks without batch norm, as EDSR has them, and one long shortcut.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes.
    width
        Channels.
    blocks
        Residual blocks.
    scale
        What a block's branch is multiplied by before it is added.

    Notes
    -----
    Rajaraman et al., Diagnostics 2021.
    """

    def __init__(self, spatial_dims: int = 2, width: int = 64, blocks: int = 16, scale: float = 0.1) -> None:
        super().__init__()
        conv = layer("Conv", spatial_dims)
        self.first = conv(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*[_Scaled(spatial_dims, width, scale) for _ in range(blocks)])
        self.after = conv(width, width, 3, padding=1)
        self.last = conv(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Radiograph (batch, 1, \\*space) to its soft tissue, of the same shape, not bounded."""
        first = self.first(x)
        return self.last(first + self.after(self.blocks(first)))  # type: ignore[no-any-return]


def resnet_bs(spatial_dims: int = 2, width: int = 64, blocks: int = 16, scale: float = 0.1) -> nn.Module:
    """Build a `ResNetSuppressor`, 1,219,841 values; parameters as there."""
    return ResNetSuppressor(spatial_dims, width, blocks, scale)
