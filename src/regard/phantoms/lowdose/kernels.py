"""Reconstruction kernels: the ramp, sampled in space, times a window over frequency."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.errors import UnknownNameError
from regard.phantoms.lowdose.beams import Beam, FanBeam

__all__ = ["KERNELS", "filter_views", "response", "window"]

KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "ram-lak": torch.ones_like,
    "shepp-logan": lambda share: torch.sinc(share / 2),
    "cosine": lambda share: torch.cos(math.pi / 2 * share),
    "hamming": lambda share: 0.54 + 0.46 * torch.cos(math.pi * share),
    "hann": lambda share: 0.5 + 0.5 * torch.cos(math.pi * share),
}
"""Name to window over the share of the Nyquist frequency, 0 to 1."""


def window(kernel: str, share: Tensor) -> Tensor:
    """Window of a ``kernel`` at a ``share`` of the detector's Nyquist frequency.

    Raises
    ------
    UnknownNameError
        If there is no such kernel.
    """
    if kernel not in KERNELS:
        raise UnknownNameError.suggest("kernel", kernel, KERNELS)
    return KERNELS[kernel](share.abs())


def _ramp(beam: Beam, n: int) -> Tensor:
    """Ramp at n places, 0 first, wrapped around; Kak and Slaney (1988), equations 3.61 and 3.100."""
    number = torch.arange(n, dtype=torch.float64)
    number = torch.minimum(number, n - number)
    odd = number.remainder(2) == 1
    if isinstance(beam, FanBeam):
        far = 2 * math.pi**2 * (number * beam.step).clamp(max=math.pi / 2).sin().square().clamp_min(1e-300)
        ramp = torch.where(odd, -1 / far, 0.0)
        ramp[0] = 1 / (8 * beam.step**2)
        return ramp * beam.step
    _, _, width = beam.rays()
    ramp = torch.where(odd, -1 / (math.pi * number * width).square().clamp_min(1e-300), 0.0)
    ramp[0] = 1 / (4 * width**2)
    return ramp * width


def response(beam: Beam, kernel: str, n: int) -> Tensor:
    """Frequency response (n // 2 + 1,) of the filter of views for rows of ``n`` cells."""
    share = torch.fft.rfftfreq(n, dtype=torch.float64) * 2
    return torch.fft.rfft(_ramp(beam, n)).real * window(kernel, share)


def filter_views(sinogram: Tensor, beam: Beam, kernel: str) -> Tensor:
    """Filter each view (..., detector), padded so that its ends do not meet."""
    n = 2 ** math.ceil(math.log2(max(64, 2 * beam.n_detectors)))
    spectrum = torch.fft.rfft(sinogram, n=n) * response(beam, kernel, n).to(sinogram)
    return torch.fft.irfft(spectrum, n=n)[..., : beam.n_detectors]
