"""The network that outlines the vertebra in one CT slice."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from regard.core.errors import InputError, ShapeError
from regard.core.spatial import space
from regard.models.zoo.layers import layer

__all__ = ["BMDUNet", "bmd_unet"]


class _Residual(nn.Module):
    def __init__(self, spatial_dims: int, width: int) -> None:
        super().__init__()
        conv, norm = layer("Conv", spatial_dims), layer("BatchNorm", spatial_dims)
        self.shortcut = norm(width)
        self.main = nn.Sequential(
            nn.LeakyReLU(),
            norm(width),
            conv(width, width, 1),
            norm(width),
            nn.LeakyReLU(),
            conv(width, width, 1),
            norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)  # type: ignore[no-any-return]


def _block(spatial_dims: int, before: int, after: int) -> nn.Sequential:
    conv = layer("Conv", spatial_dims)(before, after, 3, padding=1)
    return nn.Sequential(conv, _Residual(spatial_dims, after), _Residual(spatial_dims, after), nn.LeakyReLU())


class _Bottleneck(nn.Module):
    """Pre-activation bottleneck of a second-version residual network (He et al. 2016, 1603.05027)."""

    def __init__(self, spatial_dims: int, before: int, width: int, after: int, stride: int) -> None:
        super().__init__()
        conv, norm = layer("Conv", spatial_dims), layer("BatchNorm", spatial_dims)
        self.main = nn.Sequential(
            norm(before), nn.ReLU(), conv(before, width, 1, bias=False),
            norm(width), nn.ReLU(), conv(width, width, 3, stride=stride, padding=1, bias=False),
            norm(width), nn.ReLU(), conv(width, after, 1),
        )  # fmt: skip
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else conv(before, after, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)  # type: ignore[no-any-return]


class BMDUNet(nn.Module):
    """U-Net with residual blocks and a choice of encoder.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes, 1 to 3.
    channels
        Channels of the input (batch, channels, \\*space); each axis must be a multiple of 32.
    outputs
        Channels of the output: scores before their sigmoid, one for each structure.
    widths
        Channels of the skips at 1/2, 1/4, 1/8 and 1/16 of the input; the deepest block has twice the last.
    encoder
        ``"plain"``: one convolution block per resolution; ``"resnet101"``: as many pre-activation bottlenecks as
        ResNet101v2 has (3, 4, 23, 3), its skips narrowed to ``widths``.

    Raises
    ------
    InputError
        If there is no such encoder.

    Notes
    -----
    Kang et al. 2023, figure only: the encoder there is a ResNet101v2 (with weights that are not stated; here it starts
    untrained), skips of 64, 64, 128 and 256 channels, a deepest block of 512, dropout of 0.1, and a last block of 16.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        channels: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (64, 64, 128, 256),
        encoder: Literal["plain", "resnet101"] = "plain",
    ) -> None:
        super().__init__()
        if encoder not in ("plain", "resnet101"):
            raise InputError(f"encoder '{encoder}'", "plain or resnet101")
        conv = layer("Conv", spatial_dims)
        pool, dropout = layer("MaxPool", spatial_dims), layer("Dropout", spatial_dims)
        up = layer("ConvTranspose", spatial_dims)
        self.encoder = nn.ModuleList()
        self.skips = nn.ModuleList()
        before = channels
        depths = (1, 3, 4, 23)
        for n, width in enumerate(widths):
            if encoder == "plain":
                start = [conv(before, width, 3, stride=2, padding=1)]
                self.encoder.append(nn.Sequential(*start, _block(spatial_dims, width, width)))
                self.skips.append(nn.Identity())
                before = width
                continue
            inner = 64 * 2 ** max(n - 1, 0)
            after = 64 if n == 0 else 4 * inner
            steps: list[nn.Module] = [conv(before, after, 7, stride=2, padding=3)] if n == 0 else []
            for k in range(depths[n] if n else 0):
                steps.append(_Bottleneck(spatial_dims, before if k == 0 else after, inner, after, 2 if k == 0 else 1))
            self.encoder.append(nn.Sequential(*steps))
            self.skips.append(conv(after, width, 1))
            before = after
        last = widths[-1]
        self.deepest = nn.Sequential(
            conv(before, last, 3, padding=1),
            nn.LeakyReLU(),
            pool(2),
            dropout(0.1),
            _block(spatial_dims, last, 2 * last),
        )
        self.rises, self.joins = nn.ModuleList(), nn.ModuleList()
        below = 2 * last
        for n, skip in enumerate(reversed(widths)):
            after = skip if n < len(widths) - 1 else skip // 2
            self.rises.append(up(below, after, 2, stride=2))
            self.joins.append(nn.Sequential(dropout(0.1), _block(spatial_dims, after + skip, after)))
            below = after
        thin = max(below // 2, 1)
        self.last = nn.Sequential(
            up(below, thin, 2, stride=2), _block(spatial_dims, thin, thin), dropout(0.05), conv(thin, outputs, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, channels, \\*space) to scores (batch, outputs, \\*space)."""
        # What torch.fx traces is no tensor and has no sizes.
        if isinstance(x, Tensor) and any(n % 32 for n in space(x)):
            raise ShapeError(f"an image of {tuple(space(x))}", "multiples of 32 along each axis", "pad it")
        skips, y = [], x
        for stage, narrow in zip(self.encoder, self.skips, strict=True):
            y = stage(y)
            skips.append(narrow(y))
        y = self.deepest(y)
        for rise, join, skip in zip(self.rises, self.joins, reversed(skips), strict=True):
            y = join(torch.cat([rise(y), skip], 1))
        return self.last(y)  # type: ignore[no-any-return]


def bmd_unet(
    spatial_dims: int = 2,
    channels: int = 1,
    outputs: int = 1,
    widths: Sequence[int] = (64, 64, 128, 256),
    encoder: Literal["plain", "resnet101"] = "plain",
) -> nn.Module:
    """Build a `BMDUNet`; parameters as there."""
    return BMDUNet(spatial_dims, channels, outputs, widths, encoder)
