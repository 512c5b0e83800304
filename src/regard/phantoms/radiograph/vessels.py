"""The lungs' smaller vessels, drawn in the picture: branches too thin for the voxels of the chest."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import randomness
from regard.phantoms.radiograph.chest import Chest
from regard.phantoms.radiograph.projection import Field, View, shadow
from regard.phantoms.torso.cage import sternum_y

__all__ = ["grow_vessels", "vessels_of"]

STEMS, GENERATIONS = 9, 5
BLOOD = 0.85
"""Attenuation of a vessel above that of lung, relative to water."""


@dataclass(frozen=True)
class _Branch:
    start: Tensor
    way: Tensor
    length: float
    radius: float


def _inside(chest: Chest, point: Tensor) -> bool:
    index = []
    for axis, value in zip(chest.axes, point.tolist(), strict=True):
        at = round((value - float(axis[0])) / float(axis[1] - axis[0]))
        if not 0 <= at < len(axis):
            return False
        index.append(at)
    return bool(chest.lung[index[0], index[1], index[2]])


def grow_vessels(chest: Chest, *, seed: int = 0) -> Tensor:
    """Branches from both hila that fork and taper while they stay in the lung.

    Returns
    -------
    Tensor
        Start x, y, z, end x, y, z and radius of each [mm], (n, 7).
    """
    name = chest.shape.name
    found = []
    for side in (1, -1):
        source = randomness.generator(seed, name, f"small vessels {side}")
        hilum = torch.tensor([side * 40.0, 0.40 * sternum_y(chest.shape, 190.0) - 22, 182.0])
        grown: list[_Branch] = []
        for stem in range(STEMS):
            angle = math.pi * (0.02 + 0.96 * (stem + float(torch.rand(1, generator=source))) / STEMS) - math.pi / 2
            tilt = 1.0 * (float(torch.rand(1, generator=source)) - 0.5)
            way = torch.tensor([side * math.cos(angle), tilt, math.sin(angle)])
            grown.append(_Branch(hilum, way / way.norm(), 30.0, 2.2))
        for _ in range(GENERATIONS):
            after = []
            for branch in grown:
                end = branch.start + branch.length * branch.way
                if not (_inside(chest, end) or branch.radius > 2):
                    continue
                found.append(torch.cat((branch.start, end, torch.tensor([branch.radius]))))
                for share in (0.86, 0.68):
                    turn = 0.42 * torch.randn(3, generator=source)
                    way = branch.way + turn
                    stretch = 0.72 + 0.3 * float(torch.rand(1, generator=source))
                    after.append(_Branch(end, way / way.norm(), stretch * branch.length, share * branch.radius))
            grown = after
    return torch.stack(found)


def vessels_of(branches: Tensor, view: View, field: Field) -> Tensor:
    """Path through the branches that one view shows [cm of water], (row, column)."""
    path = torch.zeros(field.size, field.size)
    pixel = field.pixel_mm
    starts, ends = shadow(view, field, branches[:, :3]), shadow(view, field, branches[:, 3:6])
    lengths = (branches[:, 3:6] - branches[:, :3]).norm(dim=1)
    rows = zip(starts.tolist(), ends.tolist(), lengths.tolist(), branches[:, 6].tolist(), strict=True)
    for (r0, c0, scale, *_), (r1, c1, *_), length, radius in rows:
        # A rod seen through a pixel: a bell across it that holds the rod's volume.
        r = radius * scale
        sd = math.sqrt(r * r / 4 + pixel * pixel / 12) / pixel
        reach = math.ceil(3 * sd) + 1
        low, high = max(0, int(min(r0, r1)) - reach), min(field.size, int(max(r0, r1)) + reach + 2)
        left, right = max(0, int(min(c0, c1)) - reach), min(field.size, int(max(c0, c1)) + reach + 2)
        if low >= high or left >= right:
            continue
        u, v = torch.arange(low, high)[:, None] - r0, torch.arange(left, right)[None, :] - c0
        du, dv = r1 - r0, c1 - c0
        seen = math.hypot(du, dv)
        t = ((u * du + v * dv) / max(seen * seen, 1e-6)).clamp(0, 1)
        far = (u - t * du).square() + (v - t * dv).square()
        # Seen end on, the same blood lies behind fewer pixels, but no deeper than the rod is long.
        slant = min(length * scale / max(seen * pixel, r), 3.0)
        peak = math.pi * r * r / (math.sqrt(2 * math.pi) * sd * pixel) / scale * slant
        part = path[low:high, left:right]
        torch.maximum(part, 0.1 * BLOOD * peak * torch.exp(-far / (2 * sd * sd)), out=part)
    return path
