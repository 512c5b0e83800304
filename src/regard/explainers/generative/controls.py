"""What a search finds in networks that hide nothing: the identity, and a blur that removes as much noise."""

from collections.abc import Callable

from torch import Tensor

from regard.core.spatial import blur

__all__ = ["equal_blur", "gaussian_filter", "identity"]


def identity(image: Tensor) -> Tensor:
    """The image itself."""
    return image


def gaussian_filter(sigma: float) -> Callable[[Tensor], Tensor]:
    """A Gaussian blur of ``sigma`` voxels as a network."""
    return lambda image: blur(image, sigma)


def equal_blur(noise: Tensor, left: float, *, largest: float = 16.0) -> float:
    """Width [voxel] of the Gaussian blur that leaves the share ``left`` of the noise's standard deviation.

    Parameters
    ----------
    noise
        Draws (draw, channel, \\*space).
    left
        Standard deviation after over before, above 0; 1 or more gives no blur.
    largest
        Widest blur.
    """
    low, high = 0.0, largest
    before = noise.double().std()
    if left >= 1:
        return 0.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if blur(noise.double(), middle).std() > left * before else (low, middle)
    return (low + high) / 2
