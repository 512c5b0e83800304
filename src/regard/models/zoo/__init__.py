"""The networks that Regard brings, by name; listing them loads nothing heavy."""

from regard.core.registry import Registry

__all__ = ["ZOO"]

ZOO = Registry(
    "model",
    "regard.models",
    {
        "sfcn": ("regard.models.zoo.sfcn:sfcn", "Simple Fully Convolutional Network: brain age from MRI", "regression"),
        "small-regressor": ("regard.models.zoo.small:small_regressor", "three convolutions, for demos", "regression"),
        "cnn10": ("regard.models.zoo.denoisers:cnn10", "CNN-10: low-dose CT denoiser of three layers", "image"),
        "redcnn": ("regard.models.zoo.denoisers:redcnn", "RED-CNN: low-dose CT denoiser; DU-GAN's generator", "image"),
        "wgan-generator": ("regard.models.zoo.denoisers:wgan_generator", "generator of WGAN-VGG", "image"),
        "monai-resnet18": ("regard.models.zoo.from_monai:resnet18", "ResNet-18 as MONAI builds it", "regression"),
        "monai-unet": ("regard.models.zoo.from_monai:unet", "residual U-Net as MONAI builds it", "image"),
    },
)
"""Name to builder, one line, and kind of the output."""
