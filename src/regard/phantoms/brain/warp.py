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

    Drawn by (``seed``, ``name``, ``draw``); (3, i, j, k).
    """
    white = randomness.normal(torch.empty(1, 3, *lattice.shape), seed, name, draw)
    sigma = [length / s for s in lattice.spacing]
    gain = 1.0
    for s in sigma:
        kernel = torch.exp(-0.5 * (torch.arange(-200, 201) / s).square())
        gain *= float((kernel / kernel.sum()).square().sum().sqrt())
    return size * blur(white, sigma)[0] / gain
