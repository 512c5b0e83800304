"""The noise of an image, estimated from the image itself: what "repeated" means for one scan."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, ShapeError
from regard.core.spatial import blur, expand_cases, space, space_axes, windows

__all__ = ["DrawnNoise", "Noise", "NoiseModel", "estimate_noise"]

_PATCH = 12
_STRUCTURE = 2.0
"""Width of the blur that structure survives [voxel]."""
_NOISY = 0.3
"""A patch whose blurred variance is a smaller share of its variance is taken for noise alone."""
_FEWEST = 4
"""With fewer such patches the noise is taken as white."""
_CONSTANT = 1e-9


class Noise(Protocol):
    """What a search needs to know of an image's noise."""

    @property
    def deviation(self) -> float:
        """Standard deviation of a voxel."""

    def draw(self, like: Tensor, draws: range, *, seed: int = 0, case: str = "case") -> Tensor:
        """Noise (draw, channel, \\*space), keyed by draw."""


@dataclass(frozen=True, eq=False)
class DrawnNoise:
    """Noise of which there are draws: of a place that was scanned again and again.

    Parameters
    ----------
    draws
        (draw, channel, \\*space), of mean 0.

    Notes
    -----
    The draws themselves come first. Further ones are sums of them with Gaussian weights, which have the same
    covariance, wherever in the image.
    """

    draws: Tensor

    @property
    def deviation(self) -> float:
        """Standard deviation of a voxel."""
        return float(self.draws.double().square().mean().sqrt())

    def draw(self, like: Tensor, draws: range, *, seed: int = 0, case: str = "case") -> Tensor:
        """Noise (draw, channel, \\*space), keyed by draw; parameters as `NoiseModel.draw`.

        Raises
        ------
        ShapeError
            If ``like`` is not of the draws' shape.
        """
        if like.shape[1:] != self.draws.shape[1:]:
            raise ShapeError(f"noise of {tuple(self.draws.shape[1:])} for {tuple(like.shape[1:])}", "one shape")
        known, n = self.draws.to(like), len(self.draws)
        found = []
        for k in draws:
            if k < n:
                found.append(known[k])
                continue
            weights = randomness.normal(known.new_empty(n), seed, case, f"weights {k}") / n**0.5
            found.append((known * expand_cases(weights, known)).sum(0))
        return torch.stack(found)


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Stationary Gaussian noise.

    Parameters
    ----------
    amplitude
        Square root of the power of each frequency (\\*space), in the order of `torch.fft.fftn`; its mean square is the
        variance.
    channels
        Channels that are drawn; images that repeat one channel repeat its noise.
    repeats
        How often each drawn channel comes.
    origin
        How it was found, in words.
    """

    amplitude: Tensor
    channels: int
    repeats: int
    origin: str

    @property
    def deviation(self) -> float:
        """Standard deviation of a voxel."""
        return float(self.amplitude.double().square().mean().sqrt())

    def scaled(self, deviation: float) -> "NoiseModel":
        """The same spectrum at another standard deviation.

        Raises
        ------
        InputError
            If it is not above 0.
        """
        if not deviation > 0:
            raise InputError(f"noise of standard deviation {deviation:g}", "a number above 0")
        origin = f"{self.origin}, scaled to the standard deviation that was given"
        return NoiseModel(self.amplitude * (deviation / self.deviation), self.channels, self.repeats, origin)

    def draw(self, like: Tensor, draws: range, *, seed: int = 0, case: str = "case") -> Tensor:
        """Noise (draw, channel, \\*space) of the type and device of ``like`` (1, channel, \\*space); keyed by draw.

        For an image smaller than the one that the noise was estimated of, a part of it is drawn.

        Raises
        ------
        InputError
            If ``like`` is larger.
        """
        size = tuple(self.amplitude.shape)
        if any(n > m for n, m in zip(space(like), size, strict=True)):
            raise InputError(f"noise of an image of {size} for one of {space(like)}", "an image at most as large")
        one = like.new_empty(1, self.channels, *size)
        white = torch.cat([randomness.normal(one, seed, case, f"noise {n}") for n in draws])
        axes = space_axes(white)
        shaped = torch.fft.ifftn(torch.fft.fftn(white, dim=axes) * self.amplitude.to(white), dim=axes).real
        shaped = shaped[(..., *[slice(n) for n in space(like)])]
        return shaped.repeat(1, self.repeats, *[1] * len(axes))


def estimate_noise(x: Tensor, *, patch: int = _PATCH) -> NoiseModel:
    """Noise of one image from its patches that hold the least structure.

    Patches whose blurred variance is a small share of their variance hold little but noise. Of these, the middle half
    by variance is taken; their mean autocovariance, less a plane in each, is the noise's, as far as half a patch. Where
    there are fewer than four, the noise is taken as white, with the median absolute second difference as its size.

    Parameters
    ----------
    x
        Image (1, channel, \\*space).
    patch
        Side of a patch [voxel], or the image's where that is shorter.

    Raises
    ------
    InputError
        If the image is constant.
    """
    n = x.shape[1]
    same = n > 1 and all(torch.equal(x[:, 0], x[:, c]) for c in range(1, n))
    image = x.detach().double()[:, :1] if same else x.detach().double()
    sizes = [min(patch, s) for s in space(image)]
    steps = [max(1, s // 2) for s in sizes]
    cut = [c[w] for w in windows(space(image), sizes, steps) for c in image[0]]
    patches = _flattened(torch.stack(cut)[:, None])
    axes = space_axes(patches)
    power = patches.square().mean(axes).flatten()
    varying = power > _CONSTANT * power.max()
    if not bool(varying.any()):
        raise InputError(
            f"an image of one value, {float(image.flatten()[0]):g}", "one with noise", "give --noise (noise= in Python)"
        )
    patches, power = patches[varying], power[varying]
    structure = blur(patches, _STRUCTURE).square().mean(axes).flatten() / power
    noisy = torch.nonzero(structure < _NOISY).flatten()
    if len(noisy) < _FEWEST:
        return _white(image, n // image.shape[1], x)
    # Clipped air below and leftover edges above: the middle half by variance.
    order = noisy[power[noisy].argsort()]
    quiet = order[len(order) // 4 : max(len(order) // 4 + 1, len(order) - len(order) // 4)]
    double = [2 * s for s in sizes]
    spectrum = torch.fft.fftn(patches[quiet], s=double, dim=axes).abs().square().mean((0, 1))
    covariance = torch.fft.ifftn(spectrum).real
    amplitude = _spread_out(covariance, space(image)).clamp_min(0).sqrt()
    deviation = float(power[quiet].mean().sqrt())
    amplitude = amplitude * (deviation / amplitude.square().mean().sqrt().clamp_min(1e-300))
    said = " x ".join(map(str, sizes))
    origin = f"autocovariance of the {len(quiet)} patches of {said} voxels with the least structure of {len(cut)}"
    return NoiseModel(amplitude.to(x), image.shape[1], n // image.shape[1], origin)


def _white(image: Tensor, repeats: int, like: Tensor) -> NoiseModel:
    """White noise of the size that second differences along all axes say, which smooth structure does not reach."""
    rough, gain = image, 1.0
    for axis in space_axes(image):
        if image.shape[axis] > 2:
            rough, gain = rough.diff(n=2, dim=axis), gain * math.sqrt(6.0)
    moving = rough.abs()[rough != 0]
    if not len(moving):
        raise InputError("an image without noise", "one with noise", "give --noise (noise= in Python)")
    deviation = float(moving.median()) / 0.6745 / gain
    amplitude = torch.full(space(image), deviation).to(like)
    origin = "median second difference, taken as white: no four patches hold noise alone"
    return NoiseModel(amplitude, image.shape[1], repeats, origin)


def _flattened(patches: Tensor) -> Tensor:
    """Patches (patch, 1, \\*space) less their mean and their slope along each axis."""
    axes = space_axes(patches)
    patches = patches - patches.mean(axes, keepdim=True)
    for axis in axes:
        n = patches.shape[axis]
        if n < 3:
            continue
        ramp = torch.linspace(-1, 1, n, dtype=patches.dtype, device=patches.device)
        ramp = ramp.reshape([n if a == axis else 1 for a in range(patches.ndim)])
        patches = patches - ramp * (patches * ramp).mean(axes, keepdim=True) / (ramp.square().mean())
    return patches


def _spread_out(covariance: Tensor, size: tuple[int, ...]) -> Tensor:
    """Power spectrum on the grid ``size`` of sums of products at lags up to a patch, twice as wide along each axis."""
    for axis, n in enumerate(size):
        patch = covariance.shape[axis] // 2
        lag = torch.arange(2 * patch, device=covariance.device)
        lag = torch.where(lag < patch, lag, lag - 2 * patch)
        # As many products as the lag leaves; beyond half a patch they are too few and fade out.
        fade = 0.5 + 0.5 * torch.cos(math.pi * (4 * lag.abs() / patch - 1).clamp(0, 1))
        weight = (fade / (patch - lag.abs()).clamp_min(1)).to(covariance)
        moved = (covariance.movedim(axis, -1) * weight).movedim(-1, axis)
        shape = list(moved.shape)
        shape[axis] = n
        covariance = moved.new_zeros(shape).index_add(axis, lag % n, moved)
    return torch.fft.fftn(covariance).real
