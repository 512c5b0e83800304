"""Which tokens are places, on which grid, and which of them the output reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import CapabilityError, ShapeError
from regard.core.spatial import interpolate
from regard.explainers.attention.tape import AttentionTape

__all__ = ["Tokens", "place_tokens", "rows_read"]

_DO = "give the token grid, such as grid=14x14, or choose integrated-gradients or occlusion"
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Tokens:
    """Where the tokens of an image lie.

    Parameters
    ----------
    n_tokens
        All of them.
    grid
        Patches along each spatial axis.
    first
        Number of the first token that is a patch; class and register tokens come before (or after).
    """

    n_tokens: int
    grid: tuple[int, ...]
    first: int

    @property
    def n_patches(self) -> int:
        """How many tokens are patches."""
        return math.prod(self.grid)

    def on_grid(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Values (token,) as a map (1, 1, \\*size), interpolated from the patches."""
        patches = values[self.first : self.first + self.n_patches]
        return interpolate(patches.reshape(1, 1, *self.grid), size)


def _starts(n_patches: int, joins: Sequence[Sequence[int]]) -> dict[int, int]:
    """Length of a sequence that holds all patches -> number of its first patch, as tokens were joined to it."""
    known = {n_patches: 0}
    for lengths in joins:
        for n, length in enumerate(lengths):
            if length in known and len(lengths) > 1:
                known.setdefault(sum(lengths), sum(lengths[:n]) + known[length])
    return known


def _equal_patches(n_patches: int, size: Sequence[int]) -> list[tuple[int, ...]]:
    """Grids of patches of equal edge that fill the image and are as many."""
    edges = [e for e in range(1, max(size) + 1) if all(n in (1, e * (n // e)) for n in size)]
    grids = {tuple(max(1, n // edge) for n in size) for edge in edges}
    return [g for g in grids if math.prod(g) == n_patches]


def place_tokens(n_tokens: int, size: Sequence[int], tape: AttentionTape, given: Sequence[int] | None) -> Tokens:
    """Find the grid of the tokens of an image of ``size``.

    It is the one that was given; or what a convolution in front of the first attention gave; or the only one of patches
    of equal edge. Tokens that were joined to the patches (class, registers) are known by where they were joined.

    Raises
    ------
    ShapeError
        If the given grid has not as many axes as the image, or more patches than there are tokens.
    CapabilityError
        If there is none, or more than one.
    """
    if given is not None:
        if len(given) != len(size) or math.prod(given) > n_tokens:
            raise ShapeError(
                f"grid={'x'.join(map(str, given))} for {n_tokens} tokens of an image of {tuple(size)}",
                "as many axes as the image, and at most as many patches as tokens",
                "correct it",
            )
        starts = _starts(math.prod(given), tape.joins)
        # Without a trace of how they were joined, further tokens are taken to come first, as class tokens do.
        return Tokens(n_tokens, tuple(given), starts.get(n_tokens, n_tokens - math.prod(given)))
    for grid in reversed(tape.convolutions):
        start = _starts(math.prod(grid), tape.joins).get(n_tokens)
        if len(grid) == len(size) and start is not None:
            return Tokens(n_tokens, grid, start)
    for n_patches in range(n_tokens, 0, -1):
        start = _starts(n_patches, tape.joins).get(n_tokens)
        grids = _equal_patches(n_patches, size) if start is not None else []
        if len(grids) == 1 and start is not None:
            return Tokens(n_tokens, grids[0], start)
    raise CapabilityError(
        f"attention among {n_tokens} tokens of an image of {'x'.join(map(str, size))}, whose grid is not known "
        "(windows as Swin's are parts of the image only)",
        "one token for each patch of the whole image",
        _DO,
    )


def rows_read(gradients: Sequence[Tensor]) -> Tensor:
    """Numbers of the tokens that the output reads behind the last block, from the gradient of its attention.

    The probabilities of a token's row matter only if what the token becomes is used: by a class token alone, or by all
    that are pooled.

    Parameters
    ----------
    gradients
        Derivative of the target with respect to the probabilities of each block, (head, token, token).
    """
    for gradient in reversed(gradients):
        size = gradient.abs().sum((0, 2))
        if float(size.max()) > 0:
            return torch.nonzero(size > _NEGLIGIBLE * size.max()).flatten()
    return torch.arange(gradients[-1].shape[-1], device=gradients[-1].device)
