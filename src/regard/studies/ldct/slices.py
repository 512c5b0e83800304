"""What the acts share of the data: pairs of slices, and places that were scanned again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from regard.explainers.generative.noise import Noise

__all__ = ["Repeated", "Scene", "Slices"]


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices at low dose and what a denoiser should make of them.

    Parameters
    ----------
    low, full
        (case, 1, row, column) [HU], at low dose and at full dose.
    clean
        Without noise; None for real scans.
    cases, patients
        Ids, one per slice.
    pixel_mm
        Pixel size [mm].
    """

    low: Tensor
    full: Tensor
    clean: Tensor | None
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    pixel_mm: float

    def __len__(self) -> int:
        return len(self.low)

    def wanted(self, target: str) -> Tensor:
        """Target of the training: ``"full dose"``, or ``"noise-free"`` where it is known."""
        return self.clean if target == "noise-free" and self.clean is not None else self.full

    def of(self, numbers: Sequence[int]) -> "Slices":
        """Some of the slices."""
        some = list(numbers)
        return Slices(
            self.low[some],
            self.full[some],
            None if self.clean is None else self.clean[some],
            tuple(self.cases[n] for n in some),
            tuple(self.patients[n] for n in some),
            self.pixel_mm,
        )


@dataclass(frozen=True, eq=False)
class Repeated:
    """One place in one patient, scanned again and again at low dose, with a lesion in its middle and without.

    Parameters
    ----------
    patient
        Id.
    absent, present
        (draw, 1, row, column) [HU].
    clean
        Without noise or lesion (1, 1, row, column) [HU].
    """

    patient: str
    absent: Tensor
    present: Tensor
    clean: Tensor

    def noise(self) -> Tensor:
        """Noise of the scans without lesion, around their mean, with their variance (draw, 1, row, column)."""
        n = len(self.absent)
        return (self.absent - self.absent.mean(0, keepdim=True)) * float((n / (n - 1)) ** 0.5)


@dataclass(frozen=True, eq=False)
class Scene:
    """A patch whose invariances are sought.

    Parameters
    ----------
    case, patient
        Ids.
    image
        At low dose (1, 1, row, column) [HU].
    noise
        Of the image.
    clean
        Without noise; None for real scans.
    """

    case: str
    patient: str
    image: Tensor
    noise: Noise
    clean: Tensor | None
