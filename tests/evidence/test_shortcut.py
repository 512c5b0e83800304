"""Marks put in and faded out, on networks whose answer to them is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.core.errors import InputError, ShapeError
from regard.evidence.shortcut import (
    Border,
    Burnt,
    Overlay,
    detection_rates,
    detection_threshold,
    dose_response,
    net_share_inside,
    share_inside,
)
from regard.evidence.statistics import difference_interval


def images(n: int, size: tuple[int, ...] = (20, 16)) -> list[Tensor]:
    return [torch.rand(1, *size, generator=torch.Generator().manual_seed(k)) for k in range(n)]


MARK = Overlay(torch.full((1, 4, 5), 3.0), torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]]).expand(4, 5), (2, 3))


def reader(weight: float):
    """The image's mean outside the mark, and ``weight`` times that of the mark's letters."""

    def answer(shown: list[Tensor]) -> Tensor:
        return torch.stack([weight * i[0, 2:6, 3:7].mean() + i[0, 10:].mean() for i in shown])

    return answer


def test_an_overlay_blends_by_dose_and_opacity_and_touches_nothing_else() -> None:
    (image,) = images(1)
    half = MARK.on(image, 0.5)
    assert torch.allclose(half[0, 2:6, 3:7], 0.5 * image[0, 2:6, 3:7] + 1.5)
    assert torch.equal(MARK.on(image, 0.0), image)
    changed = (half != image)[0]
    assert int(changed.sum()) == 16
    assert int(MARK.region(image, 0.3).sum()) == 20
    with pytest.raises(InputError, match="0 to 1"):
        MARK.on(image, 1.5)
    with pytest.raises(ShapeError):
        Overlay(MARK.patch, MARK.opacity, (18, 3)).on(image, 1.0)


@pytest.mark.parametrize("size", [(24,), (24, 20), (12, 10, 9)])
def test_a_burnt_mark_fades_into_the_slope_around_it(size: tuple[int, ...]) -> None:
    axes = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    plain = sum(((k + 1) * a for k, a in enumerate(axes)), torch.zeros(size))[None]
    place = torch.zeros(size, dtype=torch.bool)
    place[tuple(slice(3, 8) for _ in size)] = True
    marked = torch.where(place, 99.0, plain)
    mark = Burnt(place)
    # A linear slope is harmonic: it is found again exactly.
    assert torch.allclose(mark.on(marked, 0.0), plain, atol=0.05)
    assert torch.equal(mark.on(marked, 1.0), marked)
    assert torch.equal(mark.on(marked, 0.0)[:, ~place], marked[:, ~place])


def test_a_border_is_as_wide_as_its_dose() -> None:
    (image,) = images(1, (40, 20))
    border = Border(widest=0.1, value=-1.0)
    made = border.on(image, 0.5)
    assert bool((made[0, 2:38, 1:19] == image[0, 2:38, 1:19]).all())
    assert int((made == -1).sum()) == 40 * 20 - 36 * 18
    assert torch.equal(border.on(image, 0.0), image)


def test_the_response_is_the_networks_own() -> None:
    shown = images(24)
    found = dose_response(reader(2.0), shown, [MARK] * 24, patients=[str(n // 2) for n in range(24)])
    assert [d.dose for d in found] == [0.0, 0.3, 0.6, 0.9]
    assert found[0].change.value == 0.0
    for step in found[1:]:
        exact = [2 * step.dose * (3 - float(i[0, 2:6, 3:7].mean())) for i in shown]
        assert step.changes == pytest.approx(exact, abs=1e-5)
        assert step.change.value == pytest.approx(np.mean(exact), abs=1e-5)
        assert (step.change.n, step.raised) == (12, 1.0)
        assert step.change.low < step.change.value < step.change.high
    blind = dose_response(reader(0.0), shown, [MARK] * 24)
    assert [d.change.value for d in blind] == pytest.approx([0.0] * 4, abs=1e-6)


def test_a_map_that_follows_the_network_sees_the_mark_and_one_that_does_not_is_at_its_false_alarms() -> None:
    shown = images(60)

    def honest(image: Tensor) -> Tensor:
        weight = torch.zeros(20, 16)
        weight[2:6, 3:7], weight[10:] = 2 / 16, 1 / 160
        return weight * image[0]

    def elsewhere(image: Tensor) -> Tensor:
        """Looks at the mark's place always, and alike."""
        weight = torch.full((20, 16), 0.1)
        weight[2:6, 3:8] = 1 + images(1)[0][0, 2:6, 3:8] + 0.01 * image[0, 12:16, 3:8]
        return weight

    seen = detection_rates(honest, shown, [MARK] * 60)
    assert [s.dose for s in seen] == [0.0, 0.3, 0.6, 0.9]
    assert seen[0].rate.value <= 0.05
    assert seen[3].rate.value == 1.0
    assert (seen[3].rate.n, seen[3].rate.high) == (60, 1.0)
    assert seen[3].share > seen[3].without == pytest.approx(seen[0].share)
    assert seen[0].area == pytest.approx(20 / 320)
    assert max(s.rate.value for s in detection_rates(elsewhere, shown, [MARK] * 60)) <= 0.05


def test_shares_leave_out_what_was_never_seen() -> None:
    relevance = torch.tensor([[1.0, -3.0], [math.nan, 4.0]])
    region = torch.tensor([[True, False], [True, True]])
    assert share_inside(relevance, region) == pytest.approx(5 / 8)
    assert math.isnan(share_inside(torch.zeros(2, 2), region))
    assert net_share_inside(relevance, region) == pytest.approx(5 / 8)
    assert net_share_inside(relevance, ~region) == pytest.approx(-3 / 8)
    assert math.isnan(net_share_inside(torch.zeros(2, 2), region))
    with pytest.raises(ShapeError):
        share_inside(relevance, region[:1])


def test_too_few_images_for_the_rate_are_undefined() -> None:
    assert detection_threshold(np.arange(1.0, 19.0)) == math.inf
    few = detection_rates(lambda image: image[0], images(5), [MARK] * 5)
    assert all(math.isnan(s.rate.value) for s in few)


def test_the_difference_of_two_groups_has_welchs_width_and_covers() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1, 1, 80), random.normal(0, 3, 40)
    found = difference_interval(list(first), list(second))
    error = math.sqrt(first.var(ddof=1) / 80 + second.var(ddof=1) / 40)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.high - found.low == pytest.approx(2 * 2.0 * error, rel=0.1)
    hits = 0
    for k in range(300):
        a, b = random.lognormal(0, 0.7, 15), random.lognormal(0, 0.7, 25)
        one = difference_interval(list(a), list(b), seed=k)
        hits += one.low <= 0 <= one.high
    assert 0.90 <= hits / 300 <= 0.99
    assert math.isnan(difference_interval([1.0] * 9, list(second)).low)


def test_a_place_whose_sign_turns_is_seen_by_its_net_share_only() -> None:
    """The map's size in the place stays, and what it says turns from lowering to raising."""
    shown = images(30)

    def turning(image: Tensor) -> Tensor:
        found = torch.ones(20, 16)
        found[2:6, 3:8] = 2.0 if float(image[0, 2:6, 3:7].mean()) > 1 else -2.0
        return found

    by_size = detection_rates(turning, shown, [MARK] * 30, doses=(0.0, 0.9))
    by_net = detection_rates(turning, shown, [MARK] * 30, doses=(0.0, 0.9), reading=net_share_inside)
    assert [s.rate.value for s in by_size] == [0.0, 0.0]
    assert [s.rate.value for s in by_net] == [0.0, 1.0]
    assert by_net[1].share == pytest.approx(40 / 340)
    assert by_net[1].without == pytest.approx(-40 / 340)
