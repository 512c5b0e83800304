"""Filtered back-projection."""

import math

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.phantoms.lowdose.beams import Beam, FanBeam, ParallelBeam
from regard.phantoms.lowdose.kernels import filter_views

__all__ = ["backproject", "reconstruct"]

_AT_ONCE = 2**20


def reconstruct(
    sinogram: Tensor,
    beam: Beam,
    size: int,
    spacing_mm: float,
    *,
    kernel: str = "hann",
    centre_mm: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Reconstruct attenuation by filtered back-projection.

    Parameters
    ----------
    sinogram
        Line integrals (batch, 1, view, detector).
    beam
        `ParallelBeam` or `FanBeam`, whose views it has.
    size, spacing_mm
        Pixels along each side, and their size [mm].
    kernel
        Name in `KERNELS`.
    centre_mm
        Middle of the image (row, column), from the middle of the scanner [mm]: a part is as good as the whole.

    Returns
    -------
    Tensor
        (batch, 1, row, column) [1/mm].

    Raises
    ------
    ShapeError
        If the sinogram is not of the beam.
    """
    if tuple(sinogram.shape[-2:]) != (beam.n_views, beam.n_detectors):
        got = f"a sinogram of {tuple(sinogram.shape)}"
        raise ShapeError(got, f"(batch, 1, {beam.n_views}, {beam.n_detectors})")
    if isinstance(beam, FanBeam):
        sinogram = sinogram * (beam.source_mm * beam.offsets().cos()).to(sinogram)
    return backproject(filter_views(sinogram, beam, kernel), beam, size, spacing_mm, centre_mm=centre_mm)


def backproject(
    filtered: Tensor, beam: Beam, size: int, spacing_mm: float, *, centre_mm: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Integrate filtered views (batch, 1, view, detector) over the angle, by linear interpolation between cells.

    Parameters as `reconstruct`; views of a fan are weighted by the inverse square of the distance to the source.
    """
    axis = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * spacing_mm
    axes = [axis + middle for middle in centre_mm]
    row, column = (c.reshape(1, -1) for c in torch.meshgrid(*axes, indexing="ij"))
    total = filtered.new_zeros(len(filtered), size * size)
    chunk = max(1, _AT_ONCE // (size * size * len(filtered)))
    for angles, views in zip(beam.angles().split(chunk), filtered[:, 0].split(chunk, 1), strict=True):
        cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
        across, deep = column * cosine - row * sine, column * sine + row * cosine
        total = total + _gather(views, *_cells(beam, across, deep))
    turn = 2 * math.pi if isinstance(beam, FanBeam) else math.pi
    return total.reshape(len(filtered), 1, size, size) * (turn / beam.n_views)


def _cells(beam: Beam, across: Tensor, deep: Tensor) -> tuple[Tensor, Tensor | None]:
    """Detector cell, not rounded, that each pixel is seen at, and its weight."""
    middle = (beam.n_detectors - 1) / 2
    if isinstance(beam, FanBeam):
        depth = beam.source_mm + deep
        return torch.atan2(across, depth) / beam.step + middle, 1 / (across.square() + depth.square())
    assert isinstance(beam, ParallelBeam)
    return across / beam.detector_mm + middle, None


def _gather(views: Tensor, cells: Tensor, weights: Tensor | None) -> Tensor:
    last = views.shape[-1] - 1
    inside = (cells >= 0) & (cells <= last)
    below = cells.floor().clamp(0, last - 1)
    share = (cells - below).to(views)
    index = below.long().to(views.device).expand(len(views), -1, -1)
    low, high = views.gather(2, index), views.gather(2, index + 1)
    values = (low + share * (high - low)) * inside.to(views)
    if weights is not None:
        values = values * weights.to(views)
    return values.sum(1)
