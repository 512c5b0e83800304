"""Bone density of a torso as a DXA scanner and as a quantitative CT would give it, and its weight on each voxel.

Areal density is the mineral seen from the front over the area seen from the front [g/cm2]:

    aBMD = sum_v (b_v + s_v p_v) V / A,      A = sum_columns s dx dz

with b and p the mineral of L1's body and of its posterior elements in a voxel [g/cm3], V a voxel's volume, and s the
share of the voxel's column (x, z) that L1's body covers as seen from the front. So the edge is the outline of the body:
what arch and processes hold counts where it lies behind the body, and the transverse processes and what hangs below do
not, as when a technician sets the region between the discs. Mineral of the neighbouring vertebrae that overlaps is left
out.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from regard.core import randomness
from regard.core.errors import GeometryError
from regard.core.volume import Volume
from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.render import FRACTIONS, Torso, cells_of, grid_of
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.spine import paint_spine
from regard.phantoms.torso.spine_curve import levels
from regard.phantoms.torso.vertebra import reach

__all__ = ["L1Measure", "areal_bmd", "dxa_noise", "label_weights", "measure_l1", "trabecular_bmd"]

Part = Literal["all", "body", "trabecular", "posterior"]


@dataclass(frozen=True)
class L1Measure:
    """What L1 of a shape holds, from a rendering of L1 alone.

    Parameters
    ----------
    area
        Area of the body seen from the front [cm2].
    body, trabecular, posterior
        Mineral inside that outline [g]: of the body (shell and inside), of its inside, of what lies behind it.
    trabecular_bmd
        Mean mineral density inside the shell [mg/cm3].
    """

    area: float
    body: float
    trabecular: float
    posterior: float
    trabecular_bmd: float

    @property
    def areal_bmd(self) -> float:
        """Areal density with posterior elements [g/cm2]."""
        return (self.body + self.posterior) / self.area


def measure_l1(shape: TorsoShape, *, spacing_mm: float = 1.5, fine: int = 1) -> L1Measure:
    """Render L1 alone and measure it; the same whatever part of the torso is shown elsewhere."""
    level = next(v for v in levels(shape) if v.name == "L1")
    low, high = reach(shape, level)
    box = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    size, affine = grid_of((spacing_mm,) * 3, box)
    canvas = Canvas(cells_of(size, affine, fine), shape)
    paint_spine(canvas, only="L1")
    part = {name: canvas.l1[name] for name in FRACTIONS}
    seen = canvas.l1["front"]
    cubic, square = spacing_mm**3 / 1000, spacing_mm**2 / 100
    return L1Measure(
        float(seen.sum()) * square,
        float(part["mineral_body"].sum()) * cubic,
        float(part["mineral_trabecular"].sum()) * cubic,
        float((part["mineral_posterior"] * seen).sum()) * cubic,
        1000 * float(part["mineral_trabecular"].sum() / part["trabecular"].sum()),
    )


def label_weights(torso: Torso, part: Part = "all", *, area: float | None = None) -> Volume:
    """Change of areal density with the mineral of each voxel [g/cm2 per g/cm3], on the torso's grid.

    Parameters
    ----------
    torso
        The torso, or some slices of it.
    part
        ``"all"`` counts body and posterior elements as the label does; the others only that part.
    area
        Area of the front view [cm2] where the torso does not hold all of L1; None: from the torso itself.

    Notes
    -----
    Where a voxel holds mineral of L1 and of a neighbour, the weight is L1's share in the voxel's mineral, and constant:
    the label is linear in the mineral, and the sum of weight times mineral is the label.

    Raises
    ------
    GeometryError
        If no area is given and L1's body is not wholly on the grid.
    """
    seen, spacing = torso.front, torso.hu.spacing
    if area is None:
        _check_whole(torso)
        area = float(seen.sum()) * spacing[0] * spacing[2] / 100
    own = torch.zeros_like(torso.mineral.tensor[0])
    if part != "posterior":
        own = own + torso.fractions["mineral_trabecular" if part == "trabecular" else "mineral_body"].tensor[0]
    if part in ("all", "posterior"):
        own = own + torso.fractions["mineral_posterior"].tensor[0] * seen
    mineral = torso.mineral.tensor[0]
    share = torch.where(mineral > 1e-9, own / mineral.clamp(min=1e-9), 0.0)
    cubic = spacing[0] * spacing[1] * spacing[2] / 1000
    return torso.mineral.with_tensor((share * cubic / area)[None], unit="g/cm2 per g/cm3")


def areal_bmd(
    torso: Torso,
    *,
    posterior: bool = True,
    aortic_calcium: bool = False,
    noise: float = 0.0,
    seed: int = 0,
) -> float:
    """Areal bone density of L1 [g/cm2].

    Parameters
    ----------
    torso
        A torso that holds all of L1.
    posterior
        Whether what lies behind the body counts, as in DXA from the front.
    aortic_calcium
        Whether calcium before the body counts, as in DXA.
    noise
        Standard deviation of the measurement [g/cm2].
    seed
        Of the noise.

    Raises
    ------
    GeometryError
        If L1's body is not wholly on the grid.
    """
    weights = label_weights(torso, "all" if posterior else "body").tensor
    label = float((weights.double() * torso.mineral.tensor).sum())
    if aortic_calcium:
        seen = torso.front
        dx, dy, dz = torso.hu.spacing
        mass = float((torso.calcium.tensor[0] * seen).sum()) * dx * dy * dz / 1000
        label += mass / (float(seen.sum()) * dx * dz / 100)
    return label + dxa_noise(torso.shape, noise, seed)


def dxa_noise(shape: TorsoShape, noise: float, seed: int = 0) -> float:
    """Error of one DXA measurement with this standard deviation [g/cm2]."""
    return noise * float(randomness.normal(torch.empty(1), seed, shape.name, "dxa"))


def trabecular_bmd(torso: Torso) -> float:
    """Mean mineral density inside the shell of L1's body [mg/cm3], of the part of it on the grid."""
    part = torso.fractions
    return 1000 * float(part["mineral_trabecular"].tensor.sum() / part["trabecular"].tensor.sum())


def _check_whole(torso: Torso) -> None:
    body = torso.fractions["body"].tensor[0]
    faces = [body[:, :, 0], body[:, :, -1], body[0], body[-1], body[:, 0], body[:, -1]]
    if float(body.sum()) == 0 or max(float(face.max()) for face in faces) > 0:
        raise GeometryError(
            f"a grid of {torso.hu.shape} that does not hold all of L1's body",
            "region 'l1' or a larger box",
            "measure the shape with measure_l1, or give the area",
        )
