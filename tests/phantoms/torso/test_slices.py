"""Slices through L1 with labels, and both truths about a slice."""

import pytest
import torch

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.torso import Scanner, TorsoPhantom, TorsoShape, l1_slices, measure_l1, slices_of
from regard.phantoms.truth import data_truth, model_truth, places_of

SMALL = TorsoPhantom(
    size=64,
    spacing_mm=4.0,
    fine=1,
    factors=("trabecular", "cortical", "muscle", "table_mark"),
    doses={"table_mark": 0.5},
)


def test_a_cohort_of_slices() -> None:
    found = list(l1_slices(2, n_slices=2, size=64, spacing_mm=4.0, fine=1))
    assert [s.name for s in found] == ["torso-00000-0", "torso-00000-1", "torso-00001-0", "torso-00001-1"]
    assert len({s.patient for s in found}) == 2
    for s in found:
        assert s.image.shape == (64, 64, 1)
        assert s.image.unit == "HU"
        assert s.image.spacing == pytest.approx((4.0, 4.0, 3.0))
        assert s.image.grid.matches(s.labels.grid)
        assert 0.35 < s.true_label < 1.5
        assert abs(s.label - s.true_label) < 0.06
        assert float(s.body.tensor.sum()) > 20
        assert float(s.vertebra.tensor.sum()) > float(s.body.tensor.sum())
    assert found[0].label == found[1].label
    assert found[0].z < found[1].z
    again = next(l1_slices(1, first=1, n_slices=2, size=64, spacing_mm=4.0, fine=1))
    assert torch.equal(again.image.tensor, found[2].image.tensor)


def test_the_spine_is_in_the_middle(shape: TorsoShape) -> None:
    (found,) = slices_of(shape, n_slices=1, size=64, spacing_mm=4.0, fine=1)
    index = torch.nonzero(found.body.tensor[0, ..., 0]).double().mean(0)
    assert torch.allclose(index, torch.tensor([31.5, 31.5], dtype=torch.float64), atol=6)


def test_the_same_field_at_another_size(shape: TorsoShape) -> None:
    quiet = Scanner(noise_hu=0.0, kernel_mm=0.0)
    (fine,) = slices_of(shape, n_slices=1, size=128, spacing_mm=2.0, scanner=quiet)
    (coarse,) = slices_of(shape, n_slices=1, size=64, spacing_mm=4.0, scanner=quiet)
    halved = torch.nn.functional.avg_pool2d(fine.image.tensor[..., 0], 2)
    assert float((halved - coarse.image.tensor[..., 0]).abs().mean()) < 6


def test_weights_of_slices_make_the_label(shape: TorsoShape) -> None:
    """Contiguous slices over all of L1: weight times mineral sums to the label."""
    heights = [-24.0 + 4.0 * i for i in range(13)]
    found = slices_of(shape, size=48, spacing_mm=2.5, slice_mm=4.0, heights=heights, n_slices=len(heights), fine=1)
    total = sum(float((s.weights.tensor * s.torso.mineral.tensor).sum()) for s in found)
    assert total == pytest.approx(measure_l1(shape).areal_bmd, rel=0.01)


def test_factors_change_only_what_they_name(shape: TorsoShape) -> None:
    (a,), (b,) = (
        slices_of(shape, n_slices=1, size=64, spacing_mm=4.0, fine=1, factors={"table_mark": v}) for v in (0.0, 1.0)
    )
    changed = (a.image.tensor - b.image.tensor).abs() > 1e-3
    assert 0 < int(changed.sum()) < 40
    index = torch.nonzero(changed[0, ..., 0]).double().mean(0)
    world = a.image.grid.to_world([*index.tolist(), 0])
    assert world[0] == pytest.approx(62, abs=8)
    assert world[1] < -70


def test_truth_of_a_network_that_reads_the_mark() -> None:
    """Its output is the sum over the mark's pixels: the mark has all of the Shapley value, and is the core."""
    subject = SMALL.subject(1)
    places = places_of(SMALL, 1, "table_mark")

    def reads_the_mark(images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, places].sum(1) / 1000

    truth = model_truth(reads_the_mark, SMALL, 1)
    assert truth.value == pytest.approx(float(subject.image[0, places].sum()) / 1000, rel=1e-5)
    others = [abs(v) for f, v in truth.shapley.items() if f != "table_mark"]
    assert abs(truth.shapley["table_mark"]) > 50 * max(others)
    assert sum(truth.shapley.values()) == pytest.approx(truth.value - truth.reference, rel=1e-6)
    assert torch.equal(truth.places.core, places)
    assert truth.change["table_mark"] > 0


def test_truth_of_the_label_is_the_vertebra() -> None:
    subject, truth = SMALL.subject(1), data_truth(SMALL, 1)
    assert bool(truth.core.any())
    assert float((truth.core & (subject.structure > 0)).sum() / truth.core.sum()) > 0.9
    assert bool(truth.decoy.any()), "the mark and the muscle are decoys"
    assert not bool((truth.core & truth.decoy).any())
    assert not bool((truth.forbidden & (truth.core | truth.allowed | truth.decoy)).any())


def test_errors(shape: TorsoShape) -> None:
    with pytest.raises(InputError, match="at least one"):
        slices_of(shape, n_slices=0)
    with pytest.raises(UnknownNameError, match="cortical"):
        TorsoPhantom(factors=("cortex",))
