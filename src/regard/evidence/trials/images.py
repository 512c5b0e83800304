"""Images of trials: like radiographs, CT and MR, with a background that is not zero; none is made to suit a measure.

Two sets of generators, one that thresholds were chosen on and one that rates are reported of.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur
from regard.phantoms.backgrounds import correlated, tissues

__all__ = [
    "DEVELOPMENT",
    "REPORTED",
    "MakeImage",
    "clouds",
    "computed",
    "phantom_body",
    "plaid",
    "radiograph",
    "resonance",
]

MakeImage = Callable[[Sequence[int], int, str], Tensor]
"""Size, seed and name to an image (\\*size), float32."""


def _axes(size: Sequence[int]) -> list[Tensor]:
    """Coordinates from -1 to 1, one (\\*size) tensor per axis."""
    return list(torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij"))


def _draws(n: int, seed: int, name: str, draw: str) -> list[float]:
    found: list[float] = randomness.uniform((n,), seed, name, draw).tolist()
    return found


def clouds(size: Sequence[int], seed: int, name: str) -> Tensor:
    """Smooth noise of two lengths on a level of its own."""
    level, rough = _draws(2, seed, name, "clouds")
    return (
        2
        + level
        + 0.5 * correlated(size, 2.0, seed, name, "wide")
        + 0.3 * rough * correlated(size, 0.7, seed, name, "fine")
    )


def phantom_body(size: Sequence[int], seed: int, name: str) -> Tensor:
    """Tissues in an ellipse with air around it, and noise."""
    return 0.2 + 2 * tissues(size, seed, name) + 0.1 * correlated(size, 0.6, seed, name, "noise")


def plaid(size: Sequence[int], seed: int, name: str) -> Tensor:
    """A ramp and stripes of a direction and phase of its own, and noise."""
    axes, draws = _axes(size), _draws(2 + 2 * len(size), seed, name, "plaid")
    ramp = sum((d - 0.5) * a for d, a in zip(draws[2:], axes, strict=False))
    way = sum((d - 0.5) * a for d, a in zip(draws[2 + len(size) :], axes, strict=False))
    waves = torch.sin((8 + 6 * draws[0]) * torch.as_tensor(way) + 6.28 * draws[1])
    return 1.5 + ramp + 0.5 * waves + 0.3 * correlated(size, 1.0, seed, name, "noise")


def radiograph(size: Sequence[int], seed: int, name: str) -> Tensor:
    """Two lung fields in a chest, ribs across them, a heart, scatter that falls off, and grain."""
    axes, d = _axes(size), _draws(8, seed, name, "radiograph")
    row, column = axes[0], axes[1]
    found = 3.0 + 0.6 * row * (d[0] - 0.3) + 0.4 * column * (d[1] - 0.5)
    for side in (-1, 1):
        wide, high = 0.28 + 0.08 * d[2], 0.62 + 0.12 * d[3]
        inside = ((column - side * (0.42 + 0.05 * d[4])) / wide) ** 2 + (row / high) ** 2
        found = found - 1.4 * torch.sigmoid(12 * (1 - inside))
    ribs = torch.sin((11 + 3 * d[5]) * (row + 0.35 * column.abs()) + 6.28 * d[6])
    heart = (((column - 0.1) / 0.3) ** 2 + ((row - 0.35) / 0.35) ** 2 < 1).float()
    found = found + 0.25 * ribs * (ribs > 0) + (0.5 + 0.4 * d[7]) * heart
    return found + 0.12 * correlated(size, 0.5, seed, name, "grain")


def computed(size: Sequence[int], seed: int, name: str) -> Tensor:
    """Like CT in thousands of HU above air: fat, organs, bone and gas with sharp borders, and noise."""
    axes, d = _axes(size), _draws(6, seed, name, "ct")
    radius = sum((a / (0.85 + 0.1 * k)) ** 2 for a, k in zip(axes, d, strict=False))
    body = torch.as_tensor(radius) < 1
    inner = torch.as_tensor(radius) < 0.75
    organs = correlated(size, 2.5, seed, name, "organs")
    found = 0.02 + 0.88 * body + 0.14 * (inner & (organs > -0.3)) - 0.85 * (inner & (organs < -1.4))
    spine = sum(((a - at) / 0.2) ** 2 for a, at in zip(axes, (0.55, 0.0, 0.0), strict=False))
    found = found + (0.3 + 0.4 * d[4]) * (torch.as_tensor(spine) < 1)
    return found + 0.05 * correlated(size, (0.4 + 0.5 * d[5]), seed, name, "streaks")


def resonance(size: Sequence[int], seed: int, name: str) -> Tensor:
    """Like MR: folded grey and white matter under a coil's uneven gain, and noise that is never negative."""
    axes, d = _axes(size), _draws(6, seed, name, "mr")
    head = torch.as_tensor(sum((a / (0.8 + 0.1 * k)) ** 2 for a, k in zip(axes, d, strict=False))) < 1
    folds = torch.sin(3.5 * correlated(size, 1.6, seed, name, "folds"))
    matter = torch.where(folds > 0.2, 1.6, torch.where(folds > -0.6, 1.1, 0.5))
    gain = torch.exp(torch.as_tensor(sum((k - 0.5) * a for a, k in zip(axes, d[2:], strict=False))))
    signal = blur((matter * head * gain)[None, None], 0.4)[0, 0]
    noise = 0.12 * torch.stack([correlated(size, 0.4, seed, name, part) for part in ("real", "imaginary")])
    return 40 + 60 * ((signal + noise[0]).square() + noise[1].square()).sqrt()


DEVELOPMENT: Mapping[str, MakeImage] = {"clouds": clouds, "body": phantom_body, "plaid": plaid}
"""What thresholds were chosen on."""

REPORTED: Mapping[str, MakeImage] = {"radiograph": radiograph, "ct": computed, "mr": resonance}
"""What rates are reported of."""
