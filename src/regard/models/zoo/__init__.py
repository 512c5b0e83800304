"""The networks that Regard brings, by name; listing them loads nothing heavy."""

from regard.core.registry import Registry

__all__ = ["ZOO"]

_UNOISE = "regard.models.zoo.unoise"

ZOO = Registry(
    "model",
    "regard.models",
    {
        "sfcn": ("regard.models.zoo.sfcn:sfcn", "Simple Fully Convolutional Network: brain age from MRI", "regression"),
        "small-regressor": ("regard.models.zoo.small:small_regressor", "three convolutions, for demos", "regression"),
        "bmd-resnet22": (
            "regard.models.zoo.bmd_resnet:bmd_resnet22",
            "bone mineral density from one CT slice (Kang 2023)",
            "regression",
        ),
        "bmd-unet": (
            "regard.models.zoo.bmd_unet:bmd_unet",
            "U-Net that outlines the vertebra (Kang 2023)",
            "segmentation",
        ),
        "ae-bs": (
            "regard.models.zoo.bone_suppression:ae_bs",
            "autoencoder for rib suppression (Rajaraman 2021)",
            "image",
        ),
        "convnet-bs": (
            "regard.models.zoo.bone_suppression:convnet_bs",
            "plain network for rib suppression (Rajaraman 2021)",
            "image",
        ),
        "rl-bs": (
            "regard.models.zoo.bone_suppression:rl_bs",
            "residual learning for rib suppression (Rajaraman 2021)",
            "image",
        ),
        "resnet-bs": (
            "regard.models.zoo.bone_suppression:resnet_bs",
            "residual network for rib suppression (Rajaraman 2021)",
            "image",
        ),
        "vgg16": ("regard.models.zoo.vgg:vgg16", "VGG-16 cut at its last convolution", "classification"),
        "cnn10": ("regard.models.zoo.denoisers:cnn10", "CNN-10: low-dose CT denoiser of three layers", "image"),
        "redcnn": ("regard.models.zoo.denoisers:redcnn", "RED-CNN: low-dose CT denoiser; DU-GAN's generator", "image"),
        "wgan-generator": ("regard.models.zoo.denoisers:wgan_generator", "generator of WGAN-VGG", "image"),
        "monai-resnet18": ("regard.models.zoo.from_monai:resnet18", "ResNet-18 as MONAI builds it", "regression"),
        "monai-unet": ("regard.models.zoo.from_monai:unet", "residual U-Net as MONAI builds it", "image"),
        "unoise-tiny": (f"{_UNOISE}:unoise_tiny", "U-Net of 3 narrow levels that makes noise maps, ours", "image"),
        "unoise-small": (f"{_UNOISE}:unoise_small", "U-Net of 2 levels that makes noise maps", "image"),
        "unoise-medium": (f"{_UNOISE}:unoise_medium", "U-Net of 3 levels that makes noise maps", "image"),
        "unoise-large": (f"{_UNOISE}:unoise_large", "U-Net of 4 levels that makes noise maps", "image"),
        "unoise-utility": (f"{_UNOISE}:unoise_utility", "U-Net of 5 levels that U-Noise explains", "segmentation"),
    },
)
"""Name to builder, one line, and kind of the output."""
