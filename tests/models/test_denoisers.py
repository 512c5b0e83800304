"""Denoisers and critics: numbers of parameters counted by hand, shapes, and that training restores."""

import math

import pytest
import torch
from torch import nn

from regard.core.errors import ShapeError
from regard.evidence.restoration import Observer, mean_square, observe, peak_ratio, similarity, visual_information
from regard.models.zoo.classical import non_local_means
from regard.models.zoo.critics import UNetDiscriminator, WGANCritic, sobel
from regard.models.zoo.denoisers import cnn10, redcnn, wgan_generator
from regard.training.restore import Patches, fit_restorer


def n_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # 9*9*64+64, 3*3*64*32+32, 5*5*32+1
        (cnn10(), 5248 + 18464 + 801),
        # 5*5*96+96, four of 5*5*96*96+96, four more, 5*5*96+1
        (redcnn(), 2496 + 8 * 230496 + 2401),
        # 3*3*32+32, six of 3*3*32*32+32, 3*3*32+1
        (wgan_generator(), 320 + 6 * 9248 + 289),
        # convolutions 640, 36928, 73856, 147584, 295168, 590080; 256*8*8*1024+1024; 1025
        (WGANCritic(64), 1144256 + 16778240 + 1025),
        # 320; 32*64*16+64, 64*128*16+128, 128*256*16+256; 257; 384*128*9+128, 192*64*9+64, 96*32*9+32; 33
        (UNetDiscriminator(), 320 + 32832 + 131200 + 524544 + 257 + 442496 + 110656 + 27680 + 33),
    ],
    ids=["cnn10", "redcnn", "wgan", "critic", "unet"],
)
def test_the_number_of_parameters_is_that_counted_by_hand(network: nn.Module, expected: int) -> None:
    assert n_parameters(network) == expected


@pytest.mark.parametrize("network", [cnn10(8), redcnn(8), wgan_generator(8)])
def test_denoisers_keep_the_size(network: nn.Module) -> None:
    x = torch.randn(2, 1, 37, 30)
    assert network(x).shape == x.shape


def test_red_cnn_is_its_equations() -> None:
    torch.manual_seed(0)
    net = redcnn(4).double()
    x = torch.randn(1, 1, 24, 24, dtype=torch.float64)
    c = [x]
    for layer in net.down:
        c.append(torch.relu(layer(c[-1])))
    d1 = torch.relu(net.up[0](c[5]) + c[4])
    d2 = torch.relu(net.up[1](d1))
    d3 = torch.relu(net.up[2](d2) + c[2])
    d4 = torch.relu(net.up[3](d3))
    assert torch.allclose(net(x), net.up[4](d4) + x)


def test_critics_judge_images_and_pixels() -> None:
    x = torch.randn(3, 1, 32, 32)
    score, pixels = UNetDiscriminator(8)(x)
    assert score.shape == (3, 1)
    assert pixels.shape == x.shape
    assert WGANCritic(32, (4, 8, 8), 16)(x).shape == (3, 1)


def test_sobel_of_a_ramp_is_its_slope() -> None:
    ramp = 3.0 * torch.arange(12.0).expand(1, 1, 12, 12)
    assert torch.allclose(sobel(ramp)[..., 2:-2, 2:-2], torch.tensor(3.0))


def pairs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.zeros(n, 1, 40, 40)
    for k in range(n):
        row, column = torch.randint(4, 24, (2,), generator=generator).tolist()
        clean[k, 0, row : row + 12, column : column + 12] = 200.0
    return clean + 30 * torch.randn(clean.shape, generator=generator), clean


def test_training_beats_the_input_and_is_the_same_again() -> None:
    noisy, clean = pairs(12, 0)
    torch.manual_seed(0)
    network = cnn10(8)
    start = {k: v.clone() for k, v in network.state_dict().items()}
    trained = fit_restorer(network, noisy, clean, n_steps=60, patch=24, learning_rate=5e-3)
    test, wanted = pairs(4, 1)
    with torch.no_grad():
        found = trained(test)
    assert float(mean_square(found, wanted).mean()) < 0.7 * float(mean_square(test, wanted).mean())
    again = cnn10(8)
    again.load_state_dict(start)
    second = fit_restorer(again, noisy, clean, n_steps=60, patch=24, learning_rate=5e-3)
    with torch.no_grad():
        assert torch.allclose(second(test), found)
    with pytest.raises(ShapeError, match="patches of 64"):
        Patches(noisy, clean, 64, 1, 0)


def test_non_local_means_takes_noise_out() -> None:
    noisy, clean = pairs(1, 0)
    found = non_local_means(30.0)(noisy)
    assert float(mean_square(found, clean)) < 0.6 * float(mean_square(noisy, clean))


def test_measures_of_known_images() -> None:
    _, clean = pairs(2, 0)
    assert torch.allclose(mean_square(clean + 3, clean), torch.full((2,), 3.0).double())
    assert torch.allclose(peak_ratio(clean + 3, clean, 300.0), torch.full((2,), 40.0).double())
    assert torch.allclose(similarity(clean, clean, 200.0), torch.ones(2).double())
    assert torch.allclose(visual_information(clean, clean), torch.ones(2).double(), atol=1e-3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator)
    values = [float(visual_information(clean + s * noise, clean).mean()) for s in (0.0, 5.0, 20.0, 60.0)]
    assert values == sorted(values, reverse=True)
    # A higher contrast holds more information than the reference itself: the mark of this measure.
    assert float(visual_information(1.5 * (clean + 5 * noise), clean + 5 * noise).mean()) > 1.0


def test_the_observer_reaches_the_ideal_in_white_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(32.0) - 16
    signal = torch.exp(-(axis.square()[:, None] + axis.square()[None]) / (2 * 9.0))
    contrast = 2.0 / float(signal.square().sum().sqrt())  # d' = 2 in noise of deviation 1
    absent, present = torch.randn(2, 400, 1, 32, 32, generator=generator)
    area, d_prime = observe(
        Observer((32, 32), (16, 16), 3 * math.sqrt(2 * math.pi)), present + contrast * signal, absent
    )
    assert d_prime == pytest.approx(2.0, abs=0.2)
    assert area == pytest.approx(0.921, abs=0.025)
    area, _ = observe(Observer((32, 32), (16, 16), 8.0), present, absent)
    assert abs(area - 0.5) < 0.06
