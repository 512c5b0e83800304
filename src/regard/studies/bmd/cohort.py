"""Slices through L1 with their labels: what every act works on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from regard.core.volume import Volume

__all__ = ["MASKED", "WINDOW", "Cohort", "Scale", "joined"]

WINDOW = (-500.0, 1300.0)
"""What images are clipped to [HU]: centre 400, width 1800 (Kang et al. 2023)."""

MASKED = WINDOW[0]
"""What masked pixels are set to [HU]."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Cases, each a slice; rows run to posterior and columns to the patient's left.

    Parameters
    ----------
    images
        HU (case, 1, row, column).
    body, vertebra
        Share of each pixel in L1's body and in all of L1, (case, row, column); NaN where nobody knows.
    labels
        Areal density as measured [g/cm2], (case,); NaN where it is not known.
    truth
        The same without the measurement's error; NaN where nobody knows.
    second
        Volumetric trabecular density [mg/cm3]; NaN where nobody knows.
    decoy
        The decoy's factor; NaN where there is none.
    affines
        Of each slice, from (column, row, 0) to RAS mm, (case, 4, 4).
    spacing
        Of a pixel, along rows and columns [mm].
    cases, patients
        Ids.
    real
        Whether the images are a user's, not phantoms'.
    """

    images: Tensor
    body: Tensor
    vertebra: Tensor
    labels: Tensor
    truth: Tensor
    second: Tensor
    decoy: Tensor
    affines: Tensor
    spacing: tuple[float, float]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    real: bool = False

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def y(self) -> np.ndarray:
        """Labels, float64."""
        found: np.ndarray = self.labels.double().numpy()
        return found

    def of(self, keep: Sequence[int]) -> "Cohort":
        """Some of the cases, in the order given."""
        rows = list(keep)
        tensors = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.type is Tensor or f.type == "Tensor"}
        return Cohort(
            **tensors,
            spacing=self.spacing,
            cases=tuple(self.cases[n] for n in rows),
            patients=tuple(self.patients[n] for n in rows),
            real=self.real,
        )

    def of_patients(self, patients: set[str]) -> "Cohort":
        """The cases of some patients."""
        return self.of([n for n, p in enumerate(self.patients) if p in patients])

    def one_each(self) -> "Cohort":
        """The middle case of each patient."""
        rows: dict[str, list[int]] = {}
        for n, patient in enumerate(self.patients):
            rows.setdefault(patient, []).append(n)
        return self.of([own[len(own) // 2] for own in rows.values()])

    def volume(self, n: int, image: Tensor | None = None) -> Volume:
        """One case as a volume that is a slice thick; another ``image`` (row, column) may stand in its place."""
        plane = self.images[n, 0] if image is None else image
        affine = self.affines[n].numpy()
        return Volume(plane.T[None, :, :, None].contiguous(), affine, "HU", source=self.cases[n])


@dataclass(frozen=True)
class Scale:
    """What HU become before a network sees them: constants of the training set, kept in the card.

    Parameters
    ----------
    low, high
        Smallest and largest clipped intensity of the training images [HU]; they become 0 and 1.
    """

    low: float
    high: float

    @classmethod
    def of(cls, images: Tensor) -> "Scale":
        """The training set's own."""
        clipped = images.clamp(*WINDOW)
        return cls(float(clipped.min()), float(clipped.max()))

    def __call__(self, images: Tensor) -> Tensor:
        """HU of any shape to the network's units."""
        return (images.clamp(*WINDOW) - self.low) / (self.high - self.low)

    @property
    def masked(self) -> float:
        """What a masked pixel is to the network."""
        return (MASKED - self.low) / (self.high - self.low)


def joined(cohorts: Sequence[Cohort]) -> Cohort:
    """Cohorts of one shape, one after the other."""
    tensors = {
        f.name: torch.cat([getattr(c, f.name) for c in cohorts])
        for f in fields(Cohort)
        if f.type is Tensor or f.type == "Tensor"
    }
    return Cohort(
        **tensors,
        spacing=cohorts[0].spacing,
        cases=tuple(n for c in cohorts for n in c.cases),
        patients=tuple(n for c in cohorts for n in c.patients),
        real=any(c.real for c in cohorts),
    )
