"""Networks with weights set by hand, whose maps are known in closed form: what methods are tested on.

A method that is wrong on one of these is wrong. They take any images, planted ones among them. What a verdict is tried
on, `regard.evidence.trials`, is a random cohort of networks with patients of their own, and ways to spoil a map.
"""

import torch
from torch import Tensor, nn

from regard.core.errors import ShapeError

__all__ = ["BilinearOracle", "LinearOracle", "PooledOracle", "region_mean"]


def _sum(weights: Tensor, x: Tensor) -> Tensor:
    if x.shape[1:] != weights.shape:
        raise ShapeError(f"an image of shape {tuple(x.shape)}", f"{('batch', *weights.shape)}")
    return (x * weights.to(x)).flatten(1).sum(1)


class LinearOracle(nn.Module):
    """f(x) = sum of weight times intensity, plus a constant.

    Parameters
    ----------
    weights
        (channel, \\*space).
    constant
        Added to the output.

    Notes
    -----
    Gradient: the weights. Contribution of every path and Shapley method: weight times (x - reference). Effect of hiding
    a window: the sum of its contributions.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, constant: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channel, \\*space) to (batch, 1)."""
        return (_sum(self.weights, x) + self.constant)[:, None]

    def gradient(self, x: Tensor) -> Tensor:
        """Derivative, (batch, channel, \\*space)."""
        return self.weights.to(x).expand_as(x)

    def contribution(self, x: Tensor, reference: Tensor) -> Tensor:
        """Part of each place in f(x) - f(reference), (batch, channel, \\*space)."""
        return self.gradient(x) * (x - reference)


class BilinearOracle(nn.Module):
    """f(x) = (a . x)(b . x): two regions that count only together.

    Parameters
    ----------
    first, second
        Weights a and b, (channel, \\*space).

    Notes
    -----
    Along the straight way from r to x the gradient is linear, so that integrated gradients is (x - r) times the
    gradient half-way; from r = 0 each region gets half of the product, which is its Shapley value.
    """

    first: Tensor
    second: Tensor

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.register_buffer("first", first)
        self.register_buffer("second", second)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channel, \\*space) to (batch, 1)."""
        return (_sum(self.first, x) * _sum(self.second, x))[:, None]

    def gradient(self, x: Tensor) -> Tensor:
        """Derivative, (batch, channel, \\*space)."""
        ones = [-1, *[1] * (x.ndim - 1)]
        along, across = _sum(self.first, x).reshape(ones), _sum(self.second, x).reshape(ones)
        return self.first.to(x) * across + self.second.to(x) * along

    def contribution(self, x: Tensor, reference: Tensor) -> Tensor:
        """Integrated gradients from a reference, (batch, channel, \\*space)."""
        return (x - reference) * self.gradient((x + reference) / 2)


class PooledOracle(nn.Module):
    """f(x) = mean over places of max(x - threshold, 0): a feature map of one channel, pooled.

    Parameters
    ----------
    threshold
        Intensity from which a place counts.

    Notes
    -----
    The layer ``features`` has the input's grid, so that Grad-RAMP and HiResCAM of it are max(x - threshold, 0) over the
    number of places, and Grad-CAM is the same.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.features = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 1, \\*space) to (batch, 1)."""
        return self.features(x - self.threshold).flatten(1).mean(1, keepdim=True)

    def gradient(self, x: Tensor) -> Tensor:
        """Derivative, (batch, 1, \\*space)."""
        return (x > self.threshold).to(x) / x[0].numel()

    def contribution(self, x: Tensor) -> Tensor:
        """Part of each place in the output, (batch, 1, \\*space)."""
        return (x - self.threshold).clamp_min(0) / x[0].numel()


def region_mean(inside: Tensor, subtracted: Tensor | None = None) -> LinearOracle:
    """Mean of a region, minus the mean of another: how an ideal reader uses a signal and its suppressor.

    Parameters
    ----------
    inside, subtracted
        Places (\\*space), bool or share of each voxel.
    """
    weights = inside.float() / inside.sum()
    if subtracted is not None:
        weights = weights - subtracted.float() / subtracted.sum()
    return LinearOracle(torch.as_tensor(weights)[None])
