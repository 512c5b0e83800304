"""What a beam loses in water and in bone mineral: one energy, or a spectrum that hardens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = ["BEAMS", "ENERGIES", "MINERAL", "WATER", "Beam"]

ENERGIES = (40.0, 50.0, 60.0, 80.0, 100.0)
"""Energies of the tables below [keV]."""

WATER = (0.2683, 0.2269, 0.2059, 0.1837, 0.1707)
"""Mass attenuation of water [cm2/g] (NIST Standard Reference Database 126)."""

_APATITE = (0.988, 0.586, 0.407, 0.259, 0.202)
"""Mass attenuation of hydroxyapatite [cm2/g], from its elements in the same tables by their share of its mass."""

_DENSITY = 3.15
"""Density of hydroxyapatite [g/cm3]: 1 g of mineral takes the place of 0.32 cm3 of water."""

MINERAL = tuple(a - w / _DENSITY for a, w in zip(_APATITE, WATER, strict=True))
"""Attenuation that 1 g/cm2 of mineral adds to the water whose place it takes [cm2/g]."""


@dataclass(frozen=True)
class Beam:
    """Photons of one or several energies that reach the detector when nothing is in between.

    Parameters
    ----------
    weights
        Share of each of ``ENERGIES``; they sum to 1. Ours: of the shape of filtered beams, not a measured tube.

    Raises
    ------
    InputError
        If the shares are not as many as the energies, negative, or do not sum to 1.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        wrong = len(self.weights) != len(ENERGIES) or min(self.weights) < 0
        if wrong or abs(sum(self.weights) - 1) > 1e-6:
            raise InputError(f"shares {self.weights}", f"{len(ENERGIES)} shares that sum to 1")

    @property
    def single(self) -> bool:
        """Whether all photons have one energy, so that log signals add exactly."""
        return sum(w > 0 for w in self.weights) == 1

    def log_signal(self, water: Tensor, mineral: Tensor) -> Tensor:
        """Minus the logarithm of the share of the photons that pass.

        Parameters
        ----------
        water
            Path through soft tissue [cm of water].
        mineral
            Bone mineral along the ray [g/cm2], of the same shape.
        """
        kept = [(w, a, b) for w, a, b in zip(self.weights, WATER, MINERAL, strict=True) if w > 0]
        if len(kept) == 1:
            return kept[0][1] * water + kept[0][2] * mineral
        logs = torch.stack([torch.log(water.new_tensor(w)) - a * water - b * mineral for w, a, b in kept])
        return -torch.logsumexp(logs, 0)


BEAMS: dict[str, Beam] = {
    "60 keV": Beam((0.0, 0.0, 1.0, 0.0, 0.0)),
    "polyenergetic": Beam((0.10, 0.25, 0.32, 0.25, 0.08)),
}
"""Beams by name. 60 keV is lower than a chest tube's mean energy at 120 kVp, and shows ribs as the older sets do."""
