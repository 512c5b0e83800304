"""WGAN-VGG, DU-GAN and our own perceptual features: they learn, and resume to the same weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from regard.models.zoo.denoisers import cnn10, redcnn, start_at_identity, wgan_generator
from regard.models.zoo.vgg import VGG16
from regard.training import adversarial
from regard.training.adversarial import fit_du_gan, fit_wgan_vgg
from regard.training.perceptual import fit_features, perceptual_distance
from regard.training.restore import Patches, fit_restorer


def pairs(n: int = 6, size: int = 32, patch: int = 24) -> Patches:
    generator = torch.Generator().manual_seed(0)
    clean = torch.zeros(n, 1, size, size)
    for k in range(n):
        row, column = torch.randint(4, size - 12, (2,), generator=generator).tolist()
        clean[k, 0, row : row + 9, column : column + 9] = 2.0
    return Patches(clean + 0.5 * torch.randn(clean.shape, generator=generator), clean, patch, 1, 0)


def vgg() -> VGG16:
    torch.manual_seed(0)
    return VGG16(1, 2, 4, dropout=0.0).requires_grad_(False)


Fit = Callable[..., None]


def wgan(network: nn.Module, **more: object) -> None:
    fit_wgan_vgg(network, pairs(), vgg(), batch_size=2, **more)  # type: ignore[arg-type]


def du(network: nn.Module, **more: object) -> None:
    fit_du_gan(network, pairs(), batch_size=2, width=4, **more)  # type: ignore[arg-type]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("fit", [wgan, du])
def test_a_training_that_was_cut_off_ends_the_same(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh() -> nn.Module:
        torch.manual_seed(1)
        return wgan_generator(4, 3)

    whole, cut = fresh(), fresh()
    before = weights(whole)
    fit(whole, n_steps=4)
    assert not torch.equal(weights(whole), before)

    class Stop(Exception):
        pass

    # A checkpoint after each step, and the process dies in the third.
    monkeypatch.setattr(adversarial.time, "monotonic", iter(range(0, 10_000, 100)).__next__)
    calls, batch = [0], Patches.batch

    def dying(self: Patches, numbers: range, epoch: int = 0) -> tuple[Tensor, Tensor]:
        calls[0] += 1
        if calls[0] == 3:
            raise Stop
        return batch(self, numbers, epoch)

    monkeypatch.setattr(Patches, "batch", dying)
    with pytest.raises(Stop):
        fit(cut, n_steps=4, folder=tmp_path)
    monkeypatch.setattr(Patches, "batch", batch)
    again = fresh()
    fit(again, n_steps=4, folder=tmp_path)
    assert torch.equal(weights(again), weights(whole))


def test_du_gan_brings_the_image_nearer() -> None:
    torch.manual_seed(1)
    network = redcnn(4)
    start_at_identity(network)
    fit_du_gan(network, pairs(), n_steps=40, batch_size=4, width=4, learning_rate=2e-3)
    data = pairs()
    with torch.no_grad():
        found = network(data.inputs)
    assert float((found - data.wanted).square().mean()) < 0.9 * float((data.inputs - data.wanted).square().mean())


def test_features_know_what_they_were_trained_for() -> None:
    generator = torch.Generator().manual_seed(0)
    quiet, loud = 0.1 * torch.randn(12, 1, 40, 40, generator=generator), torch.randn(12, 1, 40, 40, generator=generator)
    images, labels = torch.cat([quiet, loud]), torch.tensor([0] * 12 + [1] * 12)
    network = fit_features(images, labels, width=4, n_steps=40, batch_size=8, learning_rate=2e-3)
    with torch.no_grad():
        assert float((network(images).argmax(1) == labels).float().mean()) > 0.9
    assert not any(p.requires_grad for p in network.parameters())


def test_the_perceptual_distance_is_that_of_the_features() -> None:
    network = vgg()
    a, b = torch.randn(2, 2, 1, 32, 32)
    assert float(perceptual_distance(network, a, a)) == 0
    expected = sum(float((network.features[: n + 1](a) - network.features[: n + 1](b)).abs().mean()) for n in (3, 8))
    assert float(perceptual_distance(network, a, b, layers=(3, 8))) == pytest.approx(expected, rel=1e-5)
    a.requires_grad_(True)
    (slope,) = torch.autograd.grad(perceptual_distance(network, a, b, power=2), a)
    assert bool((slope != 0).any())


@pytest.mark.parametrize("build", [lambda: cnn10(6), lambda: redcnn(4), lambda: wgan_generator(6)])
def test_denoisers_can_start_at_the_identity(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build()
    start_at_identity(network)
    x = torch.randn(1, 1, 40, 40)
    assert torch.allclose(network(x), x, atol=1e-6)
    (slope,) = torch.autograd.grad(network(x).square().sum(), [next(network.parameters())], allow_unused=True)
    assert slope is not None


def test_a_restorer_that_was_cut_off_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pairs()

    def fit(folder: Path | None) -> nn.Module:
        torch.manual_seed(2)
        network = cnn10(4)
        fit_restorer(network, data.inputs, data.wanted, n_steps=200, batch_size=2, patch=24, folder=folder)
        return network

    whole = fit(None)
    made = Patches.one
    monkeypatch.setattr("regard.training.resumable.time.monotonic", iter(range(0, 10**6, 100)).__next__)

    def dying(self: Patches, number: int) -> tuple[Tensor, Tensor]:
        if number > 250:
            raise RuntimeError("killed")
        return made(self, number)

    monkeypatch.setattr(Patches, "one", dying)
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path)
    monkeypatch.setattr(Patches, "one", made)
    assert (tmp_path / "checkpoint.ckpt").exists()
    assert torch.equal(weights(fit(tmp_path)), weights(whole))
