"""Onto the level set f = f(x): Gauss-Newton in a latent space."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.spatial import blur, expand_cases

__all__ = ["onto_level_set", "smooth_level_set"]

Function = Callable[[Tensor], Tensor]


def onto_level_set(
    function: Function,
    start: Tensor,
    wanted: Tensor,
    *,
    n_steps: int = 4,
    rank_tolerance: float = 1e-6,
    largest: float = math.inf,
) -> Tensor:
    """Move latents the shortest way to where the function has the wanted value.

    Each step solves ``J dz = wanted - f(z)`` for the smallest dz, so that nothing moves along the level set. For a
    linear f and latents drawn from N(0, I) the result is a draw from the conditional Gaussian. A step that leads
    farther away is shortened, and left out where that does not help.

    Parameters
    ----------
    function
        Latents (batch, latent) to anything (batch, ...).
    start
        (batch, latent).
    wanted
        Value (1, ...) or (batch, ...).
    n_steps
        Gauss-Newton steps.
    rank_tolerance
        Singular values below this share of the largest count as 0.
    largest
        Longest step.

    Returns
    -------
    Tensor
        (batch, latent).
    """
    z = start.detach()
    for _ in range(n_steps):
        moved: list[Tensor] = []
        for one in z:
            output, jacobian = _jacobian(function, one)
            goal = wanted[:1] if len(wanted) == 1 else wanted[len(moved)][None]
            rest = goal - output
            step = torch.linalg.pinv(jacobian, rtol=rank_tolerance) @ rest.flatten().double()
            step = step * min(1.0, largest / max(float(step.norm()), math.ulp(0.0)))
            moved.append(_shortened(function, one, step.to(one), goal, float(rest.norm())))
        z = torch.stack(moved)
    return z.detach()


_AT_ONCE = 8
"""Columns of a Jacobian that are computed together; more only take memory."""


def _jacobian(function: Function, point: Tensor) -> tuple[Tensor, Tensor]:
    """Value (1, ...) at a latent (latent,), and all columns of the Jacobian (output, latent) in float64."""
    columns, value = [], None
    for part in torch.eye(len(point)).to(point).split(_AT_ONCE):
        # A copy for each latent, each with its own tangent.
        x = point.expand(len(part), -1).clone().requires_grad_(True)
        with torch.enable_grad():
            output = function(x)
            probe = torch.zeros_like(output, requires_grad=True)
            (back,) = torch.autograd.grad(output, x, probe, create_graph=True)
            (found,) = torch.autograd.grad(back, probe, part)
        columns.append(found.reshape(len(part), -1).T.double())
        value = output[:1].detach()
    assert value is not None
    return value, torch.cat(columns, 1)


_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)
"""Of a step, tried in turn."""


@torch.no_grad()
def _shortened(function: Function, z: Tensor, step: Tensor, goal: Tensor, before: float) -> Tensor:
    for share in _SHARES:
        there = z + share * step
        if float((function(there[None]) - goal).norm()) <= before:
            return there
    return z


def smooth_level_set(
    function: Function,
    image: Tensor,
    change: Tensor,
    scale: float,
    *,
    n_steps: int = 6,
    tolerance: float = 0.0,
    limit: float = math.inf,
) -> Tensor:
    """Move changes of an image onto the level set of a scalar, by the least smooth field that does it.

    Gauss-Newton with the metric of blurred white noise: the correction is ``B B^T grad f`` with B a Gaussian blur, so
    that it is as smooth as the change itself, and not adversarial.

    Parameters
    ----------
    function
        Images (batch, channel, \\*space) to values (batch,).
    image
        x (1, channel, \\*space).
    change
        (batch, channel, \\*space).
    scale
        Standard deviation of the blur [voxel].
    n_steps
        At most so many.
    tolerance
        Done when no value is farther off.
    limit
        Largest change of a voxel, approached smoothly.

    Returns
    -------
    Tensor
        Changes of the same shape; whether they reached the level set is for the caller to check.
    """
    with torch.no_grad():
        wanted = function(image)[0]
    change = change.detach()

    def limited(free: Tensor) -> Tensor:
        return free if math.isinf(limit) else limit * torch.tanh(free / limit)

    for _ in range(n_steps):
        free = change.clone().requires_grad_(True)
        with torch.enable_grad():
            value = function(image + limited(free))
            (slope,) = torch.autograd.grad(value.sum(), free)
        rest = (wanted - value).detach()
        if float(rest.abs().max()) <= 0.1 * tolerance:
            break
        smooth = blur(blur(slope, scale), scale)
        size = (slope * smooth).flatten(1).sum(1)
        step = torch.where(size > 0, rest / size.clamp_min(math.ulp(0.0)), 0.0)
        change = change + expand_cases(step, smooth) * smooth
    return limited(change)
