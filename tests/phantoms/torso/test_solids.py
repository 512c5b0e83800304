"""Shapes and fields on fine cells: volumes against closed forms, the same at any voxel size."""

import math

import pytest
import torch

from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import coverage
from regard.phantoms.torso.fields import random_field
from regard.phantoms.torso.render import cells_of, grid_of
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.solids import ball, capsule, smooth_union

BOX = ((-32.3, 31.7), (-32.1, 31.9), (-32.0, 32.0))
SHAPE = TorsoShape("torso-00000", 0, "male", 60.0, 1700.0)


def canvas(spacing: float, fine: int = 2) -> Canvas:
    return Canvas(cells_of(*grid_of((spacing,) * 3, BOX), fine), SHAPE)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 4.0])
def test_mass_of_an_ellipsoid(spacing: float) -> None:
    c = canvas(spacing)
    radii = (20.0, 14.0, 9.0)
    share = coverage(ball(c.cells.place, (1.3, -0.4, 2.1), radii), c.cells.width)
    c.bone(c.everywhere, share, "vertebra", 40.0, 0.5)
    mass = float(c.mineral.sum()) * math.prod(c.cells.size) / 1000
    assert mass == pytest.approx(0.5 * 4 / 3 * math.pi * math.prod(radii) / 1000, rel=0.01)


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_volume_of_a_capsule_and_of_its_stretched_section(spacing: float) -> None:
    c = canvas(spacing)
    start, end, r = (-10.0, 3.0, -5.0), (8.0, -6.0, 7.0), 6.0
    length = math.dist(start, end)
    distance = capsule(c.cells.place, start, end, r)
    cell = math.prod(c.cells.size)
    volume = float(coverage(distance, c.cells.width).sum()) * cell
    assert volume == pytest.approx(math.pi * r**2 * length + 4 / 3 * math.pi * r**3, rel=0.01)
    # Along x, a stretch of 1.6 along z makes the section an ellipse.
    stretched = capsule(c.cells.place, (-9.0, 0, 0), (9.0, 0, 0), r, (1.0, 1.0, 1.6))
    wide = float(coverage(stretched, c.cells.width).sum()) * cell
    assert wide == pytest.approx(1.6 * (math.pi * r**2 * 18 + 4 / 3 * math.pi * r**3), rel=0.02)


def test_distance_of_a_sphere_is_exact() -> None:
    c = canvas(2.0)
    x, y, z = c.cells.place
    distance = ball(c.cells.place, (0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    assert torch.allclose(distance, (x**2 + y**2 + z**2).sqrt() - 10, atol=1e-3)


def test_union_with_something_far_is_no_change() -> None:
    a = torch.linspace(-5, 5, 50)
    assert torch.allclose(smooth_union(a, torch.full_like(a, 30.0), 3.0), a, atol=1e-5)


def test_a_field_is_the_mean_of_a_finer_one() -> None:
    """Damping each wave by its mean over a cell is averaging: exact but for rounding."""
    coarse = random_field(cells_of(*grid_of((4.0,) * 3, BOX), 1), (5.0, 20.0), 3, "a", "b")
    # Cells above 2 mm are divided, so that 4 mm voxels have cells of 2 mm.
    assert coarse.shape == (32, 32, 32)
    fine = random_field(cells_of(*grid_of((1.0,) * 3, BOX), 1), (5.0, 20.0), 3, "a", "b")
    averaged = fine.unflatten(0, (32, 2)).mean(1).unflatten(1, (32, 2)).mean(2).unflatten(2, (32, 2)).mean(3)
    assert float((coarse - averaged).abs().max()) < 0.05
    assert float(fine.std()) == pytest.approx(1.0, abs=0.15)
    other = random_field(cells_of(*grid_of((1.0,) * 3, BOX), 1), (5.0, 20.0), 4, "a", "b")
    assert abs(float(torch.corrcoef(torch.stack([fine.flatten(), other.flatten()]))[0, 1])) < 0.15
