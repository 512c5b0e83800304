import numpy as np
import pytest
import torch
from torch import nn

from regard.core.errors import CapabilityError
from regard.core.spatial import blur
from regard.evidence import controls
from regard.evidence.sanity.similarity import spearman

SHAPES = [(48,), (24, 20), (12, 10, 8)]


def smooth(shape, seed=0):
    return blur(torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed)), 1.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_surrogate_has_the_maps_values_and_nearly_its_spectrum(shape):
    m = smooth(shape).double()
    found = controls.surrogate(m, seed=0, case="a", draw=0)
    assert torch.equal(found.flatten().sort().values, m.flatten().sort().values)
    power = [np.abs(np.fft.fftn(v.numpy()[0, 0])).ravel()[1:] for v in (m, found)]
    assert np.corrcoef(*power)[0, 1] > 0.9


def test_a_surrogate_lies_elsewhere_and_is_keyed():
    m = smooth((32, 32))
    drawn = [controls.surrogate(m, seed=0, case="a", draw=n) for n in range(40)]
    assert abs(np.mean([spearman(m, d) for d in drawn])) < 0.1
    assert torch.equal(drawn[3], controls.surrogate(m, seed=0, case="a", draw=3))
    assert not torch.equal(drawn[3], controls.surrogate(m, seed=0, case="b", draw=3))


def test_displaced_moves_by_an_eighth_and_repeats_the_border():
    m = torch.arange(16.0).reshape(1, 1, 16)
    back, forth = controls.displaced(m)
    assert back[0, 0].tolist() == [*range(2, 16), 15, 15]
    assert forth[0, 0].tolist() == [0, 0, *range(14)]
    assert len(controls.displaced(smooth((12, 10, 8)))) == 6
    assert len(controls.displaced(smooth((12, 10, 1)))) == 4


def test_edges_are_numpys_gradient():
    x = torch.randn(1, 2, 7, 9, dtype=torch.float64)
    steps = [np.gradient(x[0, c].numpy(), axis=a) for c in range(2) for a in range(2)]
    assert np.allclose(controls.edges(x)[0, 0].numpy(), np.sqrt(sum(s**2 for s in steps)))


def test_the_gaussian_is_centred():
    found = controls.centred_gaussian(torch.zeros(1, 3, 9, 11))
    assert found.shape == (1, 1, 9, 11)
    assert found.argmax() == 4 * 11 + 5
    assert torch.allclose(found, found.flip(2, 3))


def test_the_image_is_summed_over_channels_from_zero():
    x = torch.tensor([[[1.0, 4.0], [2.0, -3.0]]])
    assert controls.image(x).tolist() == [[[2.0, 0.0]]]


def test_a_randomised_network_is_a_copy_with_other_weights():
    network = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(24, 1))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    found = controls.randomised(network, seed=0, case="a", draw=0)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not torch.allclose(found[3].weight, network[3].weight)
    again = controls.randomised(network, seed=0, case="a", draw=0)
    assert torch.equal(found[3].weight, again[3].weight)
    with pytest.raises(CapabilityError, match="without weights"):
        controls.randomised(nn.ReLU(), seed=0, case="a", draw=0)


def test_the_cohort_mean_is_brought_to_the_maps_size():
    found = controls.cohort_mean([torch.ones(1, 1, 4, 4), torch.full((1, 1, 8, 8), 3.0)], torch.zeros(1, 1, 8, 8))
    assert torch.allclose(found, torch.full((1, 1, 8, 8), 2.0))
    assert set(controls.CONTROLS) >= {"surrogate", "other patient", "cohort mean", "random-cam", "randomised network"}
