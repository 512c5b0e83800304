"""Areal density: linear in the mineral, its weights against finite differences, the same at any voxel size."""

import pytest
import torch

from regard.core.errors import GeometryError
from regard.phantoms.torso import Torso, TorsoShape, areal_bmd, label_weights, measure_l1, render_torso, trabecular_bmd
from regard.phantoms.torso.density import dxa_noise


def slow_areal_bmd(torso: Torso) -> float:
    """Column by column, as a DXA scanner sees it: mineral behind the outline over the outline's area."""
    part, (dx, dy, dz) = torso.fractions, torso.hu.spacing
    mass = area = 0.0
    n_x, _, n_z = torso.hu.shape
    for i in range(n_x):
        for k in range(n_z):
            seen = float(torso.front[i, 0, k])
            body = float(part["mineral_body"].tensor[0, i, :, k].sum())
            rear = float(part["mineral_posterior"].tensor[0, i, :, k].sum())
            mass += (body + seen * rear) * dx * dy * dz / 1000
            area += seen * dx * dz / 100
    return mass / area


def test_label_is_the_mass_over_the_area(l1: Torso) -> None:
    assert areal_bmd(l1) == pytest.approx(slow_areal_bmd(l1), rel=1e-5)


@pytest.mark.parametrize("spacing", [1.0, 1.5, 3.0, 4.0])
def test_label_does_not_depend_on_voxels(shape: TorsoShape, spacing: float) -> None:
    reference = measure_l1(shape, spacing_mm=0.75)
    found = measure_l1(shape, spacing_mm=spacing)
    assert found.areal_bmd == pytest.approx(reference.areal_bmd, rel=0.01)
    assert found.trabecular_bmd == pytest.approx(reference.trabecular_bmd, rel=0.01)


def test_label_of_the_torso_is_that_of_l1_alone(shape: TorsoShape, l1: Torso) -> None:
    assert areal_bmd(l1) == pytest.approx(measure_l1(shape, spacing_mm=1.0).areal_bmd, rel=0.01)
    assert trabecular_bmd(l1) == pytest.approx(measure_l1(shape, spacing_mm=1.0).trabecular_bmd, rel=0.01)


def test_weights_are_the_finite_difference(l1: Torso) -> None:
    """Add mineral to one voxel of each part: the label changes by weight times mineral."""
    weights = label_weights(l1).tensor
    base = slow_areal_bmd(l1)
    for name in ("mineral_body", "mineral_trabecular", "mineral_posterior"):
        values = l1.fractions[name].tensor
        index = torch.nonzero(values * (weights > 0) == (values * (weights > 0)).max())[0].tolist()
        step = 0.2
        part = "mineral_posterior" if name == "mineral_posterior" else "mineral_body"
        changed = l1.fractions[part].tensor.clone()
        changed[tuple(index)] += step
        moved = {**l1.fractions, part: l1.fractions[part].with_tensor(changed)}
        after = slow_areal_bmd(Torso(l1.shape, l1.hu, l1.labels, l1.mineral, l1.calcium, l1.uptake, moved, l1.front))
        share = float(weights[tuple(index)])
        assert after - base == pytest.approx(step * share, rel=0.02)


def test_weights_sum_to_the_label_and_lie_in_l1(l1: Torso) -> None:
    whole = label_weights(l1)
    assert whole.unit == "g/cm2 per g/cm3"
    assert float((whole.tensor * l1.mineral.tensor).sum()) == pytest.approx(areal_bmd(l1), rel=1e-5)
    inside = (l1.fractions["body"].tensor + l1.fractions["posterior"].tensor) > 0
    assert not bool((whole.tensor[~inside] != 0).any())
    body, rear = (float((label_weights(l1, p).tensor * l1.mineral.tensor).sum()) for p in ("body", "posterior"))
    trabecular = float((label_weights(l1, "trabecular").tensor * l1.mineral.tensor).sum())
    assert body + rear == pytest.approx(areal_bmd(l1), rel=1e-4)
    assert areal_bmd(l1, posterior=False) == pytest.approx(body, rel=1e-5)
    assert 0.1 < trabecular / body < 0.8


def test_what_hangs_out_of_the_outline_does_not_count(l1: Torso) -> None:
    weights, rear = label_weights(l1).tensor[0], l1.fractions["posterior"].tensor[0]
    outside = (l1.front == 0).expand_as(rear) & (rear > 0.5)
    assert bool(outside.any()), "transverse processes reach beyond the body"
    assert float(weights[outside].abs().max()) == 0


def test_weights_of_a_slice_are_those_of_the_whole(shape: TorsoShape, l1: Torso) -> None:
    area = measure_l1(shape, spacing_mm=1.0).area
    slab = render_torso(shape, (2.0, 2.0, 2.0), ((-60.0, 60.0), (-80.0, 40.0), (-2.0, 2.0)), fine=1)
    part = label_weights(slab, area=area).tensor
    whole = label_weights(l1).tensor[..., 21:23]
    assert torch.allclose(part, whole, rtol=0.02, atol=1e-6)
    with pytest.raises(GeometryError, match="does not hold all of L1"):
        label_weights(slab)


def test_aortic_calcium_counts_only_by_switch(shape: TorsoShape) -> None:
    box = ((-60.0, 60.0), (-80.0, 64.0), (-44.0, 30.0))
    low, high = (render_torso(shape, (3.0, 3.0, 3.0), box, fine=1, factors={"aortic_calcium": v}) for v in (0.0, 1.0))
    assert areal_bmd(low) == pytest.approx(areal_bmd(high), rel=1e-5)
    assert areal_bmd(high, aortic_calcium=True) > areal_bmd(high) + 0.003
    assert areal_bmd(low, aortic_calcium=True) == areal_bmd(low)


def test_noise_of_dxa_has_its_size(l1: Torso) -> None:
    drawn = torch.tensor([dxa_noise(l1.shape, 0.02, seed) for seed in range(400)])
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.1)
    assert areal_bmd(l1, noise=0.02, seed=3) == pytest.approx(areal_bmd(l1) + dxa_noise(l1.shape, 0.02, 3))
