"""Direct search: the largest change of the image that the output does not show."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.core.spatial import blur, expand_cases, interpolate, n_space, space, space_axes
from regard.explainers.generative.detectability import Detectability

__all__ = ["Search", "enforce", "hidden_changes", "hidden_noise", "target_pattern"]

Function = Callable[[Tensor], Tensor]

_BAND = 0.7
"""Width of the blur that keeps a change band-limited, as a share of its blobs': finer detail would be adversarial."""
_PERIOD = 6.0
"""Distance of two blobs, in their standard deviations."""
_FIRMEST, _SOFTEST = 40.0, 1.0


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched, and within which limits.

    Parameters
    ----------
    function
        Images (batch, channel, \\*space) to outputs (batch, channel, \\*space).
    image
        x (1, channel, \\*space).
    inside, outside
        Visibility in the image and in the output.
    tolerance
        Largest d' of the output's change.
    limit
        Largest change of a voxel.
    n_steps
        Steps of Adam.
    seed, case
        Key of the draws.
    """

    function: Function
    image: Tensor
    inside: Detectability
    outside: Detectability
    tolerance: float
    limit: float
    n_steps: int = 40
    seed: int = 0
    case: str = "case"

    def output(self) -> Tensor:
        """f(x)."""
        with torch.no_grad():
            return self.function(self.image)


def target_pattern(search: Search, scale: float, draw: int) -> Tensor:
    """Blobs of random sign on a jittered lattice of random offset: (1, channel, \\*space), peak 1."""
    size = space(search.image)
    generator = randomness.generator(search.seed, search.case, f"targets {draw}")
    impulses = torch.zeros(size, dtype=torch.float64)
    along = []
    for n in size:
        period = min(float(n), max(_PERIOD * scale, 4.0))
        offset = float(torch.rand(1, generator=generator)) * period
        along.append(torch.arange(offset, n, period, dtype=torch.float64))
    grid = torch.cartesian_prod(*along).reshape(-1, len(size))
    jitter = (torch.rand(grid.shape, generator=generator, dtype=torch.float64) - 0.5) * scale
    place = (grid + jitter).round().long()
    place = torch.stack([place[:, a].clamp(0, n - 1) for a, n in enumerate(size)], 1)
    sign = torch.where(torch.rand(len(place), generator=generator) < 0.5, -1.0, 1.0).double()
    impulses[tuple(place.T)] = sign
    pattern = blur(impulses[None, None], scale)
    pattern = pattern / pattern.abs().max().clamp_min(1e-30)
    return pattern.to(search.image).expand_as(search.image[:1])


def hidden_changes(search: Search, scales: Sequence[float], draws: Sequence[int]) -> Tensor:
    """Changes made of blobs that are as visible in the image as can be, and not in the output.

    For each draw: blobs of one scale at random places with random signs. The mean visibility of all blobs in the image
    is raised by Adam while a growing penalty holds the output's d' below the tolerance; the change stays band-limited
    and below the limit. At the end the tolerance is enforced, so that what is returned keeps it.

    Parameters
    ----------
    search
        What is searched.
    scales
        Scale of each draw's blobs [voxel].
    draws
        Numbers of the draws, their keys.

    Returns
    -------
    Tensor
        Changes (draw, channel, \\*space).
    """
    patterns = torch.cat([target_pattern(search, s, d) for s, d in zip(scales, draws, strict=True)])
    areas = torch.tensor([(2 * math.pi * s**2) ** (n_space(search.image) / 2) for s in scales]).to(search.image)
    deviations = torch.stack([search.inside.at(s).deviations[0].mean() for s in scales])
    n_channels = patterns.shape[1]
    n_blobs = (patterns.abs().flatten(1).sum(1) / areas / n_channels).clamp_min(1.0)
    # Blurring the change by w and taking it at the blobs' centres is the same as weighting it by blurred impulses.
    weight = patterns / expand_cases(deviations * areas * n_blobs * n_channels, patterns)
    start = 0.2 * search.limit * patterns

    def made(free: Tensor) -> Tensor:
        smooth = torch.cat([blur(f[None], _BAND * s) for f, s in zip(free, scales, strict=True)])
        return search.limit * torch.tanh(smooth / search.limit)

    def gain(change: Tensor) -> Tensor:
        return (weight * change).flatten(1).sum(1)

    change = _ascend(search, start, made, gain, n_blobs * areas)
    return enforce(search, change, [max(2.0, s) for s in scales])


def hidden_noise(search: Search, noise: Tensor) -> Tensor:
    """Changes close to ``noise`` (draw, channel, \\*space) that the output does not show: other realisations."""
    scale = noise.square().flatten(1).mean(1).sqrt().clamp_min(1e-12)

    def gain(change: Tensor) -> Tensor:
        return -10 * (change - noise).square().flatten(1).mean(1) / scale.square()

    areas = torch.full((len(noise),), float(noise[0, 0].numel()) / 8).to(noise)
    change = _ascend(search, noise, lambda free: free, gain, areas)
    return enforce(search, change, [2.0] * len(noise))


def _ascend(search: Search, start: Tensor, made: Function, gain: Callable[[Tensor], Tensor], areas: Tensor) -> Tensor:
    """Raise ``gain`` of ``made(free)`` by Adam, under a growing penalty for each case."""
    before = search.output()
    free = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([free], lr=0.08 * search.limit)
    for step in range(search.n_steps):
        share = step / max(1, search.n_steps - 1)
        firm = _SOFTEST * (_FIRMEST / _SOFTEST) ** share
        for group in optimiser.param_groups:
            group["lr"] = 0.08 * search.limit * (1 - 0.9 * share)
        change = made(free)
        seen = search.outside.responses(search.function(search.image + change) - before).abs() / search.tolerance
        over = functional.relu(seen - 0.9).square().amax(0).flatten(1).sum(1)
        loss = (firm * over / areas - gain(change)).sum()
        (free.grad,) = torch.autograd.grad(loss, free)
        optimiser.step()
    return made(free).detach()


@torch.no_grad()
def enforce(search: Search, change: Tensor, reach: Sequence[float], *, n_tries: int = 8) -> Tensor:
    """Shrink a change where the output shows it, then as a whole, until the output's d' is within the tolerance.

    Parameters
    ----------
    search
        What is searched.
    change
        (batch, channel, \\*space).
    reach
        How far around a place of the output the change is shrunk [voxel], for each case.
    n_tries
        Rounds of local shrinking.

    Returns
    -------
    Tensor
        Changes of the same shape, within the tolerance (0 where nothing else helps).
    """
    before = search.output()

    def seen(change: Tensor) -> Tensor:
        found = search.outside.map(search.function(search.image + change) - before)
        return interpolate(found, space(change))

    for _ in range(n_tries):
        there = seen(change)
        if bool((there.flatten(1).amax(1) <= search.tolerance).all()):
            return change
        gain = (0.97 * search.tolerance / there.clamp_min(1e-12)).clamp(max=1.0)
        gains = []
        for g, r in zip(gain, reach, strict=True):
            # The smallest gain nearby, smoothed: what lies around a place made it visible.
            low = _smallest_nearby(g[None], math.ceil(r))
            gains.append(blur(low, r / 2))
        change = change * torch.cat(gains)
    for _ in range(12):
        worst = seen(change).flatten(1).amax(1)
        if bool((worst <= search.tolerance).all()):
            break
        shrink = torch.where(worst > search.tolerance, 0.97 * search.tolerance / worst, 1.0)
        change = change * expand_cases(shrink, change)
    return change


def _smallest_nearby(x: Tensor, radius: int) -> Tensor:
    for axis in space_axes(x):
        n = x.shape[axis]
        padded = torch.cat([x.narrow(axis, 0, 1)] * radius + [x] + [x.narrow(axis, n - 1, 1)] * radius, axis)
        x = padded.unfold(axis, 2 * radius + 1, 1).amin(-1)
    return x
