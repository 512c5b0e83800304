"""From paths to pictures: photons, scatter, noise, and the one display transform of a pair."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.core.errors import InputError
from regard.phantoms.radiograph.attenuation import BEAMS, Beam

__all__ = ["CLEAN", "Display", "Exposure", "detect", "display_of"]


@dataclass(frozen=True)
class Exposure:
    """How the picture is taken.

    Parameters
    ----------
    beam
        Energies, see `BEAMS`.
    photons
        Photons per mm2 that reach the detector when nothing is in between; None: no noise.
    scatter
        Scattered photons relative to the others, averaged over the picture; 0: none.
    spread_mm
        Standard deviation of the scatter on the detector.

    Raises
    ------
    InputError
        If a number is not positive, or the scatter is negative.
    """

    beam: Beam = BEAMS["60 keV"]
    photons: float | None = 4e5
    scatter: float = 0.35
    spread_mm: float = 28.0

    def __post_init__(self) -> None:
        if (self.photons is not None and self.photons <= 0) or self.scatter < 0 or self.spread_mm <= 0:
            raise InputError(
                f"{self.photons} photons, scatter {self.scatter}, spread {self.spread_mm}", "positive numbers"
            )


CLEAN = Exposure(photons=None, scatter=0.0)
"""One energy, no scatter, no noise: log signals add exactly."""


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, (row, column); worked out on a coarse copy, as scatter has no detail."""
    coarse = max(1, int(sigma / 3))
    small = functional.avg_pool2d(image[None, None], coarse, ceil_mode=True, count_include_pad=False)
    sd = sigma / coarse
    reach = min(math.ceil(3 * sd), min(small.shape[-2:]) - 1)
    offset = torch.arange(-reach, reach + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offset / sd).square())
    kernel = kernel / kernel.sum()
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        pad = (0, 0, reach, reach) if shape[2] == -1 else (reach, reach, 0, 0)
        small = functional.conv2d(functional.pad(small, pad, mode="replicate"), kernel.reshape(shape))
    return functional.interpolate(small, image.shape, mode="bilinear", align_corners=False)[0, 0]


def detect(
    water: Tensor, mineral: Tensor, exposure: Exposure, pixel_mm: float, *, letters: Tensor | None = None,
    seed: int = 0, case: str = "",
) -> Tensor:  # fmt: skip
    """Log signal of the detector, minus log of the share of photons that arrive, (row, column).

    Parameters
    ----------
    water, mineral
        Paths [cm of water] and [g/cm2], (row, column).
    exposure
        How it is taken. Scatter and noise act on intensities, not on their logarithms.
    pixel_mm
        Pixel on the detector.
    letters
        Log attenuation of what lies on the cassette; it stops scattered photons as well.
    seed, case
        Key of the noise. The same key gives the same draw of each pixel, so that two pictures of one case differ only
        by what is in them.
    """
    arrived = torch.exp(-exposure.beam.log_signal(water, mineral))
    if exposure.scatter > 0:
        arrived = arrived + exposure.scatter * _blur(arrived, exposure.spread_mm / pixel_mm)
    if letters is not None:
        arrived = arrived * torch.exp(-letters)
    if exposure.photons is None:
        return -torch.log(arrived) if exposure.scatter > 0 else _exact(water, mineral, exposure, letters)
    counts = arrived * exposure.photons * pixel_mm**2
    drawn = randomness.normal(torch.empty(counts.shape), seed, case, "quantum noise")
    noisy = (counts + counts.sqrt() * drawn).clamp(min=1)
    return -torch.log(noisy / (exposure.photons * pixel_mm**2))


def _exact(water: Tensor, mineral: Tensor, exposure: Exposure, letters: Tensor | None) -> Tensor:
    signal = exposure.beam.log_signal(water, mineral)
    return signal if letters is None else signal + letters


@dataclass(frozen=True)
class Display:
    """From log signal to grey in [0, 1]: a straight line, then a power that darkens the lungs.

    Parameters
    ----------
    low, high
        Log signals shown as 0 (black) and 1 (white): bone is white and lung is dark.
    power
        1 for the straight line alone.
    """

    low: float
    high: float
    power: float = 1.4

    def __call__(self, signal: Tensor) -> Tensor:
        """Grey levels of a log signal, of the same shape."""
        return ((signal - self.low) / (self.high - self.low)).clamp(0, 1) ** self.power


def display_of(signal: Tensor, *, saturated: float = 0.01) -> Display:
    """The display that a radiograph's own log signal fixes: a share of its pixels is black, as many are white.

    Its bone-free twin is shown by the same one, so that the two differ only by bone.
    """
    values = signal.flatten().sort().values
    last = len(values) - 1
    low, high = float(values[round(saturated * last)]), float(values[round((1 - saturated) * last)])
    return Display(low, max(high, low + 1e-6))
