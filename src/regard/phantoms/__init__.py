"""Images whose truth is known, because we wrote it ourselves."""

from regard.core.registry import Registry

__all__ = ["PHANTOMS"]

_CATALOGUE = "regard.phantoms.catalogue"

PHANTOMS = Registry(
    "phantom",
    "regard.phantoms",
    {
        "linear": (f"{_CATALOGUE}:linear", "intensity of a ball in tissues"),
        "small": (f"{_CATALOGUE}:small", "intensity of a small ball in tissues"),
        "large": (f"{_CATALOGUE}:large", "intensity of a large ball in tissues"),
        "rod": (f"{_CATALOGUE}:rod", "intensity of a thin rod in tissues"),
        "cluster": (f"{_CATALOGUE}:cluster", "intensity of three small balls in correlated noise"),
        "multiplicative": (f"{_CATALOGUE}:multiplicative", "product of two balls' intensities in correlated noise"),
        "volume": (f"{_CATALOGUE}:volume", "volume of a ball of any intensity in tissues"),
        "thickness": (f"{_CATALOGUE}:thickness", "thickness of a shell of any intensity in correlated noise"),
        "texture": (f"{_CATALOGUE}:texture", "correlation length of the texture in a ball, in white noise"),
        "suppressor": (f"{_CATALOGUE}:suppressor", "intensity of a ball under a nuisance that is also elsewhere"),
        "linear-classes": (f"{_CATALOGUE}:classes", "class: intensity of a ball in tissues above its median"),
        "product-classes": (f"{_CATALOGUE}:product_classes", "class: product of two intensities above its median"),
        "denoising": (f"{_CATALOGUE}:denoising", "image to image: a ball in tissues without the noise"),
        "correction": (f"{_CATALOGUE}:correction", "image to image: a nuisance taken away that is also elsewhere"),
        "decoy-0": (f"{_CATALOGUE}:DECOY_0", "intensity of a ball, and a mark of chance"),
        "decoy-0.3": (f"{_CATALOGUE}:DECOY_3", "the mark's correlation with the label is 0.3"),
        "decoy-0.6": (f"{_CATALOGUE}:DECOY_6", "the mark's correlation with the label is 0.6"),
        "decoy-0.9": (f"{_CATALOGUE}:DECOY_9", "the mark's correlation with the label is 0.9"),
    },
)
"""Name to a builder, shape to `regard.phantoms.planted.PlantedPhantom`, and one line."""
