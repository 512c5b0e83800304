"""Likeness of maps, surrogates and randomised networks."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import Linear, drawn, exhibit, gradient
from scipy import stats
from skimage.metrics import structural_similarity
from torch import nn

from regard.core.errors import InputError, ShapeError
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import blur
from regard.evidence.sanity.labels import label_randomisation, shuffled
from regard.evidence.sanity.randomisation import (
    CascadingRandomisation,
    IndependentRandomisation,
    randomise,
    weighted_layers,
)
from regard.evidence.sanity.similarity import (
    correlation,
    likeness_to,
    ranks,
    spearman,
    ssim,
    top_overlap,
)
from regard.evidence.surrogate import surrogate
from regard.testing.networks import TinyNetwork


def test_ranks_and_correlations_are_those_of_scipy_with_ties() -> None:
    a, b = drawn((9, 9)).mul(3).round(), drawn((9, 9), 1)
    assert ranks(a).tolist() == stats.rankdata(a.flatten()).tolist()
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-12)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.flatten(), b.flatten())[0, 1], abs=1e-12)
    assert correlation(1e-200 * a, b) == pytest.approx(correlation(a, b), abs=1e-12)


def test_a_constant_map_is_like_nothing() -> None:
    constant, other = torch.full((1, 1, 7, 7), 0.1).double(), drawn((7, 7))
    assert math.isnan(correlation(constant, other))
    assert math.isnan(spearman(other, constant))
    assert math.isnan(likeness_to(other, Sign.RAISED)(constant))
    assert math.isnan(ssim(torch.zeros(1, 1, 7, 7), other))
    assert math.isnan(top_overlap(torch.zeros(1, 1, 7, 7), other))


@pytest.mark.parametrize("measure", [correlation, spearman, ssim, top_overlap])
def test_maps_on_two_grids_are_refused(measure) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 4\) and \(1, 1, 4, 5\)"):
        measure(drawn((4, 4)), drawn((4, 5)))


def test_ssim_is_the_definition_voxel_by_voxel() -> None:
    a, b = drawn((7, 6)), 5 * drawn((7, 6), 1) + 2
    x, y = (t / t.square().mean().sqrt() for t in (a, b))
    lowest = min(float(x.min()), float(y.min()))
    x, y = x - lowest, y - lowest
    widest = max(float(t.max() - t.min()) for t in (x, y))
    c1, c2 = (0.01 * widest) ** 2, (0.03 * widest) ** 2
    found = []
    for i in range(7):
        for j in range(6):
            weights, left, right = [], [], []
            for di in range(-6, 7):
                for dj in range(-6, 7):
                    weights.append(math.exp(-(di**2 + dj**2) / (2 * 1.5**2)))
                    place = (0, 0, min(6, max(0, i + di)), min(5, max(0, j + dj)))
                    left.append(float(x[place]))
                    right.append(float(y[place]))
            w, p, q = np.array(weights) / sum(weights), np.array(left), np.array(right)
            mp, mq = w @ p, w @ q
            vp, vq, c = w @ p**2 - mp**2, w @ q**2 - mq**2, w @ (p * q) - mp * mq
            found.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a, b) == pytest.approx(np.mean(found), abs=1e-10)
    assert ssim(a, 3 * a) == pytest.approx(1)
    assert ssim(a, -a) < 0


def test_ssim_is_near_that_of_scikit_image() -> None:
    a = 5 + drawn((64, 64))
    b = a + drawn((64, 64), 1).abs()
    x, y = (t[0, 0] / t.square().mean().sqrt() for t in (a, b))
    widest = max(float(t.max() - t.min()) for t in (x, y))
    theirs = structural_similarity(
        x.numpy(), y.numpy(), data_range=widest, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=0.01)


def test_overlap_of_the_largest_counts_ties_in_part() -> None:
    a = torch.tensor([5.0, -4.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    b = torch.tensor([5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0])
    assert top_overlap(a, b, share=0.3) == pytest.approx(1 / 3)
    assert top_overlap(a, -a, share=0.3) == 1
    # Five wanted, one above and nine that tie: each counts 4/9, and so do two of the first map's.
    tied = torch.tensor([9.0] + [1.0] * 9)
    first = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0] + [0.0] * 5)
    assert top_overlap(tied, first, share=0.5) == pytest.approx((1 + 4 * 4 / 9) / 5)


def test_likeness_sees_through_a_flip_and_through_lost_signs() -> None:
    a = drawn((12, 12))
    assert likeness_to(a, Sign.RAISED)(-a) == pytest.approx(1)
    assert likeness_to(a, Sign.RAISED)(a.abs()) == pytest.approx(1)
    assert likeness_to(a, Sign.UNSIGNED)(-a) == pytest.approx(1)
    assert abs(likeness_to(a, Sign.RAISED)(drawn((12, 12), 5))) < 0.3


def smooth(seed: int) -> torch.Tensor:
    return blur(drawn((16, 16), seed), 2)


def neighbours(relevance: torch.Tensor) -> float:
    return correlation(relevance[..., 1:], relevance[..., :-1])


def test_surrogates_keep_values_and_smoothness_and_nothing_else() -> None:
    relevance = blur(drawn((64, 64)), 2.5)
    maps = [surrogate(relevance, seed=0, case="case", draw=k) for k in range(40)]
    for other in maps:
        assert torch.equal(other.flatten().sort().values, relevance.flatten().sort().values)
        assert neighbours(other) == pytest.approx(neighbours(relevance), abs=0.04)
    alike = np.array([correlation(relevance, other) for other in maps])
    assert abs(alike.mean()) < 4 * alike.std() / math.sqrt(40)
    # By chance a smooth map is like its surrogates far more often than like white noise.
    assert alike.std() > 3 / 64
    assert torch.equal(surrogate(relevance, seed=0, case="case", draw=3), maps[3])
    assert not torch.equal(surrogate(relevance, seed=1, case="case", draw=3), maps[3])


def test_surrogates_of_one_slice_are_those_of_the_image() -> None:
    relevance = smooth(1)
    assert torch.allclose(surrogate(relevance[..., None])[..., 0], surrogate(relevance))


def test_layers_are_ordered_from_the_output_to_the_input() -> None:
    network = TinyNetwork((8, 8))
    assert weighted_layers(network, drawn((8, 8))) == ["head", "second", "norm", "first"]
    assert weighted_layers(Linear(drawn((8, 8))), drawn((8, 8))) == [""]


def test_a_module_that_never_runs_is_no_layer() -> None:
    network = TinyNetwork((8, 8))
    network.unused = nn.Linear(3, 3)
    assert "unused" not in weighted_layers(network, drawn((8, 8)))


def test_redrawn_weights_keep_their_size_and_spare_other_layers() -> None:
    network = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 50)).double()
    before = copy.deepcopy(network.state_dict())
    randomise(network, ["1"], seed=3)
    after = network.state_dict()
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(before["0.bias"], after["0.bias"])
    assert abs(correlation(before["1.weight"], after["1.weight"])) < 0.1
    assert float(after["1.weight"].square().mean() / before["1.weight"].square().mean()) == pytest.approx(1, abs=0.1)
    assert torch.equal(before["1.bias"].sort().values, after["1.bias"].sort().values)
    again = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 50)).double()
    again.load_state_dict(before)
    randomise(again, ["1"], seed=3)
    assert torch.equal(again.state_dict()["1.weight"], after["1.weight"])


def edges(_, x):
    return torch.diff(x, dim=-1, append=x[..., -1:]).abs()


def tiny(explain, **settings):
    network, x = TinyNetwork((12, 12)), drawn((12, 12))
    return exhibit(network, x, explain(network, x).detach(), explain=explain, **settings)


@pytest.mark.parametrize("kind", [CascadingRandomisation, IndependentRandomisation])
def test_an_edge_filter_is_told_from_a_gradient(kind) -> None:
    blind = kind().measure(tiny(edges, sign=Sign.UNSIGNED, quantity=Quantity.SCORE))
    assert blind.notes["likeness"] == pytest.approx(1)
    assert blind.value == pytest.approx(1 - blind.notes["likeness of surrogates"])
    assert blind.notes["surrogates as alike"] == pytest.approx(1 / 20)
    seeing = kind().measure(tiny(gradient, sign=Sign.RAISES, quantity=Quantity.SENSITIVITY))
    assert seeing.value < blind.value - 0.3


def test_the_cascade_forgets_more_and_more() -> None:
    found = CascadingRandomisation(n_stages=9).measure(tiny(gradient, sign=Sign.RAISES))
    assert found.notes["layers"] == ["head", "second", "norm", "first"]
    assert len(found.curve["likeness"]) == 4
    assert abs(found.value) < 0.3
    assert found.value == pytest.approx(
        float(found.curve["likeness"][-1] - found.curve["likeness of surrogates"].mean())
    )


def test_cascade_of_a_linear_network_compares_with_the_map_of_other_weights() -> None:
    x, weight = drawn((16, 16)), drawn((16, 16), 1)
    network = Linear(weight)
    case = exhibit(network, x, weight, explain=gradient, sign=Sign.RAISES, quantity=Quantity.SENSITIVITY)
    found = CascadingRandomisation().measure(case)
    other = copy.deepcopy(network)
    randomise(other, [""], 0, "case")
    assert found.notes["likeness"] == pytest.approx(likeness_to(weight, Sign.RAISES)(other.weight.detach()))
    assert torch.equal(network.weight, weight)


def test_a_randomised_network_that_answers_nothing_is_undefined_not_passed() -> None:
    """With weights of 1 the rectifier lets through; with random ones it never does, and every map would differ."""
    x = 1 + 0.01 * drawn((8, 8))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.ReLU()).double()
    with torch.no_grad():
        network[1].weight.fill_(1.0)
        network[1].bias.fill_(-60.0)
    case = exhibit(network, x, drawn((8, 8), 3), explain=lambda *_: drawn((8, 8), 7))
    for kind in (CascadingRandomisation, IndependentRandomisation):
        found = kind().measure(case)
        assert math.isnan(found.value)
        assert "constant" in found.notes["undefined"]
        assert found.notes["n_undefined"] == 1
    with torch.no_grad():
        network[1].bias.fill_(60.0)
    assert not math.isnan(CascadingRandomisation().measure(case).value)


def ridge(images: torch.Tensor, labels: torch.Tensor) -> Linear:
    """A linear regressor trained in closed form."""
    flat = images.flatten(1)
    solved = torch.linalg.solve(flat.T @ flat + 30.0 * torch.eye(flat.shape[1]).double(), flat.T @ labels)
    return Linear(solved.reshape(1, 1, *images.shape[2:]))


def test_labels_that_were_shuffled_are_a_hook_that_trains_again() -> None:
    core = torch.zeros(1, 1, 8, 8).double()
    core[..., 1:4, 4:7] = 1
    images = torch.cat([drawn((8, 8), n) for n in range(300)])
    labels = (images * core).flatten(1).sum(1)
    seeds = []

    def retrain(seed: int) -> Linear:
        seeds.append(seed)
        return ridge(images, shuffled(labels, seed))

    def slope(network, x):
        return gradient(network, x)

    def edges(network, x):
        return x.diff(dim=-1, prepend=x[..., :1])

    network, x = ridge(images, labels), images[:1]
    honest, drawer = (exhibit(network, x, e(network, x), explain=e) for e in (slope, edges))
    found = label_randomisation(honest, retrain, n_networks=3)
    assert seeds == [0, 1, 2]
    assert abs(found.value) < 0.2
    assert found.curve["likeness"].shape == (3,)
    # A method that draws edges is as alike as can be, whatever was learned.
    alike = label_randomisation(drawer, retrain)
    assert alike.value == pytest.approx(1 - alike.notes["likeness of surrogates"])
    assert alike.notes["surrogates as alike"] == pytest.approx(1 / 20)
    # The right labels are not forgotten.
    same = label_randomisation(honest, lambda seed: network)
    assert same.notes["likeness"] == pytest.approx(1)
    assert math.isnan(label_randomisation(honest, lambda seed: Linear(0 * core)).value)
    assert math.isnan(label_randomisation(honest.with_map(0 * core), retrain).value)
    with pytest.raises(InputError, match="at least one"):
        label_randomisation(honest, retrain, n_networks=0)
    with pytest.raises(InputError, match="explain again"):
        label_randomisation(replace(honest, explain=None), retrain)


def test_shuffled_labels_are_the_labels_in_another_order() -> None:
    labels = torch.arange(50.0)
    assert torch.equal(shuffled(labels, 1).sort().values, labels)
    assert not torch.equal(shuffled(labels, 1), labels)
    assert torch.equal(shuffled(labels, 1), shuffled(labels, 1))
    assert not torch.equal(shuffled(labels, 1), shuffled(labels, 2))
