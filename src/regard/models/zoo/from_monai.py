"""Networks of MONAI, with names for what is usually set."""

from collections.abc import Sequence

from torch import nn

__all__ = ["resnet18", "unet"]


def resnet18(
    spatial_dims: int = 3, channels: int = 1, outputs: int = 1, stem_stride: int = 2, widen: float = 1.0
) -> nn.Module:
    """Build MONAI's ResNet-18.

    Parameters
    ----------
    spatial_dims, channels, outputs
        Axes and channels of the input (batch, channels, \\*space), numbers of the output (batch, outputs).
    stem_stride
        Stride of the first convolution; MONAI's own default is 1, which is several times slower.
    widen
        Channels of every layer, relative to the published ones.
    """
    from monai.networks.nets import resnet18 as build

    return build(  # type: ignore[no-any-return]
        spatial_dims=spatial_dims,
        n_input_channels=channels,
        num_classes=outputs,
        conv1_t_stride=stem_stride,
        widen_factor=widen,
    )


def unet(
    spatial_dims: int = 3,
    channels: int = 1,
    outputs: int = 1,
    widths: Sequence[int] = (16, 32, 64, 128),
    residual_units: int = 2,
    norm: str = "INSTANCE",
    activation: str = "PRELU",
) -> nn.Module:
    """Build MONAI's U-Net, which halves the image between each two of ``widths``.

    Parameters
    ----------
    spatial_dims, channels, outputs
        Axes and channels of the input (batch, channels, \\*space), channels of the output (batch, outputs, \\*space).
    widths
        Channels of each level.
    residual_units
        Residual units per level; 0 for plain convolutions.
    norm, activation
        MONAI's names, and its own defaults. "INSTANCE" takes each image's intensities out, which "BATCH" does not.
    """
    from monai.networks.nets import UNet

    return UNet(  # type: ignore[no-any-return]
        spatial_dims=spatial_dims,
        in_channels=channels,
        out_channels=outputs,
        channels=tuple(widths),
        strides=(2,) * (len(widths) - 1),
        num_res_units=residual_units,
        norm=norm,
        act=activation,
    )
