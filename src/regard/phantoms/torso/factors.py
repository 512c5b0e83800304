"""The factors of a torso that can be changed one at a time, each in [0, 1]."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from regard.core.errors import UnknownNameError
from regard.phantoms.torso.shape import TorsoShape

__all__ = ["CAUSES", "DECOYS", "FACTORS", "Factor", "factors_of", "with_factors"]


@dataclass(frozen=True)
class Factor:
    """A field of `TorsoShape` and its values at 0 and at 1."""

    field: str
    low: float
    high: float

    def set(self, shape: TorsoShape, value: float) -> TorsoShape:
        """Copy of a shape with this factor at ``value``."""
        changed: dict[str, Any] = {self.field: self.low + (self.high - self.low) * value}
        return replace(shape, **changed)


FACTORS: dict[str, Factor] = {
    "trabecular": Factor("trabecular", 30.0, 260.0),
    "cortical": Factor("cortical", 400.0, 1200.0),
    "size": Factor("vertebra", 0.85, 1.15),
    "aortic_calcium": Factor("aortic_calcium", 0.0, 1.0),
    "muscle": Factor("muscle_hu", 25.0, 70.0),
    "table_mark": Factor("table_mark", 0.0, 1.0),
    "skeleton": Factor("skeleton", 0.5, 1.5),
    "habitus": Factor("subcutaneous", 5.0, 45.0),
}
"""Factor to the field it sets. Muscle is in HU, lengths in mm, densities in mg/cm3.

``"trabecular"`` and ``"cortical"`` are L1's own; ``"skeleton"`` is the density of all other bones, which goes with L1's
in a population: no cause of the label, and no decoy either, but a fair hint.
"""

CAUSES = ("trabecular", "cortical", "size")
"""Factors that areal bone density depends on."""

DECOYS = ("aortic_calcium", "muscle", "table_mark")
"""Factors it does not depend on, and that may be correlated with it by a dose."""


def factors_of(shape: TorsoShape) -> dict[str, float]:
    """Every factor of a shape; 0 to 1 over the range, a shape drawn at random may leave it."""
    return {name: (getattr(shape, f.field) - f.low) / (f.high - f.low) for name, f in FACTORS.items()}


def with_factors(shape: TorsoShape, factors: Mapping[str, float]) -> TorsoShape:
    """Copy of a shape with some factors replaced.

    Raises
    ------
    UnknownNameError
        If there is no such factor.
    """
    for name, value in factors.items():
        if name not in FACTORS:
            raise UnknownNameError.suggest("factor", name, FACTORS)
        shape = FACTORS[name].set(shape, value)
    return shape
