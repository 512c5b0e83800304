"""Random draws keyed by (seed, case, draw), never by the batch they happen to fall into."""

import hashlib

import torch
from torch import Tensor

__all__ = ["generator", "normal", "uniform"]


def generator(seed: int, case: str, draw: int | str) -> torch.Generator:
    """A generator of its own for one draw of one case: the same whatever the batch, the order and the device."""
    digest = hashlib.blake2b(f"{seed}\x1f{case}\x1f{draw}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def normal(like: Tensor, seed: int, case: str, draw: int | str) -> Tensor:
    """Standard normal numbers of the shape, type and device of ``like``; drawn on the CPU in float32."""
    drawn = torch.randn(like.shape, generator=generator(seed, case, draw), dtype=torch.float32)
    return drawn.to(like)


def uniform(shape: tuple[int, ...], seed: int, case: str, draw: int | str) -> Tensor:
    """Uniform numbers in [0, 1) of ``shape``, float32, on the CPU."""
    return torch.rand(shape, generator=generator(seed, case, draw), dtype=torch.float32)
