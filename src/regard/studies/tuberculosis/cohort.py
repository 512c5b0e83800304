"""Radiographs with what is known of them: what every act works on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from regard.core.volume import PIXEL_AFFINE, Volume

__all__ = ["Cohort", "joined"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """Cases, each a radiograph; rows run to the patient's feet and columns to the patient's left.

    Parameters
    ----------
    plain
        The radiographs in [0, 1], bone bright, (case, 1, row, column), of the suppressor's size.
    soft
        The same without bones by the same display, NaN where nobody knows.
    findings
        Where the findings are, (case, row, column) of 0 and 1, of the classifier's size, which may be smaller by a
        whole number; NaN where nobody knows.
    labels
        1 for ill, (case,).
    marker
        Whether the letter is there, (case,); NaN where nobody knows.
    cases, patients
        Ids.
    pixel_mm
        Pixel of the classifier's size on the detector; 1 where it is not known.
    real
        Whether the images are a user's, not phantoms'.
    """

    plain: Tensor
    soft: Tensor
    findings: Tensor
    labels: Tensor
    marker: Tensor
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    pixel_mm: float = 1.0
    real: bool = False

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def ill(self) -> np.ndarray:
        """Labels (case,) of bool."""
        found: np.ndarray = self.labels.numpy() > 0.5
        return found

    def of(self, keep: Sequence[int] | np.ndarray) -> "Cohort":
        """Some of the cases, in the order given."""
        rows = [int(k) for k in keep]
        tensors = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.type is Tensor}
        names = {"cases": tuple(self.cases[n] for n in rows), "patients": tuple(self.patients[n] for n in rows)}
        return replace(self, **tensors, **names)  # type: ignore[arg-type]

    def volume(self, n: int, images: Tensor) -> Volume:
        """Image ``n`` of ``images`` (case, 1, row, column) as a picture, (1, column, row, 1)."""
        plane = images[n, 0].T[None, :, :, None].contiguous()
        return Volume(plane, PIXEL_AFFINE, "1", source=self.cases[n], has_geometry=False)


def joined(cohorts: Sequence[Cohort]) -> Cohort:
    """Cohorts of one shape, one after the other."""
    tensors = {f.name: torch.cat([getattr(c, f.name) for c in cohorts]) for f in fields(Cohort) if f.type is Tensor}
    return replace(
        cohorts[0],
        **tensors,  # type: ignore[arg-type]
        cases=tuple(n for c in cohorts for n in c.cases),
        patients=tuple(n for c in cohorts for n in c.patients),
    )
