"""Low-contrast lesions of known size and contrast."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = ["Lesion", "insert_lesions"]


@dataclass(frozen=True)
class Lesion:
    """A disc, or a ring.

    Parameters
    ----------
    row_mm, column_mm
        Centre, from the middle of the image [mm].
    radius_mm
        Outer radius [mm].
    contrast
        Change of the intensity inside [HU].
    inner_mm
        Radius of the hole [mm]; 0: a disc.
    """

    row_mm: float
    column_mm: float
    radius_mm: float
    contrast: float
    inner_mm: float = 0.0

    def cover(self, size: int, spacing_mm: float, *, fine: int = 4) -> Tensor:
        """Share of each pixel (row, column) that the lesion covers, 0 to 1.

        Raises
        ------
        InputError
            If it has no size.
        """
        if not 0 <= self.inner_mm < self.radius_mm:
            raise InputError(f"a lesion of radius {self.inner_mm:g} to {self.radius_mm:g} mm", "a radius above 0")
        axis = ((torch.arange(fine * size, dtype=torch.float64) + 0.5) / fine - size / 2) * spacing_mm
        far = torch.hypot((axis - self.row_mm)[:, None], (axis - self.column_mm)[None].expand(len(axis), -1))
        inside = ((far <= self.radius_mm) & (far >= self.inner_mm)).double()
        return inside.reshape(size, fine, size, fine).mean((1, 3))


def insert_lesions(image: Tensor, spacing_mm: float, lesions: Sequence[Lesion]) -> tuple[Tensor, Tensor]:
    """Add lesions to an image.

    Parameters
    ----------
    image
        (batch, 1, row, column), square [HU].
    spacing_mm
        Pixel size [mm].
    lesions
        What to add to every case.

    Returns
    -------
    image
        With the lesions [HU].
    cover
        Share of each pixel that each lesion covers (lesion, 1, row, column).
    """
    size = image.shape[-1]
    cover = torch.stack([one.cover(size, spacing_mm) for one in lesions])[:, None].to(image)
    contrast = torch.tensor([one.contrast for one in lesions]).to(image)
    return image + (cover * contrast[:, None, None, None]).sum(0, keepdim=True), cover
