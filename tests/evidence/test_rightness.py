"""Rightness against truths small enough to count by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import Square, drawn, exhibit
from sklearn.metrics import average_precision_score

from regard.core.errors import InputError, ShapeError
from regard.evidence.measure import Places
from regard.evidence.rightness.decoy import DecoyShare
from regard.evidence.rightness.distance import Distance, distance_to_core
from regard.evidence.rightness.inside import (
    AveragePrecision,
    Overlap,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
)

INSIDE = [RelevanceMass, RelevanceRank, AveragePrecision, PointingGame, Overlap]


def case(relevance, core, **places):
    relevance = torch.as_tensor(relevance, dtype=torch.float64)[None, None]
    masks = {k: torch.as_tensor(v, dtype=torch.bool) if k != "spacing" else v for k, v in places.items()}
    truth = Places(torch.as_tensor(core, dtype=torch.bool), **masks)
    return exhibit(Square(), torch.ones_like(relevance), relevance, places=truth)


RELEVANCE = [4.0, -3.0, 2.0, 1.0, 0.0, 0.0]
CORE = [1, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(RelevanceMass, 0.6), (RelevanceRank, 0.5), (PointingGame, 1.0), (Overlap, 1 / 3), (AveragePrecision, 5 / 6)],
)
def test_figures_are_those_counted_by_hand(kind, expected) -> None:
    found = kind().measure(case(RELEVANCE, CORE))
    assert found.value == pytest.approx(expected)
    assert found.notes["share of the core"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", INSIDE)
def test_what_is_allowed_counts_neither_way(kind) -> None:
    """The -3 lies on the allowed border: as if it were not there; a core voxel that is also allowed stays core."""
    allowed = [1, 1, 0, 0, 0, 0]
    found = kind().measure(case(RELEVANCE, CORE, allowed=allowed))
    without = kind().measure(case([4.0, 2.0, 1.0, 0.0, 0.0], [1, 1, 0, 0, 0]))
    assert found.value == pytest.approx(without.value)
    assert found.notes["n_counted"] == 5


@pytest.mark.parametrize("kind", INSIDE)
def test_map_on_the_truth_is_best_and_elsewhere_worst(kind) -> None:
    core = torch.zeros(10, 10, dtype=torch.bool)
    core[2:5, 2:5] = True
    on, off = core.double() + 0.1 * drawn((10, 10))[0, 0].abs() * core, (~core).double()
    assert kind().measure(case(on, core)).value == pytest.approx(1)
    worst = kind().measure(case(off, core)).value
    # As a detector a map that names everything else finds the core at the very end: its share of the voxels.
    assert worst == pytest.approx(9 / 100 if kind is AveragePrecision else 0)


def test_random_maps_have_the_share_of_the_core_on_average() -> None:
    core = torch.zeros(12, 12, dtype=torch.bool)
    core[:4, :6] = True
    for kind in (RelevanceMass, RelevanceRank, PointingGame):
        found = np.array([kind().measure(case(drawn((12, 12), s)[0, 0], core)).value for s in range(300)])
        assert abs(found.mean() - 1 / 6) < 4 * found.std(ddof=1) / math.sqrt(300)


def test_average_precision_is_that_of_scikit_learn() -> None:
    core = drawn((9, 9), 1)[0, 0] > 1
    relevance = drawn((9, 9), 2)[0, 0].mul(3).round()
    theirs = average_precision_score(core.flatten(), relevance.abs().flatten())
    assert AveragePrecision().measure(case(relevance, core)).value == pytest.approx(theirs)


def test_distance_is_in_millimetres_from_the_nearest_of_the_core() -> None:
    core = np.zeros((6, 7), dtype=bool)
    core[1, 1] = True
    relevance = np.zeros((6, 7))
    relevance[4, 5] = -3.0
    relevance[1, 1] = 1.0
    in_mm = Distance().measure(case(relevance, core, spacing=(2.0, 0.5)))
    assert in_mm.unit == "mm"
    assert in_mm.value == pytest.approx(0.75 * math.hypot(6, 2))
    assert in_mm.notes["of the largest"] == pytest.approx(math.hypot(6, 2))
    in_voxels = Distance().measure(case(relevance, core))
    assert in_voxels.unit == "voxel"
    assert in_voxels.value == pytest.approx(0.75 * 5)
    even = Distance().measure(case(np.ones((6, 7)), core))
    assert even.value == pytest.approx(even.notes["by chance"])


def test_distances_are_those_of_a_plain_loop() -> None:
    core = drawn((4, 5, 6), 3)[0, 0] > 1.2
    spacing = (3.0, 1.0, 0.7)
    places = np.argwhere(core.numpy())
    found = distance_to_core(Places(core, spacing=spacing))
    for index in np.ndindex(4, 5, 6):
        nearest = min(np.linalg.norm((np.array(index) - place) * spacing) for place in places)
        assert float(found[index]) == pytest.approx(nearest)


def test_decoy_share_is_its_part_of_the_relevance() -> None:
    found = DecoyShare().measure(case(RELEVANCE, CORE, decoy=[1, 1, 0, 0, 0, 0]))
    assert found.value == pytest.approx(0.3)
    assert found.notes["by chance"] == pytest.approx(1 / 6)
    # A decoy that is also allowed is still a decoy.
    also = DecoyShare().measure(case(RELEVANCE, CORE, decoy=[0, 1, 0, 0, 0, 0], allowed=[0, 1, 0, 1, 0, 0]))
    assert also.value == pytest.approx(3 / 9)
    assert "decoy" in DecoyShare().measure(case(RELEVANCE, CORE)).notes["undefined"]


@pytest.mark.parametrize("kind", INSIDE)
def test_a_truth_of_nothing_or_of_everything_is_undefined(kind) -> None:
    for core in ([0] * 6, [1] * 6):
        assert math.isnan(kind().measure(case(RELEVANCE, core)).value)
    hidden = case([0.0, 5.0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], allowed=[0, 1, 0, 0, 0, 0])
    assert "zero wherever" in kind().measure(hidden).notes["undefined"]


def test_a_truth_of_nothing_has_no_distance() -> None:
    assert math.isnan(Distance().measure(case(RELEVANCE, [0] * 6)).value)


def test_what_does_not_fit_is_refused() -> None:
    good = case(RELEVANCE, CORE)
    with pytest.raises(InputError, match="without a truth"):
        RelevanceMass().measure(replace(good, places=None))
    assert not RelevanceMass().can(replace(good, places=None))
    assert RelevanceMass().can(good)
    with pytest.raises(ShapeError, match=r"\(5,\)"):
        RelevanceMass().measure(replace(good, places=Places(torch.ones(5, dtype=torch.bool))))
    with pytest.raises(ShapeError, match="one per axis"):
        Distance().measure(case(RELEVANCE, CORE, spacing=(1.0, 1.0)))


def test_average_precision_by_chance_is_its_mean_over_all_orders() -> None:
    from itertools import permutations

    from regard.evidence.localisation import average_precision, average_precision_by_chance

    for n_inside, n in ((1, 5), (2, 6), (4, 6)):
        truth = (torch.arange(n) < n_inside).float()
        orders = [average_precision(torch.tensor(order) + 1.0, truth) for order in permutations(range(n))]
        assert abs(sum(orders) / len(orders) - average_precision_by_chance(n_inside, n)) < 1e-9
    assert abs(average_precision_by_chance(2, 200) - 0.0343) < 1e-4  # and not the share, 0.010
    near = [average_precision_by_chance(3, n) for n in (9_999, 10_000)]
    assert abs(near[0] - near[1]) < 1e-6
