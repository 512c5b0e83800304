"""Maps that know nothing of the network: a method that does not beat them shows the image, not the network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur, space_axes

__all__ = ["control_maps", "edges", "phase_randomised"]

_ROUNDS = 30


def edges(x: Tensor) -> Tensor:
    """Size of the gradient of a lightly smoothed image, (1, channel, \\*space) to (1, 1, \\*space)."""
    image = blur(x.float().mean(1, keepdim=True), 1.0)
    squares = [g.square() for g in torch.gradient(image, dim=space_axes(image))]
    return torch.stack(squares).sum(0).sqrt()


def phase_randomised(relevance: Tensor, seed: int, case: str, draw: str) -> Tensor:
    """A surrogate of the map's own smoothness: the same values, nearly the same spectrum, in places of chance.

    Parameters
    ----------
    relevance
        (1, 1, \\*space).
    seed, case, draw
        Key of the noise.

    Notes
    -----
    Schreiber and Schmitz, Physical Review Letters 1996: the spectrum and the values are imposed in turn, values last.
    """
    axes = space_axes(relevance)
    values = relevance.float().cpu()
    ordered = values.flatten().sort().values
    spectrum = torch.fft.fftn(values, dim=axes).abs()
    made = randomness.normal(values, seed, case, draw)
    for _ in range(_ROUNDS):
        transformed = torch.fft.fftn(made, dim=axes)
        shaped = torch.fft.ifftn(spectrum * transformed / transformed.abs().clamp_min(1e-12), dim=axes).real
        made = torch.empty_like(ordered)
        made[shaped.flatten().argsort()] = ordered
        made = made.reshape(values.shape)
    return made


def control_maps(x: Tensor, maps: Mapping[str, Tensor], *, seed: int, case: str) -> dict[str, list[Tensor]]:
    """Controls of one case by name; the figure of several maps is their mean.

    Parameters
    ----------
    x
        The image (1, channel, \\*space).
    maps
        The methods' maps (1, 1, \\*space); each has a surrogate of its own smoothness.
    seed, case
        Key of the draws.
    """
    image = x.float().mean(1, keepdim=True).cpu()
    return {
        "edges": [edges(x).cpu()],
        "image": [image - image.min()],
        "smooth surrogate": [phase_randomised(m, seed, case, f"surrogate of {n}") for n, m in maps.items()],
    }
