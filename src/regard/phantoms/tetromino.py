"""The XAI-TRIS scenarios: tetrominoes in noise, a class by their shape, their product with the noise, or their signs.

Made from the description of Clark, Wilming and Haufe (Machine Learning 2024, "XAI-TRIS", arXiv 2306.12816) and the
settings that the authors published with it. Photographs, their third background, are not to be had here; a texture of
smooth tissues stands in that place under its own name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.phantoms.backgrounds import tissues

__all__ = ["BACKGROUNDS", "SCENARIOS", "Scenario", "TetrominoBackground", "TetrominoSet", "Tetrominoes"]

Scenario: TypeAlias = Literal["linear", "multiplicative", "rigid", "xor"]
"""What tells the classes apart: which shape lies at its place; the same, as a factor of the noise; which shape lies
anywhere, turned by quarters; or whether the signs of both shapes agree."""

TetrominoBackground: TypeAlias = Literal["white", "correlated", "tissues"]
"""The noise: each pixel by itself; smoothed; or smooth tissues, which stand where the paper has photographs."""

SCENARIOS: tuple[Scenario, ...] = ("linear", "multiplicative", "rigid", "xor")
BACKGROUNDS: tuple[TetrominoBackground, ...] = ("white", "correlated", "tissues")

_T = np.array([[1, 0], [1, 1], [1, 0]], dtype=float)
_L = np.array([[1, 0], [1, 0], [1, 1]], dtype=float)
_AT = ((1, 1), (4, 5))
"""Row and column of the upper left corner of each shape, in cells of an eighth of the side."""

_SMOOTHED = {8: 3.0, 64: 10.0}
"""Standard deviation of the kernel of correlated noise [pixel]."""

_SHARE: dict[int, dict[Scenario, tuple[float, float, float]]] = {
    8: {
        "linear": (0.18, 0.0125, 0.05),
        "multiplicative": (0.7, 0.1, 0.3),
        "rigid": (0.65, 0.2, 0.4),
        "xor": (0.35, 0.15, 0.2),
    },
    64: {
        "linear": (0.03, 0.02, 0.04),
        "multiplicative": (0.65, 0.05, 0.2),
        "rigid": (0.575, 0.375, 0.4),
        "xor": (0.075, 0.03, 0.08),
    },
}
"""Share of the signal, alpha, by side and background; the last of each is ours, as the tissues are."""

_PATTERN_SMOOTHED = 1.5
_SEEN = 0.05
"""At 64 pixels the shapes are smoothed; where a smoothed shape of height 1 is at least this, it lies."""


@dataclass(frozen=True, eq=False)
class TetrominoSet:
    """Images with their classes and the places that tell these.

    Parameters
    ----------
    images
        (image, 1, row, column), at most 1 in size.
    labels
        0 or 1 (image,), int64; as many of each.
    places
        Where the class is told, (image, row, column) of bool. Of fixed places both shapes' in every image: that one is
        missing tells as much as that the other is there.
    """

    images: Tensor
    labels: Tensor
    places: Tensor


@dataclass(frozen=True)
class Tetrominoes:
    """A scenario of XAI-TRIS.

    Parameters
    ----------
    scenario, background
        See `Scenario`, `TetrominoBackground`.
    side
        Pixels a side, 8 or 64.

    Raises
    ------
    InputError
        If the side is another.

    Notes
    -----
    x = alpha a + (1 - alpha) n, and (1 - alpha a) n for ``multiplicative``, where pattern and noise are each divided
    by their Frobenius norm over the whole set before they are mixed; then all images are divided by the largest size of
    any pixel. Noise has variance 0.25 before it is smoothed.
    """

    scenario: Scenario
    background: TetrominoBackground = "white"
    side: int = 8

    def __post_init__(self) -> None:
        if self.side not in _SHARE:
            raise InputError(f"a side of {self.side} pixels", "8 or 64, as published", "choose one of them")
        if self.scenario not in SCENARIOS or self.background not in BACKGROUNDS:
            raise InputError(
                f"the scenario '{self.scenario}' on '{self.background}'",
                f"one of {', '.join(SCENARIOS)} on one of {', '.join(BACKGROUNDS)}",
                "choose one of them",
            )

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.scenario}, {self.background}"

    @property
    def share(self) -> float:
        """Share of the signal, alpha."""
        return _SHARE[self.side][self.scenario][BACKGROUNDS.index(self.background)]

    @property
    def _scale(self) -> int:
        """Pixels of a square of a shape."""
        return 1 if self.side == 8 else (4 if self.scenario == "rigid" else 8)

    def draw(self, n: int, *, seed: int) -> TetrominoSet:
        """Draw a set.

        Parameters
        ----------
        n
            Images; a multiple of 4.
        seed
            Of the set.

        Raises
        ------
        InputError
            If n is no multiple of 4.
        """
        if n < 4 or n % 4:
            raise InputError(f"{n} images", "a multiple of 4, so that the classes and signs are balanced", "change n")
        patterns, labels = self._patterns(n, seed)
        smoothed = self._smooth(patterns)
        noise = self._noise(n, seed)
        share = self.share
        if self.scenario == "multiplicative":
            factor = 1 - share * smoothed
            mixed = factor / np.linalg.norm(factor) * (noise / np.linalg.norm(noise))
        else:
            mixed = share * smoothed / np.linalg.norm(smoothed) + (1 - share) * noise / np.linalg.norm(noise)
        mixed = mixed / np.abs(mixed).max()
        lies = np.abs(smoothed) >= _SEEN if self._scale > 1 else smoothed != 0
        if self.scenario != "rigid":
            lies = np.broadcast_to(lies.any(0), lies.shape)
        order = torch.randperm(n, generator=randomness.generator(seed, self.name, "order"))
        return TetrominoSet(
            torch.from_numpy(mixed).float()[:, None][order],
            torch.from_numpy(labels)[order],
            torch.from_numpy(lies.copy())[order],
        )

    def _patterns(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Shapes of height 1 (image, row, column), and classes."""
        block = np.ones((self._scale, self._scale))
        shapes = [np.kron(shape, block) for shape in (_T, _L)]
        labels = np.repeat([0, 1], n // 2)
        made = np.zeros((n, self.side, self.side))
        if self.scenario == "xor":
            for row, signs in enumerate(np.repeat([[1, 1], [-1, -1], [1, -1], [-1, 1]], n // 4, axis=0)):
                for shape, corner, sign in zip(shapes, _AT, signs, strict=True):
                    self._lay(made[row], sign * shape, [self.side // 8 * a for a in corner])
            return made, labels
        drawn = randomness.uniform((n, 3), seed, self.name, "places").numpy()
        at: Sequence[int]
        for row, label in enumerate(labels):
            shape = shapes[label]
            if self.scenario == "rigid":
                shape = np.rot90(shape, int(4 * drawn[row, 0]))
                at = [int((self.side - s + 1) * d) for s, d in zip(shape.shape, drawn[row, 1:], strict=True)]
            else:
                at = [self.side // 8 * a for a in _AT[label]]
            self._lay(made[row], shape, at)
        return made, labels

    @staticmethod
    def _lay(image: np.ndarray, shape: np.ndarray, at: Sequence[int]) -> None:
        image[at[0] : at[0] + shape.shape[0], at[1] : at[1] + shape.shape[1]] = shape

    def _smooth(self, patterns: np.ndarray) -> np.ndarray:
        if self._scale == 1:
            return patterns
        smoothed: np.ndarray = gaussian_filter(patterns, (0, _PATTERN_SMOOTHED, _PATTERN_SMOOTHED))
        return smoothed

    def _noise(self, n: int, seed: int) -> np.ndarray:
        if self.background == "tissues":
            made = [tissues((self.side, self.side), seed, f"{self.name}/{k}").double().numpy() for k in range(n)]
            return np.stack([m - m.mean() for m in made])
        white: np.ndarray = (
            0.5 * randomness.normal(torch.empty(n, self.side, self.side), seed, self.name, "noise").double().numpy()
        )
        if self.background == "white":
            return white
        found: np.ndarray = gaussian_filter(white, (0, _SMOOTHED[self.side], _SMOOTHED[self.side]))
        return found
