"""HU and attenuation."""

from torch import Tensor

__all__ = ["WATER", "to_attenuation", "to_hounsfield"]

WATER = 0.0206
"""Attenuation of water [1/mm] at about 60 keV: one energy stands for the whole spectrum, so no beam hardens."""


def to_attenuation(hounsfield: Tensor, water: float = WATER) -> Tensor:
    """HU to attenuation [1/mm]; below -1000 HU it is 0, as nothing adds photons."""
    return (water * (1 + hounsfield / 1000)).clamp_min(0)


def to_hounsfield(attenuation: Tensor, water: float = WATER) -> Tensor:
    """Attenuation [1/mm] to HU."""
    return 1000 * (attenuation / water - 1)
