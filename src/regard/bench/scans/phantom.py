"""A user's scans with a signal planted into them, as a phantom whose truth is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.bench.scans.images import Scans
from regard.core import randomness
from regard.phantoms.planted import PlantedPhantom

__all__ = ["TASKS", "ScanPhantom"]

TASKS: Mapping[str, dict[str, object]] = {
    "spot": {"effect": "linear"},
    "small-spot": {"effect": "linear", "size": 0.55},
    "rod": {"effect": "linear", "form": "rod"},
    "cluster": {"effect": "linear", "form": "cluster", "size": 1.4},
    "volume": {"effect": "volume"},
    "spot-classes": {"effect": "linear", "task": "classification"},
}
"""What is planted: the intensity of a ball, small ball, rod or three small balls; the volume of a ball of any
intensity; and whether a ball is brighter than its median. In each another of the same kind lies elsewhere and does not
count."""


@dataclass(frozen=True, eq=False)
class ScanPhantom(PlantedPhantom):
    """Scans of the user in the place of a background.

    Subjects of ``test_seed`` are the test patients, one after the other; those of other seeds are drawn from the
    patients to learn from.

    Parameters
    ----------
    scans
        The scans.
    test_seed
        Seed of the subjects that networks are tested on.
    """

    scans: Scans | None = field(default=None, repr=False)
    test_seed: int = -1

    @classmethod
    def of(cls, task: str, scans: Scans, test_seed: int) -> "ScanPhantom":
        """The phantom of one of `TASKS`."""
        made = {"distractor": True, "noise": 0.0, "shift": 0.02, **TASKS[task]}
        return cls(scans.shape, **made, scans=scans, test_seed=test_seed)  # type: ignore[arg-type]

    @property
    def _all(self) -> Scans:
        assert self.scans is not None
        return self.scans

    @property
    def _radius(self) -> float:
        return self._all.radius

    def _places(self, factors: Mapping[str, float]) -> tuple[list[float], list[float], dict[str, list[float]]]:
        side = min(self.shape)
        moved = [(2 * factors[f"shift-{axis}"] - 1) * self.shift * side for axis in range(len(self.shape))]
        site, partner = ([c + m for c, m in zip(at, moved, strict=True)] for at in self._all.sites)
        return site, partner, {}

    def _structure(
        self, f: Mapping[str, float], factor: str, centre: list[float], seed: int, name: str
    ) -> tuple[Tensor, Tensor]:
        added, filled = super()._structure(f, factor, centre, seed, name)
        return self._all.strength * added, filled

    def _behind(self, seed: int, name: str) -> tuple[Tensor, Tensor]:
        number = int(name.rpartition("-")[2])
        if seed == self.test_seed:
            image = self._all.test[number % len(self._all.test), 0]
        else:
            which = int(float(randomness.uniform((1,), seed, name, "scan")[0]) * len(self._all.learn))
            image = self._all.learn[which, 0]
        return image, torch.zeros_like(image)
