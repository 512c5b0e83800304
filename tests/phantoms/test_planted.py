"""Planted signals: rendered sizes and intensities against closed forms, and factors that move one at a time."""

import itertools
import math

import numpy as np
import pytest
import torch

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms import PHANTOMS
from regard.phantoms.backgrounds import averaged, coordinates, correlated, ellipsoid, tissues
from regard.phantoms.planted import PlantedPhantom

SHAPES = [(32, 40), (20, 24, 16)]


def quiet(shape: tuple[int, ...], effect: str, **others: object) -> PlantedPhantom:
    return PlantedPhantom(shape, effect, "white", noise=0.0, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signal", [0.0, 0.35, 1.0])
def test_ball_holds_its_volume(shape: tuple[int, ...], signal: float) -> None:
    phantom = quiet(shape, "volume")
    subject = phantom.subject(3, factors={"signal": signal, "contrast": 0.5})
    n, r = len(shape), 0.16 * min(shape)
    known = {2: math.pi, 3: 4 / 3 * math.pi}[n]
    wanted = known * ((0.4 * r) ** n + ((1.1 * r) ** n - (0.4 * r) ** n) * signal)
    assert subject.label == pytest.approx(wanted)
    # Contrast 0.5 renders intensity 1, so that the image sums to the volume.
    assert float(subject.image.sum()) == pytest.approx(wanted, rel=0.05 if n == 2 else 0.08)
    assert float(subject.structure.sum()) == pytest.approx(float(subject.image.sum()), rel=1e-5)


@pytest.mark.parametrize("signal", [0.2, 0.9])
def test_shell_holds_its_thickness(signal: float) -> None:
    phantom = quiet((48, 48), "thickness")
    subject = phantom.subject(0, factors={"signal": signal, "contrast": 0.5})
    r = 0.16 * 48
    thickness = r * (0.12 + 0.5 * signal)
    assert subject.label == pytest.approx(thickness)
    area = math.pi * ((0.5 * r + thickness) ** 2 - (0.5 * r) ** 2)
    assert float(subject.image.sum()) == pytest.approx(area, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_and_multiplicative_intensities(shape: tuple[int, ...]) -> None:
    linear = quiet(shape, "linear").subject(0, factors={"signal": 0.7})
    assert linear.label == pytest.approx(0.7)
    assert float(linear.image.max()) == pytest.approx(0.7)
    assert torch.allclose(linear.image[0], 0.7 * linear.structure)
    both = quiet(shape, "multiplicative").subject(0, factors={"signal": 0.7, "partner": 0.4})
    assert both.label == pytest.approx(0.28)
    inside = both.image[both.image > 0.39999]
    assert inside.min() >= 0.3999
    assert set(inside.mul(10).round().tolist()) <= {4.0, 5.0, 6.0, 7.0}
    # Two balls of one size: the sum is (0.7 + 0.4) times what one of them fills.
    assert float(both.image.sum()) == pytest.approx(1.1 / 2 * float(both.structure.sum()), rel=0.02)


def test_texture_keeps_its_variance_and_widens_its_correlation() -> None:
    for length in (0.4, 1.4, 2.4):
        field = correlated((300, 300), length, 0, "a", "texture")
        assert float(field.std()) == pytest.approx(1.0, abs=0.06)
        near = float((field[:, 2:] * field[:, :-2]).mean())
        # Noise smoothed with a Gaussian of sd s has the correlation exp(-d^2 / 4 s^2) at distance d.
        assert near == pytest.approx(math.exp(-1 / length**2), abs=0.06 if length > 1 else 0.02)


def test_shapes_are_averaged_from_finer_cells() -> None:
    grid = coordinates((4, 4), finer=4)
    assert [float(g.min()) for g in grid] == [-1.875, -1.875]
    half = averaged((grid[0] > 0.5).double(), (4, 4))
    assert half[:, 0].tolist() == [0.0, 0.0, 0.5, 1.0]
    disc = averaged(ellipsoid(coordinates((30, 30)), [0.3, -0.2], [9.0, 6.0]), (30, 30))
    assert float(disc.sum()) == pytest.approx(math.pi * 54, rel=0.01)


@pytest.mark.parametrize("name", list(PHANTOMS))
@pytest.mark.parametrize("shape", [(24, 24), (16, 16, 16)])
def test_one_factor_changes_nothing_else(name: str, shape: tuple[int, ...]) -> None:
    phantom = PHANTOMS.load(name)(shape)
    drawn = phantom.draw(5, seed=2)
    whole = phantom.subject(5, seed=2)
    again = phantom.subject(5, seed=2, factors=drawn)
    assert torch.equal(whole.image, again.image)
    for factor in drawn:
        moved = phantom.subject(5, seed=2, factors={factor: 1.0 if drawn[factor] < 0.5 else 0.0})
        assert {k for k in drawn if moved.factors[k] != drawn[k]} == {factor}
        changed = (moved.image - whole.image).abs() > 1e-6
        assert bool(changed.any())
        # Noise, tissues and marks elsewhere stay: most of the image is the same, voxel by voxel.
        assert float(changed.double().mean()) < 0.5
        assert (moved.label != whole.label) == (factor in phantom.causes)


def test_images_are_those_of_the_subject_alone() -> None:
    phantom = PHANTOMS.load("linear")((24, 24))
    one = phantom.subject(7, seed=1)
    phantom.subject(3, seed=1)
    assert torch.equal(one.image, phantom.subject(7, seed=1).image)
    assert not torch.equal(one.image, phantom.subject(8, seed=1).image)
    assert not torch.equal(one.image, phantom.subject(7, seed=2).image)


@pytest.mark.parametrize("effect", ["linear", "multiplicative", "volume"])
@pytest.mark.parametrize("dose", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_dose_is_the_correlation(effect: str, dose: float) -> None:
    phantom = PlantedPhantom((16, 16), effect, decoy=dose)  # type: ignore[arg-type]
    drawn = [phantom.draw(n) for n in range(3000)]
    labels = [phantom.label(d) for d in drawn]
    decoys = [d["decoy"] for d in drawn]
    found = np.corrcoef(labels, decoys)[0, 1]
    assert found == pytest.approx(dose, abs=1e-6 if dose == 1 else 3.5 * (1 - dose**2) / math.sqrt(3000))
    assert np.mean(decoys) == pytest.approx(0.5, abs=0.02)
    assert np.std(decoys) == pytest.approx(math.sqrt(1 / 12), abs=0.01)


def test_decoy_stays_when_the_signal_is_moved() -> None:
    phantom = PlantedPhantom((24, 24), "linear", decoy=0.9)
    assert phantom.subject(0, factors={"signal": 0.0}).factors["decoy"] == phantom.draw(0)["decoy"]


def test_suppressor_hides_the_signal_and_a_difference_finds_it_again() -> None:
    phantom = PlantedPhantom((24, 24), "linear", "white", noise=0.0, suppressor=0.5, shift=0.0)
    subjects = [phantom.subject(n) for n in range(60)]
    # The mark: where the nuisance alone moves the image, away from the structure.
    low, high = (phantom.subject(0, factors={"suppressor-mark": v}).image[0] for v in (0.0, 1.0))
    site = subjects[0].structure > 0.999
    mark = ((high - low) > 0.999) & (subjects[0].structure == 0)
    labels = np.array([s.label for s in subjects])
    ins = np.array([float(s.image[0][site].mean()) for s in subjects])
    marks = np.array([float(s.image[0][mark].mean()) for s in subjects])
    assert np.corrcoef(ins, labels)[0, 1] < 0.85
    assert abs(np.corrcoef(marks, labels)[0, 1]) < 0.3
    assert np.allclose(ins - marks, labels, atol=1e-5)


def test_tasks_give_what_they_say() -> None:
    made = {t: PlantedPhantom((24, 24), "linear", "anatomical", task=t) for t in ("regression", "classification")}
    labels = torch.tensor([made["regression"].subject(n).label for n in range(200)])
    classes = torch.cat([made["classification"].subject(n).target for n in range(200)])
    assert torch.equal(classes, (labels > 0.5).float())
    clean = PlantedPhantom((24, 24), "linear", "anatomical", task="denoising").subject(0)
    silent = PlantedPhantom((24, 24), "linear", "anatomical", noise=0.0).subject(0)
    assert torch.allclose(clean.target, silent.image)
    assert torch.equal(clean.image, made["regression"].subject(0).image)
    removed = PlantedPhantom((24, 24), "linear", "anatomical", task="removal").subject(0)
    without = PlantedPhantom((24, 24), "linear", "anatomical").subject(0, factors={"signal": 0.0})
    assert torch.allclose(removed.target, without.image, atol=1e-6)
    corrected = PlantedPhantom((24, 24), "linear", "correlated", task="correction", suppressor=0.5).subject(3)
    plain = PlantedPhantom((24, 24), "linear", "correlated", noise=0.0).subject(3)
    assert torch.allclose(corrected.target, plain.image, atol=1e-6)


def test_the_two_places_of_a_suppressor_are_drawn_alike_and_move_alone() -> None:
    phantom = PlantedPhantom((24, 24), "linear", "white", noise=0.0, suppressor=0.5)
    drawn = phantom.draw(2)
    assert drawn["suppressor"] == drawn["suppressor-mark"]
    whole, structure = phantom.subject(2).image, phantom.subject(2).structure
    over = (phantom.subject(2, factors={"suppressor": 0.0}).image - whole).abs()[0] > 1e-6
    alone = (phantom.subject(2, factors={"suppressor-mark": 0.0}).image - whole).abs()[0] > 1e-6
    assert torch.equal(over, structure > 0)
    assert bool(alone.any())
    assert not bool((over & alone).any())


def test_half_of_all_products_are_below_the_median() -> None:
    median = PlantedPhantom((16, 16), "multiplicative").median
    assert median - median * math.log(median) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("shape", [(30, 30), (16, 18, 20)])
def test_tissues_lie_in_a_body_with_air_around(shape: tuple[int, ...]) -> None:
    image = tissues(shape, 0, "a")
    assert all(float(image[tuple(corner)]) == 0 for corner in itertools.product(*[(0, n - 1) for n in shape]))
    inside = averaged(ellipsoid(coordinates(shape), [0.0] * len(shape), [0.4 * n for n in shape]), shape) == 1
    assert float(image[inside].min()) >= 0.25
    assert float(image.max()) <= 0.75 + 1e-6
    assert not torch.equal(image, tissues(shape, 1, "a"))


def test_a_slice_or_a_volume_has_its_place() -> None:
    assert PlantedPhantom((16, 20)).subject(0).volume.shape == (16, 20, 1)
    assert PlantedPhantom((16, 20, 18)).subject(0).volume.shape == (16, 20, 18)


def test_mistakes_are_told() -> None:
    with pytest.raises(InputError, match="at least 16 voxels"):
        PlantedPhantom((8, 8))
    with pytest.raises(InputError, match="0 to 1"):
        PlantedPhantom(decoy=1.5)
    with pytest.raises(InputError, match="no distractor"):
        PlantedPhantom(effect="multiplicative", distractor=True)
    with pytest.raises(UnknownNameError, match="signal"):
        PlantedPhantom().subject(0, factors={"signl": 0.0})
