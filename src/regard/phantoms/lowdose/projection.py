"""Line integrals of an image: what a CT detector would measure without noise."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from regard.phantoms.lowdose.beams import Beam

__all__ = ["project"]

_AT_ONCE = 2**20
"""Points sampled at once."""


def project(image: Tensor, spacing_mm: float, beam: Beam, *, step_mm: float | None = None) -> Tensor:
    """Line integrals along every ray, by linear interpolation at points along it.

    Parameters
    ----------
    image
        Attenuation (batch, 1, row, column) [1/mm]; 0 outside.
    spacing_mm
        Pixel size [mm].
    beam
        Where the rays run.
    step_mm
        Distance between two points [mm]; by default a pixel.

    Returns
    -------
    Tensor
        Line integrals (batch, 1, view, detector), without unit.
    """
    rows, columns = image.shape[-2:]
    step = spacing_mm if step_mm is None else step_mm
    half = math.ceil(math.hypot(rows, columns) * spacing_mm / 2 / step)
    along = torch.arange(-half, half + 1, dtype=torch.float64) * step
    start, direction, _ = beam.rays()
    points = start[:, None] + along[None, :, None] * direction[:, None]
    across, deep = points.unbind(-1)
    size = image.new_tensor([(columns - 1) / 2, (rows - 1) / 2]).double().cpu().clamp_min(0.5) * spacing_mm
    chunk = max(1, _AT_ONCE // (points[..., 0].numel() * len(image)))
    found = []
    for angles in beam.angles().split(chunk):
        cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
        place = torch.stack([cosine * across + sine * deep, cosine * deep - sine * across], -1) / size
        grid = place.to(image).reshape(1, -1, len(along), 2).expand(len(image), -1, -1, -1)
        values = functional.grid_sample(image, grid, align_corners=True, padding_mode="zeros")
        found.append(values.sum(-1).reshape(len(image), 1, len(angles), beam.n_detectors) * step)
    return torch.cat(found, 2)
