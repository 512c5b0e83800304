"""Where each vertebra lies: levels from T1 to L5 on the curve of the spine."""

import math
from dataclasses import dataclass

from regard.phantoms.torso.shape import TorsoShape

__all__ = ["Level", "curve", "levels"]

_SIZES = {
    "T1": (0.68, 0.56, 0.66), "T2": (0.66, 0.58, 0.68), "T3": (0.64, 0.62, 0.70), "T4": (0.64, 0.67, 0.72),
    "T5": (0.65, 0.72, 0.74), "T6": (0.67, 0.77, 0.76), "T7": (0.70, 0.81, 0.78), "T8": (0.73, 0.85, 0.80),
    "T9": (0.77, 0.88, 0.83), "T10": (0.81, 0.90, 0.87), "T11": (0.88, 0.92, 0.91), "T12": (0.95, 0.96, 0.96),
    "L1": (1.0, 1.0, 1.0), "L2": (1.05, 1.03, 1.02), "L3": (1.10, 1.06, 1.03), "L4": (1.15, 1.08, 1.03),
    "L5": (1.20, 1.08, 1.02),
}  # fmt: skip
"""Width, depth and height of the bodies relative to L1."""

_DISC = {"T": 0.5, "L": 1.0}
"""Height of the disc below a vertebra relative to the one below L1."""


_THORACIC, _LUMBAR = 330.0, 175.0
"""Half wavelengths of the two curves [mm]."""


@dataclass(frozen=True)
class Level:
    """One vertebra: name, centre of its body [mm], backward lean of its axis [degrees], and sizes relative to L1."""

    name: str
    centre: tuple[float, float, float]
    lean: float
    width: float
    depth: float
    height: float
    disc: float

    @property
    def thoracic(self) -> bool:
        """Whether it carries ribs."""
        return self.name.startswith("T")


def curve(shape: TorsoShape, z: float) -> tuple[float, float, float]:
    """Position (x, y) of the spine at height z [mm] and its backward lean [degrees]."""
    thoracic, lumbar = math.pi * z / _THORACIC, math.pi * z / _LUMBAR
    y = -shape.kyphosis * math.sin(thoracic) if z > 0 else -shape.lordosis * math.sin(lumbar)
    upper = shape.kyphosis * math.pi / _THORACIC * math.cos(thoracic)
    lower = shape.lordosis * math.pi / _LUMBAR * math.cos(lumbar)
    share = min(max(0.5 + z / 80, 0.0), 1.0)
    lean = share * upper + (1 - share) * lower
    x = shape.scoliosis * math.sin(math.pi * z / 260.0)
    return x, y, math.degrees(math.atan(lean))


def levels(shape: TorsoShape) -> list[Level]:
    """The vertebrae from L5 up to T1."""
    names = list(_SIZES)
    heights = {n: shape.body_height * shape.vertebra * _SIZES[n][2] for n in names}
    discs = {n: shape.disc * _DISC[n[0]] * (0.9 if n == "T12" else 1.0) for n in names}
    discs["T12"] = 0.75 * shape.disc
    centres = {"L1": 0.0}
    start = names.index("L1")
    for n, below in zip(reversed(names[:start]), reversed(names[1 : start + 1]), strict=True):
        centres[n] = centres[below] + heights[below] / 2 + discs[n] + heights[n] / 2
    for above, n in zip(names[start:-1], names[start + 1 :], strict=True):
        centres[n] = centres[above] - heights[above] / 2 - discs[above] - heights[n] / 2
    found = []
    for n in reversed(names):
        x, y, lean = curve(shape, centres[n])
        width, depth, height = _SIZES[n]
        found.append(Level(n, (x, y, centres[n]), lean, width, depth, height, discs[n]))
    return found
