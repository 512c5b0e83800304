"""Deletion, insertion, infidelity, sensitivity-n and completeness against closed forms and loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import Linear, drawn, exhibit, gradient, linear
from torch import nn

from regard.core.errors import InputError
from regard.core.image_target import Mean
from regard.core.quantity import Quantity, Sign
from regard.core.target import Logit
from regard.evidence.faithfulness.completeness import CompletenessError
from regard.evidence.faithfulness.deletion_insertion import Deletion, Insertion
from regard.evidence.faithfulness.infidelity import Infidelity, ScaledInfidelity, random_box
from regard.evidence.faithfulness.removal import blocks, claims, filling, per_part
from regard.evidence.faithfulness.sensitivity_n import SensitivityN

VOXEL_BY_VOXEL = {"n_parts": 64, "n_steps": 64, "fillers": ("reference", 0.5)}


def deletion_by_loop(network, x, claimed, fill) -> tuple[np.ndarray, np.ndarray]:
    """f while voxels are filled one by one: largest claims first, smallest first."""
    curves = []
    for order in (claimed.flatten().argsort(descending=True), claimed.flatten().argsort()):
        now, values = x.clone(), [float(network(x).detach())]
        for voxel in order.tolist():
            now.view(-1)[voxel] = fill.reshape(-1)[voxel]
            values.append(float(network(now).detach()))
        curves.append(np.array(values))
    return curves[0], curves[1]


def areas(curve: np.ndarray) -> float:
    return float(((curve[1:] + curve[:-1]) / 2).mean())


def test_deletion_is_the_area_between_the_orders_of_a_plain_loop() -> None:
    case, _ = linear()
    found = Deletion(**VOXEL_BY_VOXEL).measure(case)
    expected = []
    for fill in (torch.zeros_like(case.x), torch.full_like(case.x, 0.5)):
        largest, smallest = deletion_by_loop(case.network, case.x, case.relevance, fill)
        expected.append(areas(smallest) - areas(largest))
    assert found.notes["filler reference"] == pytest.approx(expected[0], rel=1e-12)
    assert found.notes["filler 0.5"] == pytest.approx(expected[1], rel=1e-12)
    assert found.value == pytest.approx(sum(expected) / 2, rel=1e-12)
    assert found.unit == "output"


def test_deletion_over_blocks_is_that_of_a_loop_over_blocks() -> None:
    case, _ = linear((9, 10))
    numbers = blocks((9, 10), 12)
    found = Deletion(n_parts=12, n_steps=4, fillers=("reference", "blur")).measure(case)
    means = [float(case.relevance[0, 0][numbers == part].mean()) for part in range(12)]
    for name in ("reference", "blur"):
        fill, figure = filling(case, name, numbers), {}
        for sign in (1, -1):
            order = sorted(range(12), key=lambda part: -sign * means[part])
            share, values = [0.0], [case.value]
            for step in (3, 6, 9, 12):
                gone = torch.isin(numbers, torch.tensor(order[:step]))
                share.append(float(gone.double().mean()))
                values.append(float(case.network(torch.where(gone, fill, case.x)).detach()))
            figure[sign] = np.trapezoid(values, share)
        assert found.notes[f"filler {name}"] == pytest.approx(figure[-1] - figure[1], rel=1e-10)


def test_a_part_does_not_go_first_for_being_larger() -> None:
    """Eleven places in blocks of 3, 2, 3 and 3: the part of two is denser, the others have the larger sum."""
    numbers = blocks((11,), 4)
    sizes = torch.bincount(numbers.flatten())
    small = int(sizes.argmin())
    assert sorted(sizes.tolist()) == [2, 3, 3, 3]
    weight = torch.where(numbers == small, 1.2, 1.0)[None, None].double()
    x = torch.ones(1, 1, 11, dtype=torch.float64)
    case = exhibit(Linear(weight, 60.0), x, weight * x, reference=torch.zeros_like(x))
    removals = Deletion(n_parts=4, n_steps=4, fillers=("reference", 0.5)).removals(case, "reference", numbers)
    assert removals is not None
    # The densest part goes first when the largest claims do, and last when the smallest do.
    assert float(removals.largest[1]) == pytest.approx(case.value - 2.4)
    assert float(removals.smallest[-2]) == pytest.approx(case.value - 9)
    assert float(removals.largest_share[1]) == pytest.approx(2 / 11)


def test_a_regressor_of_one_output_has_no_constant_curve() -> None:
    case, _ = linear((16, 16))
    found = Deletion().measure(case)
    for name in ("blur", "mean"):
        assert float(found.curve[f"largest first/{name}"].std()) > 0.1
        assert found.curve[f"largest first/{name}"][0] == pytest.approx(case.value)
    assert found.value > 0


def test_perfect_map_is_best_and_inverted_one_its_negative() -> None:
    case, _ = linear()
    measure = Deletion(n_parts=64, n_steps=64, fillers=("reference", "mean"))
    perfect = measure.measure(case).notes["filler reference"]
    assert measure.measure(case.with_map(-case.relevance)).notes["filler reference"] == pytest.approx(-perfect)
    for seed in range(30):
        other = measure.measure(case.with_map(drawn((8, 8), 100 + seed))).notes["filler reference"]
        assert other < 0.7 * perfect


def test_random_map_is_at_chance() -> None:
    case, _ = linear()
    measure = Deletion(n_parts=64, n_steps=16)
    found = np.array([measure.measure(case.with_map(drawn((8, 8), 100 + seed))).value for seed in range(60)])
    assert abs(found.mean()) < 3.5 * found.std(ddof=1) / math.sqrt(60)
    assert found.std(ddof=1) > 0.1


def test_gradient_is_read_as_what_it_says_of_each_filling() -> None:
    """Raising the intensity: the claim is w (x - filling), which no filling makes wrong."""
    case, weight = linear()
    sensitivity = replace(case, relevance=weight, quantity=Quantity.SENSITIVITY, sign=Sign.RAISES)
    found = Deletion(**VOXEL_BY_VOXEL).measure(sensitivity)
    for name, fill in (("reference", 0.0), ("0.5", 0.5)):
        claimed = weight * (case.x - fill)
        largest, smallest = deletion_by_loop(case.network, case.x, claimed, torch.full_like(case.x, fill))
        assert found.notes[f"filler {name}"] == pytest.approx(areas(smallest) - areas(largest), rel=1e-12)


def test_fillers_that_disagree_are_told() -> None:
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    weight = drawn((8, 8))
    case = exhibit(Linear(weight), x, weight * x)
    found = Deletion(fillers=(0.0, 2.0)).measure(case)
    assert found.notes["fillers agree"] is False
    assert found.value == pytest.approx(0, abs=1e-12)
    assert Deletion(fillers=(0.0, 0.5)).measure(case).notes["fillers agree"] is True


@pytest.mark.parametrize("fillers", [("blur",), "blur", ("mean", "mean")])
def test_one_filler_is_refused(fillers) -> None:
    with pytest.raises(InputError, match="at least two"):
        Deletion(fillers=fillers)
    with pytest.raises(InputError, match="at least two"):
        SensitivityN(fillers=fillers)


def test_insertion_of_a_signed_map_is_deletion_read_backwards() -> None:
    case, _ = linear((9, 7))
    assert Insertion().measure(case).value == pytest.approx(Deletion().measure(case).value, rel=1e-12)


def test_unsigned_maps_are_measured_by_the_size_of_the_change() -> None:
    case, _ = linear()
    unsigned = replace(case, relevance=case.relevance.abs(), sign=Sign.UNSIGNED, quantity=Quantity.SCORE)
    largest, smallest = deletion_by_loop(case.network, case.x, unsigned.relevance, torch.zeros_like(case.x))
    deleted = areas(np.abs(case.value - largest))
    kept = areas(np.abs(case.value - smallest))
    assert Deletion(**VOXEL_BY_VOXEL).measure(unsigned).notes["filler reference"] == pytest.approx(deleted)
    assert Insertion(**VOXEL_BY_VOXEL).measure(unsigned).notes["filler reference"] == pytest.approx(deleted - kept)
    # An unsigned map that came with signs is read by its size.
    assert Deletion(**VOXEL_BY_VOXEL).measure(replace(unsigned, relevance=case.relevance)).notes[
        "filler reference"
    ] == pytest.approx(deleted)


def test_figures_are_in_the_cohorts_spread_where_it_is_known() -> None:
    case, _ = linear()
    bare, scaled = Deletion().measure(case), Deletion().measure(replace(case, spread=4.0))
    assert scaled.unit == "spread"
    assert scaled.value == pytest.approx(bare.value / 4)
    squared = Infidelity(n_samples=10).measure(replace(case, spread=4.0))
    assert squared.unit == "spread²"
    assert squared.value == pytest.approx(Infidelity(n_samples=10).measure(case).value / 16)
    assert math.isnan(Deletion().measure(replace(case, spread=0.0)).value)


def test_passes_are_counted_and_ten_times_fewer_than_pixel_by_pixel() -> None:
    x = drawn((64, 64))
    network = Linear(drawn((64, 64), 1))
    rows = 0

    def counting(batch):
        nonlocal rows
        rows += len(batch)
        return network(batch)

    found = Deletion().measure(exhibit(counting, x, network.weight.detach() * x))
    assert rows == found.notes["n_passes"]
    assert 10 * rows <= 2 * 2 * 64 * 64
    assert found.notes["voxels_a_part"] == [16, 16]


@pytest.mark.parametrize("relevance", [torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.1)])
def test_a_map_that_ranks_nothing_is_undefined(relevance) -> None:
    case, _ = linear()
    found = Deletion().measure(case.with_map(relevance.double()))
    assert math.isnan(found.value)
    assert found.notes["undefined"]


def test_ties_do_not_fall_by_position() -> None:
    """Half of the map is zero, and the zeros are where the output hangs on: no figure may come from their order."""
    x = torch.ones(1, 1, 64, dtype=torch.float64)
    weight = torch.zeros_like(x)
    weight[..., 32:48] = 1.0
    relevance = torch.zeros_like(x)
    relevance[..., :2] = 1.0
    found = [
        Deletion(n_parts=64, n_steps=64, fillers=(0.0, 0.5))
        .measure(exhibit(Linear(weight), x, relevance, seed=s))
        .value
        for s in range(40)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found, ddof=1) / math.sqrt(40)


def test_supervoxels_are_ranked_by_their_mean_and_weighed_by_their_size() -> None:
    case, _ = linear((20, 20))
    found = Deletion(parts="supervoxels", n_parts=40).measure(case)
    assert found.notes["parts"] == "supervoxels"
    assert found.value > 0
    for kind in ("blur", "mean"):
        share = found.curve[f"share filled, largest first/{kind}"]
        assert share[0] == 0
        assert share[-1] == pytest.approx(1)
        assert bool((share.diff() > 0).all())


def test_blocks_are_equal_to_a_voxel_along_each_axis() -> None:
    for size in [(13, 7), (16, 16), (9,), (6, 1, 10), (5, 6, 7)]:
        numbers = blocks(size, 12)
        found = numbers.unique()
        assert found.tolist() == list(range(len(found)))
        for axis, n in enumerate(size):
            lines = numbers.movedim(axis, 0).reshape(n, -1)
            edges = [int((lines == part).any(1).sum()) for part in found.tolist()]
            assert max(edges) - min(edges) <= 1


def test_images_and_classes_are_measured_through_the_same_target() -> None:
    x = drawn((8, 8))
    convolution = nn.Conv2d(1, 2, 3, padding=1).double()
    region = torch.zeros(8, 8)
    region[2:4, 2:4] = 1

    def mean(output):
        return Mean(region).value(output)

    relevance = gradient(lambda t: mean(convolution(t)), x) * x
    image = replace(exhibit(convolution, x, relevance, reference=torch.zeros_like(x)), target=Mean(region))
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    logit = gradient(lambda t: classifier(t)[:, 1], x) * x
    classes = replace(exhibit(classifier, x, logit, reference=torch.zeros_like(x)), target=Logit(1))
    for case in (image, classes):
        found = Deletion(n_parts=64, fillers=("reference", "mean")).measure(case)
        assert found.notes["filler reference"] > 0
        # Both are affine, so that gradient times input is complete.
        assert CompletenessError().measure(case).value == pytest.approx(0, abs=1e-9)


def sensitivity_of(case, weight):
    return replace(case, relevance=weight, quantity=Quantity.SENSITIVITY, sign=Sign.RAISES)


def test_infidelity_of_the_gradient_of_a_linear_function_is_zero() -> None:
    case, weight = linear((8, 9))
    for kind in ("box", "gaussian"):
        assert Infidelity(kind, n_samples=20).measure(sensitivity_of(case, weight)).value < 1e-20
        assert ScaledInfidelity(kind, n_samples=20).measure(sensitivity_of(case, weight)).value < 1e-12


@pytest.mark.parametrize("kind", ["box", "gaussian"])
def test_infidelity_of_multiples_is_known(kind) -> None:
    """Twice the truth misses each change once, the negative twice; a factor is forgiven, a sign is not."""
    case, weight = linear((8, 9))
    once = Infidelity(kind, n_samples=20).measure(sensitivity_of(case, 2 * weight))
    assert Infidelity(kind, n_samples=20).measure(sensitivity_of(case, -weight)).value == pytest.approx(4 * once.value)
    assert once.notes["optimally scaled"] == pytest.approx(0, abs=1e-12)
    assert ScaledInfidelity(kind, n_samples=20).measure(sensitivity_of(case, -weight)).value == 1


def test_infidelity_over_boxes_is_that_of_a_plain_loop() -> None:
    case, _ = linear((8, 9), seed=3)
    case = case.with_map(drawn((8, 9), 5))
    found = Infidelity(n_samples=25, fillers=("mean", "reference")).measure(case)
    scaled = ScaledInfidelity(n_samples=25, fillers=("mean", "reference")).measure(case)
    expected, share = [], []
    for fill in (case.x.mean().expand_as(case.x), torch.zeros_like(case.x)):
        said, happened = [], []
        for k in range(25):
            box = (0, 0, *random_box((8, 9), 0, "case", f"box/{k}"))
            changed = case.x.clone()
            changed[box] = fill[box]
            said.append(float(case.relevance[box].sum()))
            happened.append(float((case.network(case.x) - case.network(changed)).detach()))
        said, happened = np.array(said), np.array(happened)
        expected.append(np.mean((said - happened) ** 2))
        tried = [np.mean((b * said - happened) ** 2) for b in np.linspace(0, 5, 4001)]
        share.append(min(tried) / np.mean(happened**2))
    assert found.value == pytest.approx(np.mean(expected), rel=1e-9)
    assert scaled.value == pytest.approx(np.mean(share), abs=1e-4)


def test_infidelity_under_noise_is_the_squared_error_of_the_map() -> None:
    """E (I (r - w))^2 = s^2 |r - w|^2 for noise of deviation s."""
    case, weight = linear()
    relevance = drawn((8, 8), 9)
    found = Infidelity("gaussian", n_samples=3000).measure(sensitivity_of(case, relevance))
    expected = (0.1 * float(case.x.std(correction=0))) ** 2 * float((relevance - weight).square().sum())
    assert found.value == pytest.approx(expected, rel=0.12)


def test_boxes_hit_corners_as_often_as_the_middle() -> None:
    seen = torch.zeros(20, 1, 20)
    for k in range(1500):
        box = random_box((20, 1, 20), 0, "", str(k))
        assert all(1 <= part.stop - part.start <= most for part, most in zip(box, (10, 1, 10), strict=True))
        seen[box] += 1
    corners, middle = seen[[0, 0, -1, -1], 0, [0, -1, 0, -1]].mean(), seen[9:11, 0, 9:11].mean()
    assert corners / middle == pytest.approx(1, abs=0.25)


def test_infidelity_is_undefined_where_the_map_says_no_change() -> None:
    case, _ = linear()
    assert "score" in Infidelity(n_samples=5).measure(replace(case, quantity=Quantity.SCORE)).notes["undefined"]
    unsigned = replace(case, sign=Sign.UNSIGNED)
    assert math.isnan(Infidelity(n_samples=5).measure(unsigned).value)
    assert math.isnan(ScaledInfidelity(n_samples=5).measure(unsigned).value)
    assert math.isnan(Infidelity("gaussian", n_samples=5).measure(case).value)
    constant = replace(case, network=Linear(torch.zeros_like(case.x)))
    assert math.isnan(ScaledInfidelity(n_samples=5).measure(constant).value)


def test_sensitivity_n_of_a_perfect_map_is_one_and_of_an_inverted_one_minus_one() -> None:
    case, weight = linear((8, 8))
    for factor, expected in ((3.0, 1.0), (-1.0, -1.0)):
        found = SensitivityN().measure(sensitivity_of(case, factor * weight))
        assert found.value == pytest.approx(expected, abs=1e-10)
    contribution = SensitivityN(fillers=("reference", "blur")).measure(case)
    assert contribution.notes["filler reference"] == pytest.approx(1, abs=1e-10)


def test_sensitivity_n_of_random_maps_is_at_chance() -> None:
    case, _ = linear()
    found = np.array([SensitivityN().measure(case.with_map(drawn((8, 8), 50 + s))).value for s in range(40)])
    assert abs(found.mean()) < 3.5 * found.std(ddof=1) / math.sqrt(40)
    assert 0.01 < found.std(ddof=1) < 0.5


def test_sensitivity_n_is_the_correlation_of_a_plain_loop() -> None:
    case, _ = linear((8, 8), seed=4)
    case = case.with_map(drawn((8, 8), 8))
    measure = SensitivityN(n_parts=16, shares=(0.25,), n_sets=12, fillers=("reference", 1.0))
    numbers, sets = blocks((8, 8), 16), measure._sets(case, 16)
    assert sets.sum(1).tolist() == [4] * 12
    assert len({tuple(row) for row in sets.tolist()}) > 8
    expected = []
    for fill in (0.0, 1.0):
        said, happened = [], []
        for row in sets:
            changed, total = case.x.clone(), 0.0
            for part in row.nonzero().flatten().tolist():
                changed[0, 0][numbers == part] = fill
                total += float(case.relevance[0, 0][numbers == part].sum())
            said.append(total)
            happened.append(float((case.network(case.x) - case.network(changed)).detach()))
        expected.append(np.corrcoef(said, happened)[0, 1])
    assert measure.measure(case).value == pytest.approx(np.mean(expected), abs=1e-10)


def test_sensitivity_n_of_a_constant_network_is_undefined() -> None:
    case, _ = linear()
    assert math.isnan(SensitivityN().measure(replace(case, network=Linear(torch.zeros_like(case.x)))).value)


def test_completeness_error_is_the_share_that_is_missing() -> None:
    case, _ = linear()
    assert CompletenessError().measure(case).value == pytest.approx(0, abs=1e-10)
    assert CompletenessError().measure(case.with_map(1.25 * case.relevance)).value == pytest.approx(0.25)
    assert CompletenessError().measure(case.with_map(-case.relevance)).value == pytest.approx(2)
    for changed in (
        replace(case, reference=None),
        replace(case, reference=case.x),
        replace(case, quantity=Quantity.EFFECT),
    ):
        assert CompletenessError().measure(changed).notes["undefined"]


def test_claims_of_channels_are_those_of_their_mean() -> None:
    x = drawn((4, 4), channels=3)
    case = exhibit(Square3(), x, drawn((4, 4), 2), sign=Sign.RAISES)
    fill = drawn((4, 4), 7, channels=3)
    expected = case.relevance[0, 0] * (x - fill).mean(1)[0]
    assert torch.allclose(claims(case, fill), expected)
    assert per_part(expected, blocks((4, 4), 4)).sum() == pytest.approx(float(expected.sum()))


class Square3(nn.Module):
    def forward(self, x):
        return x.square().flatten(1).sum(1)
