"""Findings of tuberculosis: shadows in the apex, cavity, miliary nodules, effusion; each as change of the path."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.phantoms.radiograph.chest import Chest
from regard.phantoms.radiograph.projection import Field, View, project, shadow

__all__ = ["FINDINGS", "Finding", "Lesions", "draw_lesions", "shadows_of"]

VISIBLE = 0.1
"""Share of the largest change of the path from which a pixel counts as changed."""

CANDIDATES = 12
"""Places looked at before the one most, or least, behind bone is taken."""

NODULES = 700
FLUID = 1.02
AIR = 0.03


@dataclass(frozen=True, eq=False)
class Finding:
    """One finding at full dose.

    Parameters
    ----------
    kind
        One of ``FINDINGS``.
    path
        Change of the path through soft tissue [cm of water], (row, column); negative where tissue gives way to air.
    mask
        Where it changes the picture: at least a tenth of its largest change, (row, column) of bool.
    hidden
        Share of the mask that lies behind ribs or clavicles, 0 to 1.
    """

    kind: str
    path: Tensor
    mask: Tensor
    hidden: float


@dataclass(frozen=True, eq=False)
class Lesions:
    """One finding of each kind in three dimensions.

    Parameters
    ----------
    solid
        Change of attenuation relative to water for each of opacity, cavity and effusion, (3, i, j, k).
    nodules
        Miliary nodules: x, y, z and radius [mm], (n, 4).
    """

    solid: Tensor
    nodules: Tensor


def _boxed(values: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """Mean over a box, one axis after the other, (i, j, k)."""
    for axis, size in enumerate(sizes):
        shape = [1, 1, 1]
        shape[axis] = size
        pad = [s // 2 for s in shape]
        values = functional.avg_pool3d(values[None], shape, 1, pad)[0]
    return values


@dataclass(frozen=True, eq=False)
class _Place:
    """What a finding is drawn from: the chest, its bones' shadow, and keyed draws."""

    chest: Chest
    bone: Tensor
    view: View
    field: Field
    seed: int

    @cached_property
    def inner(self) -> Tensor:
        """Lung, but not at its very surface, where half of a finding would be cut off."""
        return self.chest.lung & (_boxed(self.chest.lung.float(), (9, 5, 9)) > 0.7)

    def uniform(self, n: int, draw: str) -> list[float]:
        found: list[float] = randomness.uniform((n,), self.seed, self.chest.shape.name, draw).tolist()
        return found

    def side(self, kind: str) -> int:
        """1 for the right lung, -1 for the left."""
        return 1 if self.uniform(1, f"{kind} side")[0] < 0.5 else -1

    def lung(self, side: int) -> Tensor:
        """Voxels of one lung."""
        return self.chest.lung & (side * self.chest.axes[0] > 0)[:, None, None]

    def points(self, kind: str, n: int, side: int, low: float, high: float) -> Tensor:
        """Random places inside a lung between two shares of its height, (n, 3) [mm]."""
        lung, inner = self.lung(side), self.inner & (side * self.chest.axes[0] > 0)[:, None, None]
        z = self.chest.axes[2]
        heights = z[lung.any(0).any(0)]
        bottom, top = float(heights.min()), float(heights.max())
        within = (z >= bottom + low * (top - bottom)) & (z <= bottom + high * (top - bottom))
        where = torch.nonzero(inner & within)
        draws = torch.tensor(self.uniform(n, f"{kind} places"))
        chosen = where[(draws * len(where)).long().clamp(max=len(where) - 1)]
        return torch.stack([a[chosen[:, i]] for i, a in enumerate(self.chest.axes)], 1)

    def centre(self, kind: str, side: int, low: float, high: float) -> list[float]:
        """A place that lies behind bone in half of the cases, and between the bones in the other half."""
        points = self.points(kind, CANDIDATES, side, low, high)
        at = shadow(self.view, self.field, points)[:, :2].round().long()
        margin = round(12 / self.field.pixel_mm)
        seen = ((at >= margin) & (at < self.field.size - margin)).all(1)
        if bool(seen.any()):
            points, at = points[seen], at[seen]
        at = at.clamp(0, self.field.size - 1)
        width = 2 * round(5 / self.field.pixel_mm) + 1
        near = functional.avg_pool2d(self.bone[None, None], width, 1, width // 2)[0, 0]
        covered = near[at[:, 0], at[:, 1]]
        behind = self.uniform(1, f"{kind} behind bone")[0] < 0.5
        found: list[float] = points[int(covered.argmax() if behind else covered.argmin())].tolist()
        return found

    def distance(self, centre: list[float], radii: tuple[float, float, float]) -> Tensor:
        """Distance from a centre in units of the radii, (i, j, k)."""
        x, y, z = ((a - c) / r for a, c, r in zip(self.chest.axes, centre, radii, strict=True))
        return (x.square()[:, None, None] + y.square()[None, :, None] + z.square()[None, None]).sqrt()

    def mottle(self, kind: str) -> Tensor:
        """Patchy field around 1, at least 0.2, (i, j, k): patches of about a centimetre."""
        sizes = [max(2, round(n * s / 11)) for n, s in zip(self.chest.lung.shape, self.chest.spacing_mm, strict=True)]
        coarse = randomness.normal(torch.empty(sizes), self.seed, self.chest.shape.name, f"{kind} mottle")
        wide = functional.interpolate(coarse[None, None], self.chest.lung.shape, mode="trilinear", align_corners=True)
        return (1 + 0.55 * wide[0, 0]).clamp(min=0.2)


def _opacity(place: _Place) -> Tensor:
    """Patchy consolidation of the upper zone: a few soft patches beside each other."""
    side = place.side("opacity")
    centre = place.centre("opacity", side, 0.66, 0.92)
    u = place.uniform(16, "opacity size")
    total = torch.zeros(place.chest.lung.shape)
    for patch in range(4):
        a, b, c, d = u[4 * patch : 4 * patch + 4]
        shift = (26 * (a - 0.5), 20 * (b - 0.5), 26 * (c - 0.5)) if patch else (0.0, 0.0, 0.0)
        r = 11 + 8 * d
        middle = [p + s for p, s in zip(centre, shift, strict=True)]
        total = torch.maximum(total, torch.exp(-0.5 * place.distance(middle, (r, r, r)).square()))
    return 0.75 * total * place.mottle("opacity") * place.lung(side)


def _cavity(place: _Place) -> Tensor:
    """A ring of thick wall around air, in a thin haze."""
    side = place.side("cavity")
    centre = place.centre("cavity", side, 0.62, 0.88)
    a, b, c = place.uniform(3, "cavity size")
    radius, wall = 13 + 8 * a, 3.5 + 3 * b
    stretch = 0.85 + 0.3 * c
    r = place.distance(centre, (1.0, 1.0, stretch))
    shell = ((wall / 2 + 1.5 - (r - radius).abs()) / 3).clamp(0, 1)
    inside = ((radius - wall / 2 - r) / 3 + 0.5).clamp(0, 1)
    haze = torch.exp(-0.5 * (r / (1.5 * radius)).square())
    water = place.chest.water
    change = 0.75 * shell + 0.16 * haze * place.mottle("cavity") * (1 - inside) + (AIR - water) * inside
    return change * place.lung(side)


def _effusion(place: _Place) -> Tensor:
    """Fluid at the base that climbs along the chest wall."""
    side = place.side("effusion")
    lung = place.lung(side)
    a, b = place.uniform(2, "effusion size")
    x, _, z = place.chest.axes
    heights = z[lung.any(0).any(0)]
    lateral = (side * x / (side * x[lung.any(2).any(1)]).max()).clamp(0, 1)
    level = float(heights.min()) + 28 + 34 * a + (26 + 26 * b) * lateral**3
    share = ((level[:, None] - z[None]) / 6 + 0.5).clamp(0, 1)
    return (FLUID - place.chest.water).clamp(min=0) * share[:, None, :] * lung


def _miliary(place: _Place) -> Tensor:
    """Many small nodules in both lungs: x, y, z and radius [mm], (n, 4)."""
    half = NODULES // 2
    points = torch.cat([place.points(f"miliary {s}", half, s, 0.04, 0.98) for s in (1, -1)])
    radii = 1.4 + 1.0 * torch.tensor(place.uniform(2 * half, "miliary size"))
    return torch.cat((points, radii[:, None]), 1)


def _balls(nodules: Tensor, view: View, field: Field) -> Tensor:
    """Path through small balls [cm of water], (row, column)."""
    path = torch.zeros(field.size, field.size)
    pixel = field.pixel_mm
    at = shadow(view, field, nodules[:, :3])
    for (row, column, scale), radius in zip(at.tolist(), nodules[:, 3].tolist(), strict=True):
        r = radius * scale
        reach = math.ceil(r / pixel) + 1
        top, left = max(0, round(row) - reach), max(0, round(column) - reach)
        bottom, right = min(field.size, round(row) + reach + 1), min(field.size, round(column) + reach + 1)
        if top >= bottom or left >= right:
            continue
        rows, columns = torch.arange(top, bottom) - row, torch.arange(left, right) - column
        far = (rows.square()[:, None] + columns.square()[None]) * pixel**2
        # A ball seen through a pixel as wide as itself: a bell of the same volume.
        width = r * r / 5 + pixel * pixel / 12
        bell = 4 / 3 * math.pi * radius**3 * scale**2 / (2 * math.pi * width) * torch.exp(-far / (2 * width))
        path[top : top + len(rows), left : left + len(columns)] += 0.85 * bell / 10
    return path


_SOLID: dict[str, Callable[[_Place], Tensor]] = {"opacity": _opacity, "cavity": _cavity, "effusion": _effusion}

FINDINGS = ("opacity", "cavity", "miliary", "effusion")
"""Findings by name."""


def draw_lesions(chest: Chest, ribs: Tensor, view: View, field: Field, *, seed: int = 0) -> Lesions:
    """One finding of each kind in one chest.

    Parameters
    ----------
    chest
        Where they lie.
    ribs
        Mineral along each ray without the spine [g/cm2], (row, column): what findings hide behind.
    view, field
        In which they hide. In another view they are the same.
    seed
        Key of the draws, with the chest's name.
    """
    place = _Place(chest, ribs, view, field, seed)
    return Lesions(torch.stack([draw(place) for draw in _SOLID.values()]), _miliary(place))


def shadows_of(lesions: Lesions, chest: Chest, ribs: Tensor, view: View, field: Field) -> dict[str, Finding]:
    """The findings as one view shows them; ``ribs`` is the mineral without the spine in this view."""
    paths = dict(zip(_SOLID, project(chest, lesions.solid, view, field), strict=True))
    paths["miliary"] = _balls(lesions.nodules, view, field)
    found = {}
    for kind in FINDINGS:
        size = paths[kind].abs()
        mask = size > VISIBLE * size.max()
        hidden = float((ribs[mask] > BEHIND).float().mean()) if bool(mask.any()) else 0.0
        found[kind] = Finding(kind, paths[kind], mask, hidden)
    return found


BEHIND = 0.05
"""Mineral along a ray from which a place counts as behind bone [g/cm2]."""
