"""Noise power spectra: measured, and what filtered back-projection must give."""

import math

import torch
from torch import Tensor

from regard.phantoms.lowdose.beams import ParallelBeam
from regard.phantoms.lowdose.kernels import response

__all__ = ["expected_spectrum", "noise_power_spectrum", "radial"]


def noise_power_spectrum(noise: Tensor, pixel_mm: float) -> Tensor:
    """Noise power spectrum of a region, averaged over the batch.

    Parameters
    ----------
    noise
        Noise alone (batch, 1, row, column), such as scans less their mean.
    pixel_mm
        Pixel size [mm].

    Returns
    -------
    Tensor
        (row, column) in the order of `torch.fft.fft2` [unit^2 mm^2]; its integral over frequency is the variance.
    """
    rows, columns = noise.shape[-2:]
    power = torch.fft.fft2(noise.double()).abs().square().mean((0, 1))
    return power * pixel_mm**2 / (rows * columns)


def radial(spectrum: Tensor, pixel_mm: float, n_bins: int) -> tuple[Tensor, Tensor]:
    """Mean of a spectrum (row, column) over rings up to the Nyquist frequency: frequencies [1/mm] and values."""
    axes = [torch.fft.fftfreq(n, pixel_mm, dtype=torch.float64) for n in spectrum.shape]
    distance = torch.hypot(*torch.meshgrid(*axes, indexing="ij"))
    ring = (distance * 2 * pixel_mm * n_bins).floor().long().reshape(-1)
    keep = ring < n_bins
    count = torch.bincount(ring[keep], minlength=n_bins).clamp_min(1)

    def mean(values: Tensor) -> Tensor:
        return torch.bincount(ring[keep], values.reshape(-1)[keep], minlength=n_bins) / count

    return mean(distance), mean(spectrum)


def expected_spectrum(
    beam: ParallelBeam, kernel: str, path_variance: float, size: int, pixel_mm: float, *, images: int = 2
) -> Tensor:
    """Spectrum of white noise of the line integrals after filtered back-projection with linear interpolation.

    ``(pi / M) s^2 a G(f)^2 sinc(f a)^4 / f`` for M views, cells of width a and the filter's response G, summed over
    the ``images`` of the spectrum that the pixels fold back on each side; then blurred as a region of finite size blurs
    it (its autocovariance is seen in full at lag 0 and not at all at the region's width).

    Parameters
    ----------
    beam, kernel
        As in the reconstruction.
    path_variance
        Variance s^2 of a line integral.
    size, pixel_mm
        Of the region and its pixels.

    Returns
    -------
    Tensor
        (row, column) [1/mm^2 mm^2], as `noise_power_spectrum`.
    """
    wide = 8 * size
    axis = torch.fft.fftfreq(wide, pixel_mm, dtype=torch.float64)
    n = 4096
    table = response(beam, kernel, n)
    total = torch.zeros(wide, wide, dtype=torch.float64)
    for up in range(-images, images + 1):
        for across in range(-images, images + 1):
            f = torch.hypot((axis + up / pixel_mm)[:, None], (axis + across / pixel_mm)[None].expand(wide, -1))
            total += _density(f, beam, table, n)
    covariance = torch.fft.ifft2(total).real
    lag = torch.arange(-size, size)
    share = 1 - lag.abs() / size
    seen = covariance[lag % wide][:, lag % wide] * share[:, None] * share[None]
    folded = seen.reshape(2, size, 2, size).sum((0, 2))
    spectrum = torch.fft.fft2(folded).real
    return spectrum * (math.pi / beam.n_views) * path_variance * beam.detector_mm


def _density(f: Tensor, beam: ParallelBeam, table: Tensor, n: int) -> Tensor:
    phase = (f * beam.detector_mm).remainder(1)
    at = torch.minimum(phase, 1 - phase) * n
    low = at.floor().clamp(max=len(table) - 2).long()
    gain = table[low] + (at - low) * (table[low + 1] - table[low])
    return gain.square() * torch.sinc(f * beam.detector_mm).pow(4) / f.clamp_min(1e-12) * (f > 1e-12)
