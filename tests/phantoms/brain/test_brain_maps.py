"""Flows and their sources against closed forms, and the atlas against left and right."""

import math

import pytest
import torch

from regard.core.errors import RegardError
from regard.phantoms.brain import REGIONS, atlas, draw_subject
from regard.phantoms.brain.ageing import RATES, ageing_velocity, structure
from regard.phantoms.brain.atlas import index_of
from regard.phantoms.brain.lattice import Lattice, enlarged, sample
from regard.phantoms.brain.shape import from_template, to_template
from regard.phantoms.brain.subject import with_factors
from regard.phantoms.brain.velocity import balanced, velocity_of
from regard.phantoms.brain.warp import VELOCITIES, composed, exponential, jacobian, random_velocity

SMALL = Lattice((-30.0, -33.0, -36.0), (3.0, 3.0, 3.0), (21, 23, 25))


def inner(values: torch.Tensor, margin: int = 6) -> torch.Tensor:
    return values[..., margin:-margin, margin:-margin, margin:-margin]


def test_sampling_is_exact_for_a_linear_image() -> None:
    points = SMALL.points()
    values = (2 * points[0] - points[1] + 0.5 * points[2] + 3)[None]
    somewhere = torch.tensor([1.7, -4.2, 8.8]).reshape(3, 1, 1, 1)
    assert float(sample(values, SMALL, somewhere)) == pytest.approx(2 * 1.7 + 4.2 + 4.4 + 3, abs=1e-4)
    finer = enlarged(points, [4 * (n - 1) + 1 for n in SMALL.shape])
    assert torch.allclose(finer[:, ::4, ::4, ::4], points, atol=1e-4)
    assert torch.allclose(finer[0, 2], points[0, :2].mean(0)[0, 0].expand_as(finer[0, 2]), atol=1e-4)


def test_flow_of_a_linear_velocity_is_its_exponential() -> None:
    points = SMALL.points()
    rate = torch.tensor([0.2, -0.1, 0.05]).reshape(3, 1, 1, 1)
    moved = points + exponential(rate * points, SMALL)
    # The five doublings start with a straight step of 1/32: (1 + c/32)^32, within c^2/64 of e^c.
    assert torch.allclose(inner(moved), inner(rate.exp() * points), rtol=2e-3, atol=1e-3)
    assert torch.allclose(inner(jacobian(moved, SMALL)), torch.tensor(math.exp(0.15)), rtol=3e-3)


def test_flow_is_what_small_steps_give_and_can_be_undone() -> None:
    velocity = random_velocity(3.0, 12.0, 0, "case", "velocity", SMALL)
    slow = torch.zeros_like(velocity)
    for _ in range(400):
        slow = slow + sample(velocity, SMALL, SMALL.points() + slow) / 400
    fast = exponential(velocity, SMALL)
    assert float(velocity.abs().max()) > 3
    assert float((fast - slow).abs().max()) < 0.15
    assert float((fast - slow).abs().mean()) < 0.01
    back = composed(fast, exponential(-velocity, SMALL), SMALL)
    # Displacements of up to 7 mm come back to a tenth of a node's distance, to a two-hundredth on average.
    assert float(back.abs().max()) < 0.3
    assert float(back.abs().mean()) < 0.015 + 1e-3
    assert float(jacobian(SMALL.points() + fast, SMALL).min()) > 0


def test_flow_can_be_differentiated_with_respect_to_its_amount() -> None:
    velocity = random_velocity(2.0, 12.0, 1, "case", "velocity", SMALL).double().float()
    amount = torch.tensor(0.7, requires_grad=True)
    place = (..., 10, 11, 12)
    exponential(amount * velocity, SMALL)[place].sum().backward()
    low, high = (float(exponential(a * velocity, SMALL)[place].sum()) for a in (0.65, 0.75))
    assert float(amount.grad) == pytest.approx((high - low) / 0.1, rel=0.02)  # type: ignore[arg-type]


def test_velocity_has_the_divergence_it_was_asked_for() -> None:
    x, y, z = SMALL.points()
    away = (x**2 + y**2 + z**2).sqrt()
    source, room = ((14 - away) / 8).clamp(0, 1), ((away > 15) & (away < 22)).float()
    reach = away < 26
    wanted = balanced(source, room, 6.0, SMALL)
    assert float(wanted.sum()) == pytest.approx(0, abs=1e-2)
    velocity = velocity_of(wanted, reach, lattice=SMALL)
    found = sum(torch.gradient(v, spacing=3.0, dim=a)[0] for a, v in enumerate(velocity))
    inside = away < 6
    assert float(found[inside].mean()) == pytest.approx(float(wanted[inside].mean()), rel=0.1)  # type: ignore[index]
    assert bool((velocity[:, away > 26] == 0).all())
    # By the theorem of Gauss, what flows out through the sphere of 12 mm is what was made inside.
    shell = (away - 12).abs() < 1
    outwards = (velocity * SMALL.points()).sum(0) / away.clamp_min(1)
    flux = float(outwards[shell].mean()) * 4 * math.pi * 144
    assert flux == pytest.approx(float(wanted[away < 12].sum()) * 27, rel=0.1)


@pytest.mark.parametrize("name", list(RATES))
def test_structures_change_by_their_amount_and_nothing_moves_elsewhere(name: str) -> None:
    found, regions = structure(name), atlas()
    assert bool((found.velocity[:, ~found.reach] == 0).all())
    amount, share = 0.02, found.mask.float()[None]
    volumes = []
    for sign in (-1, 1):
        back = exponential(-sign * amount * found.velocity)
        points = regions.lattice.points()
        volumes.append(float(sample(share, regions.lattice, points + sample(back, VELOCITIES, points)).double().sum()))
    assert math.log(volumes[1] / volumes[0]) == pytest.approx(2 * amount, rel=0.05)


def test_doses_of_nothing_move_nothing() -> None:
    assert float(ageing_velocity(dict.fromkeys(RATES, 0.0)).abs().max()) == 0


@pytest.mark.parametrize(("number", "age"), [(0, 40.0), (1, 90.0), (2, 62.0)])
def test_subjects_do_not_fold_and_can_be_undone(number: int, age: float) -> None:
    subject = with_factors(draw_subject(0, number), dict.fromkeys(RATES, age))
    there, back = from_template(subject), to_template(subject)
    points = VELOCITIES.points()
    assert float(jacobian(points + there).min()) > 0.1
    assert float(jacobian(points + back).min()) > 0.1
    around = composed(there, back)
    brain = sample(atlas().mask(*REGIONS[1:23]).float()[None], atlas().lattice, points, outside="zeros")[0] > 0.5
    assert float(around.norm(dim=0)[brain].quantile(0.99)) < 0.5


def test_a_deformation_that_folds_is_refused() -> None:
    with pytest.raises(RegardError, match="smaller warp"):
        to_template(draw_subject(0, 0, warp=12.0))


def test_left_is_left_and_the_sides_are_alike() -> None:
    regions = atlas()
    x, y, z = torch.meshgrid(*regions.lattice.axes(), indexing="ij")
    for number, name in enumerate(REGIONS):
        if name.endswith(", left"):
            left, right = regions.labels == number, regions.labels == number + 1
            assert REGIONS[number + 1] == name.replace("left", "right")
            assert not bool((left & (x >= 0)).any())
            assert not bool((right & (x < 0)).any())
            assert float(left.sum()) == pytest.approx(float(right.sum()), rel=0.03)
    assert regions.volume.orientation == "RAS"
    # Where an anatomist puts them, roughly [mm].
    centres = {"hippocampus, right": (27, -21, -13), "third ventricle": (0, -12, 0), "brain stem": (0, -30, -32)}
    for name, centre in centres.items():
        inside = (regions.labels == index_of(name)[0]).float()
        found = [float((inside * axis).sum() / inside.sum()) for axis in (x, y, z)]
        assert found == pytest.approx(centre, abs=6), name
    millilitres = {"hippocampus": (6, 11), "lateral ventricle": (12, 30), "cerebellum": (120, 230)}
    for name, (low, high) in millilitres.items():
        assert low < float(regions.mask(name).sum()) / 1000 < high
    assert len(regions.table().splitlines()) == len(REGIONS)
