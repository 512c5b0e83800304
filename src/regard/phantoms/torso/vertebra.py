"""One vertebra: body, pedicles, laminae, processes and canal as signed distances in its own frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.phantoms.torso.cells import Box, Place
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import capsule, cylinder, smooth_union
from regard.phantoms.torso.spine_curve import Level

__all__ = ["Arch", "Body", "arch", "body", "body_reach", "near", "part_of", "reach"]

Rod = tuple[Sequence[float], Sequence[float], float | tuple[float, float], tuple[float, float, float]]
"""Start, end, radius (or both ends'), and stretch of a capsule [mm]."""


@dataclass(frozen=True, eq=False)
class Body:
    """A vertebral body: signed distances [mm] of its outside and of the inside of its shell, (i, j, k).

    ``height`` is the height above the body's middle relative to half its height, and broadcasts.
    """

    outside: Tensor
    inside: Tensor
    height: Tensor


@dataclass(frozen=True, eq=False)
class Arch:
    """Pedicles, laminae and processes less the canal: signed distances [mm], (i, j, k)."""

    outside: Tensor
    inside: Tensor
    canal: Tensor


def reach(shape: TorsoShape, level: Level) -> tuple[list[float], list[float]]:
    """Corners [mm] of a box around the vertebra."""
    s = shape.vertebra
    side = (0.5 * shape.body_width * level.width + shape.transverse + 6) * s
    front = (0.5 * shape.body_depth * level.depth + 6) * s
    back = (0.5 * shape.body_depth + shape.canal_depth + shape.spinous + 16) * s
    below = (0.5 * shape.body_height + (44 if level.thoracic else 30)) * s
    above = (0.5 * shape.body_height + 14) * s
    x, y, z = level.centre
    return [x - side, y - back, z - below], [x + side, y + front, z + above]


def body_reach(shape: TorsoShape, level: Level) -> tuple[list[float], list[float]]:
    """Corners [mm] of a box around the body, in the vertebra's own frame."""
    s = shape.vertebra
    half = (
        0.5 * shape.body_width * level.width * s + 2,
        0.5 * shape.body_depth * level.depth * s + 2,
        0.5 * shape.body_height * level.height * s + 2,
    )
    return [-h for h in half], list(half)


def body(place: Place, shape: TorsoShape, level: Level) -> Body:
    """The body in its own frame: origin in its centre, z along its axis [mm]."""
    s = shape.vertebra
    width, depth, height = (
        shape.body_width * level.width * s,
        shape.body_depth * level.depth * s,
        shape.body_height * level.height * s,
    )
    x, y, z = place
    h = 2 * z / height
    narrow = 1 - shape.waist * (1 - h.square().clamp(max=1))
    hollow = 0.16 * depth * torch.exp(-(x / (0.28 * width)).square())
    a = 0.5 * width * narrow
    b = 0.5 * depth * narrow - hollow * (y < 0)
    u, v = (x / a).abs(), (y / b).abs()
    u_power, v_power = u.sqrt() * u, v.sqrt() * v
    total = u_power * u + v_power * v
    slope = ((u_power / a).square_() + (v_power / b).square_()).sqrt_().clamp_(min=1e-6)
    root = total**0.4
    side = (root - 1).mul_(root.sqrt() * root).div_(slope)
    flat = (1 - (2 * x / width).square() - (2 * y / depth).square()).clamp_(0, 1)
    plates = z.abs() - (0.5 * height - shape.concavity * flat)
    return Body(_both(side, plates), _both(side + shape.cortex, plates + shape.endplate), h)


def _both(side: Tensor, plates: Tensor) -> Tensor:
    """Intersection with a rounded rim."""
    return -smooth_union(-side, -plates, 2.0)


def near(place: Place, low: Sequence[float], high: Sequence[float]) -> Box | None:
    """Cells between two corners [mm] of the place's own frame."""
    x, y, z = place
    cuts = []
    masks = (
        ((x >= low[0]) & (x <= high[0])).flatten(),
        ((y >= low[1]) & (y <= high[1]) & (z >= low[2]) & (z <= high[2])),
    )
    for mask in (masks[0], masks[1].any(2).flatten(), masks[1].any(1).flatten()):
        found = torch.nonzero(mask)
        if not len(found):
            return None
        cuts.append(slice(int(found[0]), int(found[-1]) + 1))
    return cuts[0], cuts[1], cuts[2]


def part_of(place: Place, box: Box) -> Place:
    """The coordinates of a box of cells."""
    return tuple(p[tuple(c if n > 1 else slice(None) for c, n in zip(box, p.shape, strict=True))] for p in place)  # type: ignore[return-value]


_MARGIN = 6.0
"""A rod is worked out this far beyond its surface [mm]: where fillets and shells end."""


def _add(distance: Tensor, place: Place, rod: Rod, blend: float) -> None:
    """Union of the shape so far with a rod, in place."""
    start, end, radius, stretch = rod
    widest = max(radius) if isinstance(radius, tuple) else radius
    margins = [widest * s + _MARGIN for s in stretch]
    low = [min(p, q) - m for p, q, m in zip(start, end, margins, strict=True)]
    high = [max(p, q) + m for p, q, m in zip(start, end, margins, strict=True)]
    box = near(place, low, high)
    if box is not None:
        distance[box] = smooth_union(distance[box], capsule(part_of(place, box), start, end, radius, stretch), blend)


def arch(place: Place, shape: TorsoShape, level: Level) -> Arch:
    """Pedicles, laminae and processes in the body's frame [mm]."""
    s = shape.vertebra
    rear, canal_half = 0.5 * shape.body_depth * level.depth * s, 0.5 * shape.canal_depth * s
    slim = 0.85 if level.thoracic else 1.0
    canal_width = 0.5 * shape.canal_width * s * slim
    middle = -rear - canal_half + 1.5 * s
    back = middle - canal_half
    pedicle, lamina = shape.pedicle * s * slim, shape.lamina * s
    lateral = canal_width + pedicle
    hanging = level.thoracic and level.name not in ("T11", "T12")
    tip_y = back - 4 * s - shape.spinous * s * (0.85 if level.thoracic else 1.0)
    tip = (0.0, tip_y, (-36 if hanging else -15) * s)
    wing = shape.transverse * s * (0.75 if level.thoracic else 1.0) * (0.45 if level.name == "T12" else 1.0)
    low = -24 * s * (0.8 if level.thoracic else 1.0)
    rods: list[tuple[Rod, float]] = [
        (((0.0, back - 4 * s, -8 * s), tip, (2.6 * s, 3.2 * s), (1, 1, 1.4 if hanging else 2.4)), 3.0)
    ]
    for side in (1, -1):
        wing_end = (side * (lateral + wing), middle - (12 if level.thoracic else 7) * s, 5 * s)
        rods += [
            (
                (
                    (side * lateral, -rear + 5, 5 * s),
                    (side * (lateral + 1), middle - 0.4 * canal_half, 4 * s),
                    pedicle,
                    (1, 1, 1.6),
                ),
                3.0,
            ),
            (
                (
                    (side * (lateral + 2), middle - 3, 17 * s),
                    (side * (lateral - 1), back, -8 * s),
                    4.6 * s,
                    (1, 1.1, 1),
                ),
                3.0,
            ),
            (
                (
                    (side * (lateral - 1), back, -6 * s),
                    (side * (lateral - 4), back - 3, low),
                    (4.6 * s, 3.4 * s),
                    (1, 1, 1),
                ),
                3.0,
            ),
            (
                (
                    (side * (lateral - 2), middle - 0.7 * canal_half, -2 * s),
                    (0.0, back - 3.5 * s, -8 * s),
                    lamina,
                    (1, 1, 2.1),
                ),
                3.0,
            ),
            (((side * (lateral + 1), middle - 2, 3 * s), wing_end, (3.5 * s, 2.6 * s), (1, 1, 1.4)), 2.0),
        ]
    x, y, z = place
    outside = torch.full(torch.broadcast_shapes(x.shape, y.shape, z.shape), 30.0, device=x.device)
    for rod, blend in rods:
        _add(outside, place, rod, blend)
    canal = cylinder(place, (0.0, middle), (canal_width, canal_half))
    outside = torch.maximum(outside, -canal)
    return Arch(outside, outside + shape.posterior_cortex, torch.maximum(canal, z.abs() - 0.6 * shape.body_height * s))
