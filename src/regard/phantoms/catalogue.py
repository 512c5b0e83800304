"""The planted phantoms that methods are compared on, each a builder of its shape."""

from collections.abc import Sequence
from functools import partial

from regard.phantoms.planted import PlantedPhantom

__all__ = [
    "DECOY_0",
    "DECOY_3",
    "DECOY_6",
    "DECOY_9",
    "classes",
    "cluster",
    "correction",
    "decoy",
    "denoising",
    "large",
    "linear",
    "multiplicative",
    "product_classes",
    "rod",
    "small",
    "suppressor",
    "texture",
    "thickness",
    "volume",
]


def linear(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a ball in tissues; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", noise=0.3, distractor=True)


def rod(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a thin rod in tissues; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", noise=0.2, distractor=True, form="rod")


def cluster(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity that three small balls have in common, in correlated noise; three others beside them do not count."""
    return PlantedPhantom(tuple(shape), "linear", "correlated", noise=0.2, distractor=True, form="cluster")


def small(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a ball of under half the usual radius in tissues; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", noise=0.2, distractor=True, size=0.4)


def large(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a ball of a third more than the usual radius in tissues; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", noise=0.3, distractor=True, size=1.3)


def multiplicative(shape: Sequence[int]) -> PlantedPhantom:
    """Product of two balls' intensities in correlated noise."""
    return PlantedPhantom(tuple(shape), "multiplicative", "correlated", noise=0.2)


def volume(shape: Sequence[int]) -> PlantedPhantom:
    """Volume of a ball of any intensity in tissues; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "volume", "anatomical", noise=0.1, distractor=True)


def thickness(shape: Sequence[int]) -> PlantedPhantom:
    """Thickness of a shell of any intensity in correlated noise; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "thickness", "correlated", noise=0.2, distractor=True)


def texture(shape: Sequence[int]) -> PlantedPhantom:
    """Correlation length of the texture in a ball, in white noise; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "texture", "white", noise=0.1, distractor=True)


def suppressor(shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a ball under a nuisance that lies, alone, in another place as well."""
    return PlantedPhantom(tuple(shape), "linear", "correlated", noise=0.2, suppressor=0.5)


def classes(shape: Sequence[int]) -> PlantedPhantom:
    """Whether the intensity of a ball in tissues is above its median; another beside it does not count."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", "classification", noise=0.3, distractor=True)


def product_classes(shape: Sequence[int]) -> PlantedPhantom:
    """Whether the product of two balls' intensities is above its median, in correlated noise."""
    return PlantedPhantom(tuple(shape), "multiplicative", "correlated", "classification", noise=0.2)


def denoising(shape: Sequence[int]) -> PlantedPhantom:
    """The image without its noise: a ball in tissues, and another beside it."""
    return PlantedPhantom(tuple(shape), "linear", "anatomical", "denoising", noise=0.3, distractor=True)


def correction(shape: Sequence[int]) -> PlantedPhantom:
    """The image without a nuisance that lies over a ball, and alone, to be read from there, in another place."""
    return PlantedPhantom(tuple(shape), "linear", "correlated", "correction", noise=0.2, suppressor=0.5)


def decoy(dose: float, shape: Sequence[int]) -> PlantedPhantom:
    """Intensity of a ball in strong correlated noise, and a mark whose correlation with it is the ``dose``."""
    return PlantedPhantom(tuple(shape), "linear", "correlated", noise=0.6, smoothness=2.0, decoy=dose)


DECOY_0, DECOY_3, DECOY_6, DECOY_9 = (partial(decoy, dose) for dose in (0.0, 0.3, 0.6, 0.9))
"""Builders of the four doses."""
