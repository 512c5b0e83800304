"""Networks whose truth is known in closed form, and exhibits of them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regard.core.quantity import Quantity, Sign
from regard.core.target import Output
from regard.evidence.measure import Exhibit


class Linear(nn.Module):
    """f(x) = sum of w x, plus a constant, shape (N, 1): a regressor."""

    def __init__(self, weight: Tensor, constant: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1, keepdim=True) + self.constant


class Square(nn.Module):
    """f(x) = half the sum of x squared: its gradient is x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1, keepdim=True) / 2


def drawn(size: Sequence[int], seed: int = 0, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)


def gradient(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(network(leaf).sum(), leaf)[0].sum(1, keepdim=True)


def exhibit(network: Any, x: Tensor, relevance: Tensor, **settings: Any) -> Exhibit:
    settings = {"quantity": Quantity.CONTRIBUTION, "sign": Sign.RAISED, "case": "case"} | settings
    return Exhibit(network, x, Output(0), relevance, **settings)


def linear(size: Sequence[int] = (8, 8), seed: int = 0, **settings: Any) -> tuple[Exhibit, Tensor]:
    """A linear regressor near 60, its case with a reference of 0, the perfect map of it, and its weights."""
    x, weight = drawn(size, seed), drawn(size, seed + 1000)
    settings = {"reference": torch.zeros_like(x)} | settings
    return exhibit(Linear(weight, 60.0), x, weight * x, **settings), weight
