"""Smooth maps of space that can be undone: the flow of a velocity field.

A velocity v [mm per unit of amount] is followed for an amount a: phi = exp(a v). exp(-a v) undoes it, its Jacobian
determinant is above 0, and it can be differentiated with respect to a (Arsigny et al., MICCAI 2006: scaling and
squaring).
"""

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur
from regard.phantoms.brain.lattice import Lattice, sample

__all__ = ["VELOCITIES", "composed", "exponential", "jacobian", "random_velocity"]

VELOCITIES = Lattice((-93.0, -129.0, -84.0), (3.0, 3.0, 3.0), (63, 77, 65))
"""Where velocities and displacements are kept, in MNI152 space; between the nodes they are linear."""

_DOUBLINGS = 5

_MARGIN = 15.0
"""A random velocity falls to 0 over this distance from the edge of its lattice [mm], so that nothing leaves it."""


def exponential(velocity: Tensor, lattice: Lattice = VELOCITIES) -> Tensor:
    """Displacement of the flow of ``velocity``.

    Parameters
    ----------
    velocity
        (3, i, j, k) [mm] at the nodes of ``lattice``.

    Returns
    -------
    Tensor
        u with phi(x) = x + u(x), (3, i, j, k) [mm].
    """
    moved = velocity / 2**_DOUBLINGS
    points = lattice.points()
    for _ in range(_DOUBLINGS):
        moved = moved + sample(moved, lattice, points + moved)
    return moved


def composed(first: Tensor, second: Tensor, lattice: Lattice = VELOCITIES) -> Tensor:
    """Displacement of going along ``first`` and from there along ``second``, each (3, i, j, k) [mm]."""
    return first + sample(second, lattice, lattice.points() + first)


def jacobian(points: Tensor, lattice: Lattice = VELOCITIES) -> Tensor:
    """Determinant of the derivative of a map.

    Parameters
    ----------
    points
        Where each node of ``lattice`` goes, (3, i, j, k) [mm].

    Returns
    -------
    Tensor
        (i, j, k); how many times larger a small volume becomes.
    """
    slopes = torch.gradient(points, spacing=list(lattice.spacing), dim=(1, 2, 3))
    matrix = torch.stack(slopes, dim=-1).movedim(0, -2)
    return torch.linalg.det(matrix)


def random_velocity(
    size: float, length: float, seed: int, name: str, draw: str, lattice: Lattice = VELOCITIES
) -> Tensor:
    """Smooth random velocity with a standard deviation of ``size`` [mm] and a kernel of ``length`` [mm].

    Drawn by (``seed``, ``name``, ``draw``); 0 on the edge of the lattice; (3, i, j, k).
    """
    window = _window(lattice)
    white = window * randomness.normal(torch.empty(1, 3, *lattice.shape), seed, name, draw)
    sigma = [length / s for s in lattice.spacing]
    gain = 1.0
    for s in sigma:
        kernel = torch.exp(-0.5 * (torch.arange(-200, 201) / s).square())
        gain *= float((kernel / kernel.sum()).square().sum().sqrt())
    return window * size * blur(white, sigma)[0] / gain


def _window(lattice: Lattice) -> Tensor:
    """1 inside and 0 on the edge, (i, j, k)."""
    window = torch.ones(lattice.shape)
    for axis, (n, step) in enumerate(zip(lattice.shape, lattice.spacing, strict=True)):
        depth = torch.minimum(torch.arange(n), torch.arange(n).flip(0)) * step
        rise = (depth / _MARGIN).clamp(0, 1)
        window = window * (rise * rise * (3 - 2 * rise)).reshape([-1 if a == axis else 1 for a in range(3)])
    return window
