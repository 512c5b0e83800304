"""Velocities with a stated divergence: how fast each place grows, and where the room is taken from.

d log det(D phi_t) / dt = div v along a trajectory (Liouville), so that the divergence is the rate at which
the logarithm of a volume changes. A structure that grows takes its room from stated tissue nearby;
the field is 0 elsewhere.
"""

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg
from torch import Tensor

from regard.core.spatial import blur
from regard.phantoms.brain.lattice import Lattice
from regard.phantoms.brain.warp import VELOCITIES

__all__ = ["balanced", "velocity_of"]


def balanced(source: Tensor, room: Tensor, length: float, lattice: Lattice = VELOCITIES) -> Tensor:
    """Divergence that is ``source`` and takes the same volume from ``room`` nearby.

    f = s - r B(s / B(r)) with B a blur by ``length`` mm: because B is symmetric, f sums to 0, and nothing flows far.

    Parameters
    ----------
    source
        Rate of growth, (i, j, k), signed.
    room
        How willingly each place gives or takes, at least 0, (i, j, k).
    """
    sigma = [length / s for s in lattice.spacing]

    def near(x: Tensor) -> Tensor:
        return blur(x[None, None], sigma)[0, 0]

    return source - room * near(source / near(room).clamp_min(1e-4))


def velocity_of(divergence: Tensor, reach: Tensor, soft: float = 6.0, lattice: Lattice = VELOCITIES) -> Tensor:
    """Velocity with this divergence that is 0 outside ``reach``.

    v = m grad u with div(m grad u) = f: the mobility m is 1 inside, and falls to 0 over the last ``soft`` mm before the
    edge of ``reach``.

    Parameters
    ----------
    divergence
        f, (i, j, k) [1 per unit of amount]; its mean over each part of ``reach`` that hangs together is removed.
    reach
        Bool, (i, j, k).

    Returns
    -------
    Tensor
        (3, i, j, k) [mm per unit of amount].
    """
    inside = reach.numpy().astype(bool)
    depth = ndimage.distance_transform_edt(inside, sampling=lattice.spacing)
    mobility = np.clip(depth / soft, 0, 1)
    mobility = mobility * mobility * (3 - 2 * mobility) + 1e-3 * inside
    parts, n_parts = ndimage.label(inside)
    f = np.where(inside, divergence.double().numpy(), 0.0)
    size = np.bincount(parts.ravel(), minlength=n_parts + 1)
    mean = np.bincount(parts.ravel(), f.ravel(), n_parts + 1) / np.maximum(size, 1)
    f = np.where(inside, f - mean[parts], 0.0)
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    rows, columns, weights, faces = [], [], [], []
    for axis, spacing in enumerate(lattice.spacing):
        low, high = (tuple(_part(axis, s)) for s in (slice(None, -1), slice(1, None)))
        joined = inside[low] & inside[high]
        face = np.where(joined, 2 / (1 / np.maximum(mobility[low], 1e-9) + 1 / np.maximum(mobility[high], 1e-9)), 0.0)
        faces.append(face)
        a, b, w = number[low][joined], number[high][joined], face[joined] / spacing**2
        rows += [a, b, a, b]
        columns += [b, a, a, b]
        weights += [w, w, -w, -w]
    n = int(inside.sum())
    matrix = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))
    scale = 1 / np.maximum(-matrix.diagonal(), 1e-12)
    solution, _ = cg(-matrix, -f[inside], rtol=1e-4, maxiter=1000, M=sparse.diags(scale))
    potential = np.zeros(inside.shape)
    potential[inside] = solution
    return torch.from_numpy(_at_nodes(potential, faces, lattice)).float()


def _part(axis: int, piece: slice) -> list[slice]:
    whole = [slice(None)] * 3
    whole[axis] = piece
    return whole


def _at_nodes(potential: np.ndarray, faces: list[np.ndarray], lattice: Lattice) -> np.ndarray:
    """Velocity at the nodes, the mean of the faces on both sides."""
    velocity = np.zeros((3, *potential.shape))
    for axis, (face, spacing) in enumerate(zip(faces, lattice.spacing, strict=True)):
        flow = face * np.diff(potential, axis=axis) / spacing
        velocity[axis][tuple(_part(axis, slice(None, -1)))] += flow / 2
        velocity[axis][tuple(_part(axis, slice(1, None)))] += flow / 2
    return velocity
