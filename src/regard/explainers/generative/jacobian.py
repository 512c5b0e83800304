"""The Jacobian of a network at one image, without ever writing it down, and its null space."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.rows import counted

__all__ = ["Directions", "Jacobian", "principal_angles", "singular_directions"]

Function = Callable[[Tensor], Tensor]

_DENSE = 128
"""Up to so many columns the Jacobian is written down: exact, and faster than iterating."""


class Jacobian:
    """Products with the Jacobian of a function at one point.

    Parameters
    ----------
    function
        (batch, ...) to (batch, ...), case by case.
    point
        Where, (1, ...).
    basis
        Directions (k, ...) that the Jacobian is restricted to, as columns; None: all.
    """

    def __init__(self, function: Function, point: Tensor, basis: Tensor | None = None) -> None:
        self.function = counted(function)
        self.point = point.detach()
        self.basis = None if basis is None else basis.detach().reshape(len(basis), -1)
        with torch.enable_grad():
            self._x = self.point.clone().requires_grad_(True)
            output = self.function(self._x)
            self._shape = output.shape
            # The transposed product is linear in what it is applied to: its own derivative is the product itself.
            self._probe = torch.zeros_like(output, requires_grad=True)
            (self._back,) = torch.autograd.grad(output, self._x, self._probe, create_graph=True)

    @property
    def n_columns(self) -> int:
        """Number of directions."""
        return self.point.numel() if self.basis is None else len(self.basis)

    @property
    def n_rows(self) -> int:
        """Number of outputs."""
        return math.prod(self._shape)

    def forward(self, direction: Tensor) -> Tensor:
        """J v: (columns,) to (rows,)."""
        if self.basis is not None:
            direction = direction @ self.basis
        v = direction.reshape(self.point.shape).to(self.point)
        if not self._back.requires_grad:
            return torch.zeros(self.n_rows).to(self.point)
        (found,) = torch.autograd.grad(self._back, self._probe, v, retain_graph=True)
        return found.detach().flatten()

    def adjoint(self, output: Tensor) -> Tensor:
        """J^T w: (rows,) to (columns,)."""
        w = output.reshape(self._shape).to(self.point)
        if not self._back.requires_grad:
            found = torch.zeros_like(self.point).flatten()
        else:
            with torch.enable_grad():
                (found,) = torch.autograd.grad(self.function(self._x), self._x, w)
            found = found.detach().flatten()
        return found if self.basis is None else self.basis @ found

    def dense(self) -> Tensor:
        """The Jacobian itself (rows, columns)."""
        eye = torch.eye(self.n_columns).to(self.point)
        return torch.stack([self.forward(v) for v in eye], 1)


@dataclass(frozen=True, eq=False)
class Directions:
    """Right singular vectors of a Jacobian.

    Parameters
    ----------
    values
        Singular values (k,).
    vectors
        Unit directions (k, columns), or in the image where there was no basis.
    """

    values: Tensor
    vectors: Tensor


def singular_directions(
    jacobian: Jacobian, k: int, *, smallest: bool = True, seed: int = 0, n_products: int = 400, tolerance: float = 1e-10
) -> Directions:
    """Directions in which the output changes least, or most.

    Few columns: exact, by the singular value decomposition. Many: block Lanczos on J^T J with full orthogonalisation,
    from a random start, which needs products only.

    Parameters
    ----------
    jacobian
        Of the network.
    k
        How many directions.
    smallest
        Which end of the spectrum.
    seed
        Of the random start.
    n_products
        Largest number of products with J^T J.
    tolerance
        Largest residual, as a share of the largest eigenvalue of J^T J.

    Raises
    ------
    InputError
        If k is not between 1 and the number of columns.
    """
    n = jacobian.n_columns
    if not 1 <= k <= n:
        raise InputError(f"{k} directions", f"1 to {n}")
    if n <= _DENSE:
        _, values, vectors = torch.linalg.svd(jacobian.dense().double(), full_matrices=True)
        values = torch.cat([values, values.new_zeros(n - len(values))])
        numbers = list(range(n - 1, n - 1 - k, -1)) if smallest else list(range(k))
        return Directions(values[numbers], vectors[numbers])

    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(n, min(n, k + 4), generator=generator, dtype=torch.float64)
    space, product = torch.linalg.qr(block)[0], torch.empty(n, 0, dtype=torch.float64)
    while True:
        # A block finds singular values that come several times, which one vector cannot.
        product = torch.cat([product, _squared(jacobian, space[:, product.shape[1] :])], 1)
        values, turn = torch.linalg.eigh(space.T @ product)
        picked = slice(0, k) if smallest else slice(len(values) - k, None)
        values, vectors = values[picked], space @ turn[:, picked]
        rest = (product @ turn[:, picked] - vectors * values).norm(dim=0).max()
        room = min(n - space.shape[1], block.shape[1])
        if not room or float(rest) <= tolerance * _largest(space, product) or space.shape[1] >= n_products:
            break
        new = product[:, -block.shape[1] :][:, :room]
        for _ in range(2):
            new = new - space @ (space.T @ new)
            new = torch.linalg.qr(new)[0]
        space = torch.cat([space, new], 1)
    order = slice(None) if smallest else torch.arange(k - 1, -1, -1)
    return Directions(values.clamp_min(0).sqrt()[order], vectors.T[order])


def _largest(space: Tensor, product: Tensor) -> float:
    return float(torch.linalg.eigvalsh(space.T @ product)[-1])


def _squared(jacobian: Jacobian, columns: Tensor) -> Tensor:
    """J^T J of each column (columns, k)."""
    moved = [jacobian.adjoint(jacobian.forward(v.to(jacobian.point))) for v in columns.T]
    return torch.stack(moved, 1).double().cpu()


def principal_angles(one: Tensor | Sequence[Tensor], two: Tensor | Sequence[Tensor]) -> Tensor:
    """Angles between the spaces that the rows of ``one`` and ``two`` (k, n) span [rad], smallest first."""
    spans = [torch.linalg.qr(torch.as_tensor(s).double().T)[0] for s in (one, two)]
    cosines = torch.linalg.svdvals(spans[0].T @ spans[1]).clamp(-1, 1)
    return torch.arccos(cosines)
