"""Letters of lead that say the side, as they are laid on the cassette."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.core.errors import UnknownNameError
from regard.phantoms.radiograph.projection import Field

__all__ = ["LEAD", "LETTERS", "letter"]

LEAD = 3.0
"""Log attenuation of a letter."""

LETTERS = {
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
}
"""Letters, 5 wide and 7 high."""


def letter(text: str, field: Field, *, seed: int, case: str, height_mm: float = 22.0) -> Tensor:
    """Log attenuation of a letter in its corner, (row, column): R at the image's upper left, L at its upper right.

    Raises
    ------
    UnknownNameError
        If there is no such letter.
    """
    if text not in LETTERS:
        raise UnknownNameError.suggest("letter", text, LETTERS)
    a, b, c = randomness.uniform((3,), seed, case, f"letter {text}").tolist()
    side = field.side_mm
    middle = ((0.10 + 0.05 * a) * side, (0.09 + 0.04 * b) * side)
    if text == "L":
        middle = (middle[0], side - middle[1])
    angle = math.radians(24 * (c - 0.5))
    place = field.offsets() + side / 2
    u, v = place[:, None] - middle[0], place[None, :] - middle[1]
    row = (u * math.cos(angle) - v * math.sin(angle)) / (height_mm / 2)
    column = (u * math.sin(angle) + v * math.cos(angle)) / (height_mm * 5 / 7 / 2)
    glyph = torch.tensor([[float(p) for p in line] for line in LETTERS[text]])
    wide = functional.interpolate(glyph[None, None], scale_factor=8, mode="nearest")
    drawn = functional.grid_sample(wide, torch.stack((column, row), -1)[None], align_corners=False)
    return LEAD * drawn[0, 0]
