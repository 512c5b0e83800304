"""How visible a change of an image is in its noise, at the place and the scale where it is most visible.

A non-prewhitening matched filter for a Gaussian blob of each scale: ``d'(r, s) = <w_rs, change> / sd <w_rs, noise>``.
The standard deviation is taken over repeated noise at each place, so nothing is assumed of the noise's covariance; it
is averaged over neighbouring places, as few draws are noisy themselves. A global norm would let a lesion vanish unseen
in a large image; the largest d' over places and scales does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.spatial import blur, space

__all__ = ["Detectability", "usable_scales"]

_LEAST = 0.05
"""Smallest standard deviation, as a share of the scale's median: a dead corner of the output must not decide."""


def usable_scales(scales: Sequence[float], size: Sequence[int]) -> tuple[float, ...]:
    """The ``scales`` [voxel] that fit six times into the longest side of an image."""
    fitting = tuple(float(s) for s in scales if 6 * s <= max(size))
    return fitting or (float(min(scales)),)


@dataclass(frozen=True, eq=False)
class Detectability:
    """Matched filters of Gaussian blobs, calibrated on repeated noise.

    Parameters
    ----------
    scales
        Standard deviations of the blobs [voxel]; 0 is a voxel alone.
    deviations
        Of the noise's response to each scale (1, channel, \\*space).
    """

    scales: tuple[float, ...]
    deviations: tuple[Tensor, ...]

    @classmethod
    def of_noise(cls, noise: Tensor, scales: Sequence[float]) -> "Detectability":
        """Calibrate on ``noise`` (draw, channel, \\*space), of mean 0.

        Raises
        ------
        InputError
            If there are fewer than 4 draws, or nothing varies.
        """
        if len(noise) < 4:
            raise InputError(f"{len(noise)} draws of noise", "at least 4")
        found = []
        for scale in scales:
            power = blur(noise.double(), scale).square().mean(0, keepdim=True)
            smooth = blur(power, max(4.0, 2 * scale)).sqrt()
            if not float(smooth.max()) > 0:
                raise InputError("an output that noise does not change", "one that depends on the image")
            found.append(smooth.clamp_min(_LEAST * float(smooth.median())).clamp_min(1e-12).to(noise))
        return cls(tuple(float(s) for s in scales), tuple(found))

    def responses(self, change: Tensor) -> Tensor:
        """Signed d' (scale, batch, channel, \\*space) of a ``change`` (batch, channel, \\*space)."""
        return torch.stack([blur(change, s) / d for s, d in zip(self.scales, self.deviations, strict=True)])

    def map(self, change: Tensor) -> Tensor:
        """Largest |d'| over scales and channels at each place, (batch, 1, \\*space)."""
        return self.responses(change).abs().amax(0).amax(1, keepdim=True)

    def largest(self, change: Tensor) -> Tensor:
        """Largest |d'| over scales, channels and places, (batch,)."""
        return self.map(change).flatten(1).amax(1)

    def at(self, scale: float) -> "Detectability":
        """One scale alone."""
        n = self.scales.index(scale)
        return Detectability((scale,), (self.deviations[n],))

    @property
    def size(self) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        return space(self.deviations[0])
