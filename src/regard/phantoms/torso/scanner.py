"""A CT scanner: tube voltage, contrast agent, kernel, slice thickness and noise.

The rise of HU with mineral falls with the tube voltage, because calcium's photoelectric absorption does. ``_MINERAL``
holds our numbers, relative to 120 kVp where `regard.phantoms.torso.render.HU_PER_MINERAL` holds; they stand for no
measured scanner. The same is true of ``_IODINE`` for contrast agent. Soft tissue is left as it is at 120 kVp.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.spatial import blur, box_mean
from regard.core.volume import Volume
from regard.phantoms.torso.render import HU_PER_MINERAL, PHASES, Torso

__all__ = ["Scanner", "ct_noise", "scan"]

_MINERAL = {80: 1.34, 100: 1.14, 120: 1.0, 140: 0.91}
"""HU per mineral relative to 120 kVp."""

_IODINE = {80: 1.65, 100: 1.27, 120: 1.0, 140: 0.83}
"""HU per iodine relative to 120 kVp."""

FWHM = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True)
class Scanner:
    """How a torso is scanned.

    Parameters
    ----------
    kvp
        Tube voltage, 80 to 140 [kV].
    contrast_agent
        None, or the phase of the scan after intravenous contrast agent.
    contrast_dose
        Rise of the contrast agent relative to the usual.
    kernel_mm
        Full width at half maximum of the in-plane blur; soft-tissue kernels are about 1 mm and more.
    noise_hu
        Standard deviation of the noise [HU] in a slice of 1 mm pixels and the torso's thickness.
    slice_mm
        Thickness of a slice; None: that of the torso's voxels.
    hu_offset, hu_scale
        Error of calibration: HU is multiplied, then shifted.

    Raises
    ------
    InputError
        If the voltage is out of range, or a width or noise is negative.
    """

    kvp: float = 120.0
    contrast_agent: Literal["arterial", "portal"] | None = None
    contrast_dose: float = 1.0
    kernel_mm: float = 1.0
    noise_hu: float = 12.0
    slice_mm: float | None = None
    hu_offset: float = 0.0
    hu_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 80 <= self.kvp <= 140:
            raise InputError(f"a tube voltage of {self.kvp} kV", "80 to 140 kV")
        if self.contrast_agent not in (None, *PHASES):
            raise InputError(f"contrast_agent='{self.contrast_agent}'", f"None, {' or '.join(PHASES)}")
        if min(self.kernel_mm, self.noise_hu, self.slice_mm or 0.0) < 0:
            raise InputError(
                f"kernel {self.kernel_mm} mm, noise {self.noise_hu} HU, slices {self.slice_mm} mm", "0 or more"
            )

    @property
    def hu_per_mineral(self) -> float:
        """HU that 1 g/cm3 of bone mineral adds at this voltage."""
        return HU_PER_MINERAL * _at(_MINERAL, self.kvp)


def _at(table: dict[int, float], kvp: float) -> float:
    """Linear interpolation of a table over the tube voltage."""
    below = max(v for v in table if v <= kvp)
    above = min(v for v in table if v >= kvp)
    share = 0.0 if above == below else (kvp - below) / (above - below)
    return (1 - share) * table[below] + share * table[above]


def ct_noise(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], kernel_mm: float, seed: int, name: str, draw: str
) -> Tensor:
    """Noise of filtered back-projection in each slice, (i, j, k), of standard deviation 1.

    Its power grows with frequency, as of a ramp filter, and falls with the kernel; slices are independent.
    """
    white = torch.randn(shape, generator=randomness.generator(seed, name, draw))
    fx = torch.fft.fftfreq(shape[0], spacing[0])[:, None]
    fy = torch.fft.fftfreq(shape[1], spacing[1])[None, :]
    f = (fx.square() + fy.square()).sqrt()
    width = max(kernel_mm, 0.6 * max(spacing[:2])) / FWHM
    # Power of a ramp is |f|; a little is left at 0, as in a scanner's own images.
    gain = ((f + 0.01).sqrt() * torch.exp(-2 * (math.pi * f * width).square()))[..., None]
    noise = torch.fft.ifftn(torch.fft.fftn(white, dim=(0, 1)) * gain, dim=(0, 1)).real
    return noise / gain.square().mean().sqrt()


def scan(torso: Torso, scanner: Scanner | None = None, seed: int = 0, case: int | str = 0) -> Volume:
    """Scan a torso.

    Parameters
    ----------
    torso
        What is scanned.
    scanner
        How; None: 120 kV, no contrast agent, noise of 12 HU.
    seed, case
        Of the noise; the same noise for every torso with the same numbers, so that factors can be compared.

    Returns
    -------
    Volume
        HU on the torso's grid, at least -1024.
    """
    scanner = scanner or Scanner()
    dense = torso.mineral.tensor + torso.calcium.tensor
    hu = torso.hu.tensor + (scanner.hu_per_mineral - HU_PER_MINERAL) * dense
    if scanner.contrast_agent is not None:
        rise = torso.uptake.tensor[PHASES.index(scanner.contrast_agent)][None]
        hu = hu + scanner.contrast_dose * _at(_IODINE, scanner.kvp) * rise
    spacing = torso.hu.spacing
    # The voxels have already blurred the torso with their own width.
    sigma = [math.sqrt(max(0.0, (scanner.kernel_mm / FWHM) ** 2 - s**2 / 12)) / s for s in spacing[:2]]
    hu = blur(hu[None], [*sigma, 0.0])[0]
    if scanner.slice_mm is not None and scanner.slice_mm > spacing[2] and hu.shape[-1] > 1:
        along = hu.movedim(-1, 1).flatten(2).movedim(1, 2)
        along = box_mean(along, round(scanner.slice_mm / spacing[2]))
        hu = along.movedim(2, 1).reshape(1, hu.shape[-1], *hu.shape[1:3]).movedim(1, -1)
    if scanner.noise_hu > 0:
        name = f"{case:05d}" if isinstance(case, int) else case
        noise = ct_noise(torso.hu.shape, spacing, scanner.kernel_mm, seed, name, "scan")
        scale = 1.0 / math.sqrt(max(spacing[0] * spacing[1], 1e-6))
        hu = hu + scanner.noise_hu * min(1.0, scale) * noise[None]
    return torso.hu.with_tensor((hu * scanner.hu_scale + scanner.hu_offset).clamp(min=-1024).float())
