"""The rendered torso: sides, tissues, mass, repetition, factors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.torso import STRUCTURES, Torso, TorsoShape, render_torso, with_factors
from regard.phantoms.torso.density import measure_l1
from regard.phantoms.torso.render import HU_PER_MINERAL

SMALL = ((-70.0, 70.0), (-110.0, 70.0), (-4.0, 4.0))


def centre(torso: Torso, name: str) -> np.ndarray:
    index = torch.nonzero(torso.mask(name)).double().mean(0).numpy()
    assert np.isfinite(index).all(), f"no {name}"
    return torso.hu.grid.to_world(index)


def test_sides_are_the_patients(slab: Torso) -> None:
    assert slab.hu.orientation == "LPS"
    assert centre(slab, "kidney_right")[0] > 40
    assert centre(slab, "kidney_left")[0] < -40
    assert centre(slab, "liver")[0] > 40
    assert centre(slab, "ivc")[0] > centre(slab, "aorta")[0]
    assert centre(slab, "aorta")[1] > 10 > centre(slab, "canal")[1]
    assert centre(slab, "paraspinal")[1] < -50
    assert centre(slab, "table")[1] < centre(slab, "paraspinal")[1]


def test_chest_lies_above_and_heart_is_left(shape: TorsoShape) -> None:
    torso = render_torso(shape, (6.0, 6.0, 6.0), ((-180.0, 180.0), (-140.0, 150.0), (100.0, 292.0)), fine=1)
    assert centre(torso, "heart")[0] < -5
    assert centre(torso, "lung_right")[0] > 40 > -40 > centre(torso, "lung_left")[0]
    assert centre(torso, "sternum")[1] > 40
    assert centre(torso, "scapula")[1] < 0
    assert centre(torso, "clavicle")[2] > 250
    for side, sign in (("lung_right", 1), ("lung_left", -1)):
        assert float(torso.mask(side).sum()) * 0.216 > 900, f"{side} of {sign} is small"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("subcutaneous_fat", -125, -80),
        ("visceral_fat", -125, -75),
        ("muscle", 25, 70),
        ("psoas", 25, 70),
        ("paraspinal", 5, 65),
        ("liver", 30, 75),
        ("spleen", 30, 60),
        ("kidney_left", 15, 45),
        ("aorta", 25, 60),
        ("canal", 0, 40),
        ("l1_trabecular", 50, 260),
        ("l1_cortical", 250, 1200),
        ("air", -1000, -990),
    ],
)
def test_median_hu_of_a_tissue(slab: Torso, name: str, low: float, high: float) -> None:
    median = float(slab.hu.tensor[0][slab.mask(name)].median())
    assert low <= median <= high


def test_hu_is_soft_tissue_and_mineral(slab: Torso) -> None:
    soft = slab.hu.tensor - HU_PER_MINERAL * (slab.mineral.tensor + slab.calcium.tensor)
    assert float(soft.min()) >= -1000.01
    assert float(soft[0][slab.mask("l1_cortical")].max()) < 120
    assert float(slab.mineral.tensor[0][slab.mask("liver", "aorta", "psoas")].mean()) < 0.01


def test_the_same_seed_is_the_same_torso(shape: TorsoShape) -> None:
    first, second = (render_torso(shape, (4.0, 4.0, 4.0), SMALL) for _ in range(2))
    assert torch.equal(first.hu.tensor, second.hu.tensor)
    other = render_torso(replace(shape, name="torso-00099"), (4.0, 4.0, 4.0), SMALL)
    assert not torch.equal(first.hu.tensor, other.hu.tensor)


def test_a_slab_is_a_part_of_a_taller_one(shape: TorsoShape) -> None:
    """Every structure is a function of world coordinates: where the box ends does not matter."""
    tall = render_torso(shape, (4.0, 4.0, 4.0), ((-70.0, 70.0), (-110.0, 70.0), (-12.0, 12.0)))
    thin = render_torso(shape, (4.0, 4.0, 4.0), SMALL)
    inside = tall.hu.tensor[..., 2:4]
    assert float((inside - thin.hu.tensor).abs().max()) < 0.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (2.0, 2.0, 4.0), (4.0, 4.0, 4.0)])
def test_mineral_mass_does_not_depend_on_voxels(shape: TorsoShape, spacing: tuple[float, float, float]) -> None:
    reference = measure_l1(shape, spacing_mm=1.0)
    torso = render_torso(shape, spacing, ((-60.0, 60.0), (-80.0, 40.0), (-44.0, 28.0)), fine=1)
    mass = float(torso.fractions["mineral_body"].tensor.sum()) * np.prod(spacing) / 1000
    assert mass == pytest.approx(reference.body, rel=0.01)


@pytest.mark.parametrize("factor", ["aortic_calcium", "muscle", "table_mark", "habitus", "skeleton"])
def test_what_is_no_cause_changes_the_image_and_not_the_label(shape: TorsoShape, factor: str) -> None:
    low, high = (with_factors(shape, {factor: v}) for v in (0.1, 0.9))
    assert measure_l1(low, spacing_mm=2.0) == measure_l1(high, spacing_mm=2.0)
    box = ((-128.0, 128.0), (-138.0, 118.0), (-2.0, 2.0))
    a, b = (render_torso(s, (4.0, 4.0, 4.0), box, fine=1) for s in (low, high))
    assert float((a.hu.tensor - b.hu.tensor).abs().max()) > 20
    assert torch.equal(a.mineral.tensor[0][a.mask("l1_trabecular")], b.mineral.tensor[0][a.mask("l1_trabecular")])


def test_density_of_l1_is_its_own(shape: TorsoShape) -> None:
    """L1's factors leave the ribs, the skeleton's leaves L1."""
    box = ((-150.0, 150.0), (-110.0, 70.0), (-4.0, 4.0))
    plain, l1, others = (
        render_torso(shape, (4.0, 4.0, 4.0), box, fine=1, factors=f)
        for f in ({}, {"trabecular": 0.9}, {"skeleton": 0.9})
    )
    ribs, body = plain.mask("rib"), plain.mask("l1_trabecular")
    assert torch.equal(plain.hu.tensor[0][ribs], l1.hu.tensor[0][ribs])
    assert float((l1.hu.tensor - plain.hu.tensor)[0][body].mean()) > 50
    assert torch.equal(plain.hu.tensor[0][body], others.hu.tensor[0][body])
    assert float((others.hu.tensor - plain.hu.tensor)[0][ribs].mean()) > 50


@pytest.mark.parametrize("factor", ["trabecular", "cortical"])
def test_a_cause_changes_the_label(shape: TorsoShape, factor: str) -> None:
    low, high = (measure_l1(with_factors(shape, {factor: v}), spacing_mm=2.0).areal_bmd for v in (0.2, 0.6))
    assert high > low + 0.05


def test_size_scales_areal_density(shape: TorsoShape) -> None:
    """Mineral grows with volume, the front view with area: areal density grows with length, but for the shell,
    which keeps its thickness, as the hollow of the endplates keeps its depth.
    """
    small, large = (measure_l1(replace(shape, vertebra=v), spacing_mm=1.0) for v in (0.9, 1.1))
    assert large.area / small.area == pytest.approx((1.1 / 0.9) ** 2, rel=0.02)
    assert 1.0 < large.areal_bmd / small.areal_bmd < 1.1 / 0.9
    assert large.trabecular / small.trabecular > (1.1 / 0.9) ** 3


def test_factors_in_render_are_factors_of_the_shape(shape: TorsoShape) -> None:
    one = render_torso(shape, (4.0, 4.0, 4.0), SMALL, factors={"muscle": 0.1})
    two = render_torso(with_factors(shape, {"muscle": 0.1}), (4.0, 4.0, 4.0), SMALL)
    assert torch.equal(one.hu.tensor, two.hu.tensor)


def test_structures_fit_the_labels(slab: Torso) -> None:
    assert set(slab.labels.tensor.unique().long().tolist()) <= set(STRUCTURES.values())
    assert len(STRUCTURES) < 256


def test_errors_say_what_to_do(shape: TorsoShape) -> None:
    with pytest.raises(InputError, match="region 'head'"):
        render_torso(shape, region="head")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        render_torso(shape, (0.0, 1.0, 1.0))
    with pytest.raises(UnknownNameError, match="trabecular"):
        render_torso(shape, (4.0, 4.0, 4.0), SMALL, factors={"trabecula": 0.5})
