"""Noise as strong as a map says: what is added where, and how the loss changes with its strength."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.explainer import no_gradient
from regard.core.foreground import background_level
from regard.core.recording import Network
from regard.core.spatial import blur, box_mean, expand_cases, interpolate, space, space_axes

__all__ = [
    "FAMILIES",
    "Estimator",
    "Foreground",
    "NoiseSettings",
    "noise_gradient",
    "roughness",
]

_NO_BACKGROUND = 0.99

FAMILIES = {
    "gaussian": "white normal noise",
    "correlated": "normal noise blurred to the scales, one after the other, of the same strength at every place",
    "blur": "random shares of the way to the blurred image, at the scales one after the other",
    "local-mean": "random shares of the way to the mean of what surrounds a place, at the scales one after the other",
}
"""Name and meaning of each noise family."""

Foreground: TypeAlias = Literal["auto", "all"] | float
"""Where noise is added: where any channel is above its smallest value (everywhere, if hardly a place has that),
everywhere, or where one is above a number."""

Estimator: TypeAlias = Literal["paired", "pathwise"]
"""How the derivative of the loss is estimated; see `noise_gradient`."""


@dataclass(frozen=True)
class NoiseSettings:
    """What is added to an image x: x + sigma(B) * disturbance, with sigma(B) = s_min + B (s_max - s_min).

    Parameters
    ----------
    family
        A name of `FAMILIES`.
    s_min, s_max
        Strength where B is 0 and where it is 1: standard deviations of normal noise, in ``unit``; of ``"blur"`` and
        ``"local-mean"`` the share of the way to the filler. With s_min above 0 (U-Noise has 1, with s_max 5) noise lies
        everywhere, also where the map says that none is borne; so it is 0 by default.
    unit
        ``"image"``: the standard deviation of the case's own foreground, per channel; ``"input"``: the intensities that
        the network takes.
    scales
        Standard deviations of the blurs and half widths of the local means, in voxels.
    foreground
        See `Foreground`: noise on a constant background costs nothing and would only inflate the mean of log B.

    Raises
    ------
    InputError
        If a setting is not one of these, or out of its range.
    """

    family: str = "gaussian"
    s_min: float = 0.0
    s_max: float = 1.0
    unit: Literal["image", "input"] = "image"
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    foreground: Foreground = "auto"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(f"noise family '{self.family}'", f"one of {', '.join(FAMILIES)}")
        if not 0 <= self.s_min < self.s_max:
            raise InputError(f"s_min={self.s_min} and s_max={self.s_max}", "0 <= s_min < s_max")
        if self.unit not in ("image", "input"):
            raise InputError(f"unit '{self.unit}'", "image or input")
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"scales={self.scales}", "numbers of voxels above 0, at least one")
        if isinstance(self.foreground, str) and self.foreground not in ("auto", "all"):
            raise InputError(f"foreground '{self.foreground}'", "auto, all or a number in the network's input units")
        if self._fills and self.s_max > 1:
            raise InputError(f"s_max={self.s_max} for {self.family}", "a share of at most 1", "set s_max=1")

    @property
    def _fills(self) -> bool:
        return self.family in ("blur", "local-mean")

    def sigma(self, noise: Tensor) -> Tensor:
        """Strength of the noise where its map is ``noise``, B."""
        return self.s_min + noise * (self.s_max - self.s_min)

    def inside(self, x: Tensor) -> Tensor:
        """Foreground of ``x`` (batch, channel, \\*space): booleans (batch, 1, \\*space); a bare image is all of it."""
        if self.foreground == "all":
            return torch.ones_like(x[:, :1], dtype=torch.bool)
        low: Tensor | float
        if self.foreground == "auto":
            levels = torch.stack([background_level(channel) for channel in x.flatten(0, 1)])
            low = levels.reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        else:
            low = float(self.foreground)
        found = (x > low).any(1, keepdim=True)
        share = found.flatten(1).double().mean(1)
        # A darkest value that hardly any place has is no background.
        bare = (share == 0) | (share > _NO_BACKGROUND) if self.foreground == "auto" else share == 0
        return found | expand_cases(bare, found)

    def deviation(self, x: Tensor, inside: Tensor) -> Tensor:
        """Standard deviation of noise of strength 1, (batch, channel, 1, ...), in the network's input units.

        A channel that is constant over the foreground gets 1.
        """
        axes = space_axes(x)
        if self.unit == "input":
            return torch.ones_like(x.amax(axes, keepdim=True))
        exact, n = x.double(), inside.sum(axes, keepdim=True)
        mean = (exact * inside).sum(axes, keepdim=True) / n
        variance = ((exact - mean).square() * inside).sum(axes, keepdim=True) / n
        return torch.where(variance > 0, variance.sqrt(), 1.0).to(x)

    def disturbance(self, x: Tensor, deviation: Tensor, number: int, seed: int, case: str, draw: str) -> Tensor:
        """What is added to one case at strength 1.

        Parameters
        ----------
        x
            The case (1, channel, \\*space).
        deviation
            Of `deviation`, for this case.
        number
            Of the draw: the scales are gone through one after the other.
        seed, case, draw
            Key of the random numbers.
        """
        scale = self.scales[number % len(self.scales)]
        if self._fills:
            near = 2 * max(1, round(scale)) + 1
            filler = blur(x, scale) if self.family == "blur" else box_mean(x, near)
            cells = [max(1, -(-n // near)) for n in space(x)]
            share = interpolate(randomness.uniform((1, 1, *cells), seed, case, draw), space(x)).to(x)
            return share * (filler - x)
        drawn = randomness.normal(x, seed, case, draw)
        if self.family == "correlated":
            for axis, matrix in _blurs(x, scale):
                drawn = _along(drawn, matrix, axis)
        return deviation * drawn

    def covariance(self, values: Tensor, deviation: Tensor, number: int) -> Tensor:
        """The noise's covariance matrix times ``values`` (batch, channel, \\*space), for draw ``number``."""
        if self.family == "correlated":
            blurs = _blurs(values, self.scales[number % len(self.scales)])
            for axis, matrix in blurs:
                values = _along(values, matrix.T, axis)
            for axis, matrix in blurs:
                values = _along(values, matrix, axis)
        return deviation.square() * values

    def check(self, estimator: str) -> None:
        """See that the derivative can be estimated in this way.

        Raises
        ------
        InputError
            If it is an unknown one, or the paired one for noise that is not normal.
        """
        if estimator not in ("paired", "pathwise"):
            raise InputError(f"estimator '{estimator}'", "paired or pathwise")
        if estimator == "paired" and self._fills:
            raise InputError(
                f"the estimator paired for the noise family {self.family}", "normal noise", "set estimator=pathwise"
            )


def _along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    return torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)


def _blurs(x: Tensor, scale: float) -> list[tuple[int, Tensor]]:
    """For each axis the matrix that blurs white noise along it to noise of variance 1 at every place."""
    found = []
    for axis in space_axes(x):
        if x.shape[axis] > 1:
            places = torch.eye(x.shape[axis], dtype=x.dtype, device=x.device)[:, None]
            matrix = blur(places, scale)[:, 0].T
            found.append((axis, matrix / matrix.square().sum(1, keepdim=True).sqrt()))
    return found


def noise_gradient(
    value: Callable[[list[Tensor]], Tensor],
    inputs: Sequence[Tensor],
    sigmas: Sequence[Tensor],
    disturbances: Sequence[Tensor],
    reference: Tensor | None,
    covariances: Sequence[Callable[[Tensor], Tensor]] | None = None,
    *,
    network: Network | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Loss of each noisy item, and an estimate of its derivative with respect to the noise's strength at each place.

    Parameters
    ----------
    value
        From noisy inputs, each (n, channel, \\*space), to f (n,), or to the loss itself where ``reference`` is None.
    inputs, sigmas, disturbances
        x, the strength (n, 1, \\*space) and what is added at strength 1: each input's.
    reference
        y: the loss is (f - y)^2.
    covariances
        For the paired estimate: each input's covariance of the noise of strength 1, as a function of a tensor.
    network
        What ``value`` asks, named where no gradient passes through it.

    Returns
    -------
    tuple
        Loss (n,) and per input the derivative (n, 1, \\*space).

    Raises
    ------
    CapabilityError
        If no gradient ties the value to any input.

    Notes
    -----
    The pathwise estimate 2 (f - y) g eta, with g the derivative of f at the noisy image, is unbiased; from one draw
    its error at each of n places is about sqrt(n) times its size. The paired one takes each draw with both signs. With
    e the mean and o half the difference of f - y over the pair, the pathwise estimate is
    2 o m eta + e (g+ - g-) eta, m = (g+ + g-) / 2: what the variance of f costs, and what its shift costs. For normal
    noise of covariance C, the identities of Bonnet and Price give the first part's expectation as that of
    2 m C(sigma m), but for third derivatives of f; this takes its place, as it has no cross terms between places. So
    the paired estimate is unbiased for a quadratic f, and exact from one pair for a linear one. The second part must
    stay: noise shifts the output of a ReLU network, and without it the shift is not held back at all.
    """

    def slopes_at(sign: int) -> tuple[Tensor, list[Tensor]]:
        noisy = [
            (x + sign * sigma.to(x) * eta).detach().requires_grad_()
            for x, sigma, eta in zip(inputs, sigmas, disturbances, strict=True)
        ]
        with torch.enable_grad():
            # A copy: an in-place first layer must not write to what the derivative is taken by.
            values = value([z.clone() for z in noisy])
            tied = values.requires_grad
            found = torch.autograd.grad(values.sum(), noisy, allow_unused=True) if tied else ()
        if all(g is None for g in found):
            raise no_gradient(network, "the input")
        return values.detach(), [torch.zeros_like(z) if g is None else g for g, z in zip(found, noisy, strict=True)]

    def wide(values: Tensor, like: Tensor) -> Tensor:
        return expand_cases(values, like).to(like)

    values, slopes = slopes_at(1)
    pairs = list(zip(slopes, disturbances, strict=True))
    if reference is None:
        return values, tuple((g * eta).sum(1, keepdim=True) for g, eta in pairs)
    off = values - reference.to(values)
    if covariances is None:
        return off.square(), tuple((2 * wide(off, g) * g * eta).sum(1, keepdim=True) for g, eta in pairs)
    other, others = slopes_at(-1)
    off_other = other - reference.to(values)
    shift, made = (off + off_other) / 2, []
    for (g, eta), h, sigma, covariance in zip(pairs, others, sigmas, covariances, strict=True):
        mean = (g + h) / 2
        made.append((2 * mean * covariance(sigma.to(g) * mean) + wide(shift, g) * (g - h) * eta).sum(1, keepdim=True))
    return (off.square() + off_other.square()) / 2, tuple(made)


def roughness(noise: Tensor, inside: Tensor) -> Tensor:
    """Total variation of a map (batch, 1, \\*space) per foreground voxel, (batch,); only between foreground voxels."""
    total = noise.new_zeros(noise.shape[0])
    for axis in space_axes(noise):
        n = noise.shape[axis]
        both = inside.narrow(axis, 1, n - 1) & inside.narrow(axis, 0, n - 1)
        step = noise.narrow(axis, 1, n - 1) - noise.narrow(axis, 0, n - 1)
        total = total + (step.abs() * both).flatten(1).sum(1)
    return total / inside.flatten(1).sum(1)
