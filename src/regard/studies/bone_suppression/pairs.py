"""Radiographs with their bone-free twins: what every act works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.core.volume import PIXEL_AFFINE, Volume

__all__ = ["Pairs", "joined", "picture"]

_TENSORS = ("images", "soft", "plain", "plain_soft", "finding", "bone", "lung")
_NAMES = ("cases", "patients", "kinds")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs in [0, 1]; (row, column), row 0 uppermost, column 0 the patient's right.

    Parameters
    ----------
    images, soft
        Radiographs and twins (case, 1, row, column).
    plain, plain_soft
        The same chest without its finding, by the same display; NaN where nobody knows.
    finding, bone, lung
        Where the finding, ribs and clavicles, and the lungs lie, (case, row, column) of bool; False where nobody knows.
    cases, patients
        Ids.
    kinds
        Of the finding; empty for none.
    real
        Whether they are a user's, not phantoms'.
    """

    images: Tensor
    soft: Tensor
    plain: Tensor
    plain_soft: Tensor
    finding: Tensor
    bone: Tensor
    lung: Tensor
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    kinds: tuple[str, ...]
    real: bool = False

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def removed(self) -> Tensor:
        """What bone adds to the radiographs, (case, 1, row, column)."""
        return self.images - self.soft

    def of(self, keep: Sequence[int]) -> "Pairs":
        """Some of the cases, in the order given."""
        rows = list(keep)
        tensors: dict[str, Any] = {name: getattr(self, name)[rows] for name in _TENSORS}
        names: dict[str, Any] = {k: tuple(getattr(self, k)[n] for n in rows) for k in _NAMES}
        return Pairs(**tensors, **names, real=self.real)

    def volume(self, n: int) -> Volume:
        """A radiograph as a volume that is a slice thick."""
        return picture(self.images[n, 0], "grey", self.cases[n])


def picture(image: Tensor, unit: str, source: str = "") -> Volume:
    """A picture (row, column) as a volume with the axes column, row."""
    plane = image.T[None, :, :, None].contiguous().float()
    return Volume(plane, PIXEL_AFFINE, unit, source=source, has_geometry=False)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of one shape, one after the other."""
    tensors: dict[str, Any] = {name: torch.cat([getattr(p, name) for p in parts]) for name in _TENSORS}
    names: dict[str, Any] = {k: tuple(v for p in parts for v in getattr(p, k)) for k in _NAMES}
    return Pairs(**tensors, **names, real=any(p.real for p in parts))
