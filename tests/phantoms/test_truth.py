"""Both truths: exact Shapley values, places by finite difference, and networks that use what they should not."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.phantoms.oracles import LinearOracle, region_mean
from regard.phantoms.planted import PlantedPhantom
from regard.phantoms.truth import change_of_image, data_truth, model_truth, places_of, shapley


def worths(function: object, k: int) -> list[float]:
    return [function([(s >> j) & 1 for j in range(k)]) for s in range(2**k)]  # type: ignore[operator]


def test_shapley_of_a_linear_function_are_its_terms() -> None:
    weights = [2.0, -1.0, 0.5, 3.0]
    values = worths(lambda on: 7 + sum(w * o for w, o in zip(weights, on, strict=True)), 4)
    assert shapley(values).tolist() == pytest.approx(weights)


def test_shapley_of_a_product_shares_it_equally() -> None:
    assert shapley(worths(math.prod, 3)).tolist() == pytest.approx([1 / 3] * 3)
    # a b + 4 c: half each, and all of the third.
    assert shapley(worths(lambda on: on[0] * on[1] + 4 * on[2], 3)).tolist() == pytest.approx([0.5, 0.5, 4.0])


def test_shapley_is_the_mean_over_all_orders() -> None:
    k, table = 4, torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slow = torch.zeros(k, dtype=torch.float64)
    for order in itertools.permutations(range(k)):
        subset = 0
        for player in order:
            slow[player] += table[subset | (1 << player)] - table[subset]
            subset |= 1 << player
    slow /= math.factorial(k)
    assert torch.allclose(shapley(table), slow)
    assert float(shapley(table).sum()) == pytest.approx(float(table[-1] - table[0]))


def test_shapley_wants_every_subset() -> None:
    with pytest.raises(ShapeError, match="one per subset"):
        shapley([0.0, 1.0, 2.0])


def test_truth_of_an_intensity_is_the_region() -> None:
    phantom = PlantedPhantom((32, 32), "linear", "anatomical")
    subject, truth = phantom.subject(1), data_truth(phantom, 1)
    assert torch.equal(truth.core, subject.structure > 0.1)
    change = change_of_image(phantom, 1, "signal")
    signal = subject.factors["signal"]
    step = min(signal + 0.25, 1.0) - max(signal - 0.25, 0.0)
    assert torch.allclose(change, step * subject.structure, atol=1e-5)
    assert not bool((truth.core & truth.allowed).any())


@pytest.mark.parametrize("shape", [(40, 40), (24, 24, 24)])
def test_truth_of_a_volume_is_the_border(shape: tuple[int, ...]) -> None:
    phantom = PlantedPhantom(shape, "volume", "white", shift=0.0, distractor=True)
    signal = 0.6
    drawn = {**phantom.draw(0), "signal": signal}
    n, r = len(shape), 0.16 * min(shape)

    def radius(s: float) -> float:
        return ((0.4 * r) ** n + ((1.1 * r) ** n - (0.4 * r) ** n) * s) ** (1 / n)

    class Fixed(PlantedPhantom):
        def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
            return dict(drawn)

    fixed = Fixed(shape, "volume", "white", shift=0.0, distractor=True)
    truth = data_truth(fixed, 0)
    axes = torch.meshgrid(*[torch.arange(m) + 0.5 - m / 2 for m in shape], indexing="ij")
    distance = sum((a - c).square() for a, c in zip(axes, [-0.21 * min(shape)] + [0.0] * (n - 1), strict=True)).sqrt()
    inner, outer = radius(signal - 0.25), radius(signal + 0.25)
    assert bool(truth.core[(distance > inner + 0.9) & (distance < outer - 0.9)].all())
    assert not bool(truth.core[(distance < inner - 0.9) | (distance > outer + 0.9)].any())
    # What lies inside is the structure itself, and counts neither way; the other ball is a decoy place.
    assert bool(truth.allowed[distance < inner - 0.9].all())
    other = places_of(fixed, 0, "distractor")
    assert bool((truth.decoy == (other & ~truth.core & ~truth.allowed)).all())
    assert bool(truth.decoy.any())
    whole = truth.core.int() + truth.allowed.int() + truth.decoy.int() + truth.forbidden.int()
    assert bool((whole == 1).all())


def marks(phantom: PlantedPhantom) -> tuple[Tensor, Tensor]:
    subject = phantom.subject(0)
    return subject.structure, places_of(phantom, 0, "decoy")


@pytest.mark.parametrize("dose", [0.0, 0.9])
def test_model_truth_is_of_the_network_and_not_of_the_data(dose: float) -> None:
    phantom = PlantedPhantom((32, 32), "linear", "correlated", decoy=dose, shift=0.0)
    structure, mark = marks(phantom)
    right, wrong = region_mean(structure > 0.999), region_mean(mark)
    for number in range(3):
        drawn = phantom.draw(number)
        honest = model_truth(lambda x: right(x)[:, 0], phantom, number)
        assert honest.change["signal"] == pytest.approx(1.0, abs=1e-4)
        assert honest.change["decoy"] == pytest.approx(0.0, abs=1e-5)
        far = 1.0 if drawn["signal"] < 0.5 else 0.0
        assert honest.shapley["signal"] == pytest.approx(drawn["signal"] - far, abs=1e-4)
        assert sum(honest.shapley.values()) == pytest.approx(honest.value - honest.reference, abs=1e-5)
        assert torch.equal(honest.places.core, data_truth(phantom, number).core)
        assert bool((honest.places.decoy == mark).all())
        fooled = model_truth(lambda x: wrong(x)[:, 0], phantom, number)
        assert fooled.change["signal"] == pytest.approx(0.0, abs=1e-5)
        assert torch.equal(fooled.places.core, mark)
        assert float(fooled.weights[mark].sum()) == pytest.approx(1.0, abs=1e-4)
        # Data truth says the same of both networks: the difference is the shortcut.
        assert bool((data_truth(phantom, number).decoy == mark).all())


def test_weights_share_the_map_among_the_factors_that_are_used() -> None:
    phantom = PlantedPhantom((32, 32), "linear", "white", decoy=0.5, shift=0.0)
    structure, mark = marks(phantom)
    both = LinearOracle(3 * region_mean(structure > 0.999).weights + region_mean(mark).weights)
    truth = model_truth(lambda x: both(x)[:, 0], phantom, 0)
    assert truth.change["signal"] == pytest.approx(3.0, abs=1e-3)
    sizes = {f: abs(v) for f, v in truth.shapley.items()}
    assert float(truth.weights.sum()) == pytest.approx(1.0)
    share = sizes["decoy"] / sum(sizes.values())
    assert float(truth.weights[mark].sum()) == pytest.approx(share, rel=1e-4)
    assert share > 0.1
    assert bool(truth.places.core[mark].all())


def test_a_product_is_shared_between_its_regions() -> None:
    phantom = PlantedPhantom((32, 32), "multiplicative", "white", noise=0.0, shift=0.0)
    first = region_mean(places_of(phantom, 0, "signal") & (phantom.subject(0).structure > 0.999))
    second = region_mean(places_of(phantom, 0, "partner") & (phantom.subject(0).structure > 0.999))
    truth = model_truth(lambda x: (first(x) * second(x))[:, 0], phantom, 0)
    a, b = (phantom.draw(0)[f] for f in ("signal", "partner"))
    c, d = (1.0 if v < 0.5 else 0.0 for v in (a, b))
    # Shapley values of a b against c d: each factor's change times the mean of the other.
    assert truth.shapley["signal"] == pytest.approx((a - c) * (b + d) / 2, abs=1e-4)
    assert truth.shapley["partner"] == pytest.approx((b - d) * (a + c) / 2, abs=1e-4)


def test_a_network_that_subtracts_a_suppressor_is_known_to_use_its_mark() -> None:
    phantom = PlantedPhantom((32, 32), "linear", "white", suppressor=0.5, shift=0.0)
    structure, moved = phantom.subject(0).structure, change_of_image(phantom, 0, "suppressor-mark").abs()
    mark = moved > 0.999 * moved.max()
    reader, blind = region_mean(structure > 0.999, mark), region_mean(structure > 0.999)
    truth = model_truth(lambda x: reader(x)[:, 0], phantom, 0)
    # The nuisance itself does nothing to it, as it is subtracted; each of its places does.
    assert truth.change["suppressor"] == pytest.approx(1.0, abs=1e-3)
    assert truth.change["suppressor-mark"] == pytest.approx(-1.0, abs=1e-3)
    assert bool(truth.places.core[mark].all())
    honest = model_truth(lambda x: blind(x)[:, 0], phantom, 0)
    assert not bool(honest.places.core[mark].any())
    assert bool(honest.places.decoy[mark].all())
    assert bool(data_truth(phantom, 0).decoy[mark].all())
