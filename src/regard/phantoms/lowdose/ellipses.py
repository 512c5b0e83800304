"""Axial slices made of ellipses: fat, muscle, lungs, liver, spine, vessels; no patient, but the right HU and sizes."""

import torch
from torch import Tensor

from regard.core import randomness

__all__ = ["ellipse_slice"]

_ORGANS = (
    # name, HU, centre (row, column) and half axes (row, column), all as shares of the body's half axes
    ("wall", 50.0, (0.0, 0.0), (0.90, 0.92)),
    ("cavity", -60.0, (-0.05, 0.0), (0.74, 0.80)),
    ("liver", 60.0, (-0.10, -0.38), (0.52, 0.38)),
    ("spleen", 55.0, (0.10, 0.55), (0.36, 0.18)),
    ("stomach", 25.0, (-0.36, 0.28), (0.22, 0.28)),
    ("right kidney", 40.0, (0.38, -0.42), (0.22, 0.13)),
    ("left kidney", 40.0, (0.38, 0.42), (0.22, 0.13)),
    ("spine", 180.0, (0.56, 0.0), (0.20, 0.15)),
    ("canal", 30.0, (0.80, 0.0), (0.07, 0.06)),
    ("aorta", 110.0, (0.30, 0.08), (0.075, 0.055)),
    ("gas", -900.0, (-0.55, 0.18), (0.07, 0.10)),
)
_VESSELS = 14


def ellipse_slice(
    name: str, *, size: int = 256, spacing_mm: float = 0.75, seed: int = 0, body_mm: tuple[float, float] = (74.0, 88.0)
) -> Tensor:
    """A slice of ellipses, whose places, sizes and intensities are the subject's own.

    Parameters
    ----------
    name
        Case id, part of the key of all draws.
    size, spacing_mm
        Pixels along each side, and their size [mm].
    seed
        Which cohort.
    body_mm
        Half axes of the body (row, column) [mm].

    Returns
    -------
    Tensor
        (1, 1, row, column) [HU].
    """
    drawn = randomness.uniform((len(_ORGANS) + 1 + _VESSELS, 6), seed, name, "ellipses").double()
    axis = ((torch.arange(size, dtype=torch.float64) + 0.5) - size / 2) * spacing_mm
    row, column = torch.meshgrid(axis, axis, indexing="ij")
    half = [b * (0.9 + 0.1 * float(u)) for b, u in zip(body_mm, drawn[-1, :2], strict=True)]
    row, column = row / half[0], column / half[1]
    image = torch.full_like(row, -1000.0)
    image[row.square() + column.square() < 1] = -100.0
    for (organ, value, centre, axes), u in zip(_ORGANS, drawn, strict=False):
        sure = organ in ("wall", "cavity")
        up, right = (c + (0.0 if sure else 0.06 * (2 * float(v) - 1)) for c, v in zip(centre, u[:2], strict=True))
        tall, wide = (a * (1.0 if sure else 0.85 + 0.3 * float(v)) for a, v in zip(axes, u[2:4], strict=True))
        tilt = 0.0 if sure else 0.5 * (2 * float(u[4]) - 1)
        y, x = row - up, column - right
        y, x = y + tilt * x, x - tilt * y
        image[(y / tall).square() + (x / wide).square() < 1] = value * (0.9 + 0.2 * float(u[5]))
    for u in drawn[len(_ORGANS) : -1]:
        # Vessels of the liver and fat around the bowel: small things of low contrast.
        up, right = -0.10 + 0.8 * (float(u[0]) - 0.5), 1.2 * (float(u[1]) - 0.5)
        radius = 0.02 + 0.04 * float(u[2])
        inside = (row - up).square() + (column - right).square() < radius**2
        image[inside & (image > -300)] += 20 + 50 * float(u[3])
    return image[None, None].float()
