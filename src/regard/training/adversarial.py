"""Training denoisers against a critic: WGAN-VGG and DU-GAN, resumable at any step."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.core import batching, randomness
from regard.io.atomic import atomic
from regard.io.guard import parsing
from regard.models.zoo.critics import UNetDiscriminator, WGANCritic, sobel
from regard.models.zoo.vgg import VGG16
from regard.training.perceptual import perceptual_distance
from regard.training.restore import Patches
from regard.training.resumable import seeded

__all__ = ["fit_du_gan", "fit_wgan_vgg"]

Loss = Callable[[int, Tensor, Tensor], Tensor]


def fit_wgan_vgg(
    network: nn.Module,
    pairs: Patches,
    features: VGG16,
    *,
    n_steps: int,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    weight_features: float = 0.689,
    penalty: float = 10.0,
    seed: int = 0,
    folder: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train a generator by a Wasserstein critic with gradient penalty and a perceptual loss; it ends on the CPU.

    Parameters
    ----------
    network
        Standardised images (batch, 1, row, column) to the same.
    pairs
        Standardised patches whose side is a multiple of 8.
    features
        What the perceptual loss compares; published: a VGG of ImageNet.
    n_steps
        Of the generator; one of the critic before each.
    batch_size, learning_rate
        As usual; Adam (0.5, 0.9).
    weight_features
        Of the perceptual loss, as in ldct-benchmark.
    penalty
        Of the critic's gradient.
    seed
        Of patches and draws.
    folder
        Where a checkpoint is kept; None: none.
    device
        Where it is trained.

    Notes
    -----
    Yang et al., IEEE Transactions on Medical Imaging 2018.
    """
    with seeded(seed, "critic"):
        critic = WGANCritic(pairs.size)

    def of_critic(step: int, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            made = network(x)
        share = torch.rand(len(x), 1, 1, 1, generator=randomness.generator(seed, "mix", step)).to(x)
        between = (share * y + (1 - share) * made).requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        uneven = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return critic(made).mean() - critic(y).mean() + penalty * uneven  # type: ignore[no-any-return]

    def of_network(step: int, x: Tensor, y: Tensor) -> Tensor:
        made = network(x)
        seen = perceptual_distance(features, made, y, layers=(22,), power=2)
        return weight_features * seen - critic(made).mean()  # type: ignore[no-any-return]

    features.to(device)
    _alternate(
        {"critic": (critic, of_critic), "network": (network, of_network)}, pairs, n_steps, batch_size, learning_rate,
        (0.5, 0.9), folder, device,
    )  # fmt: skip


def fit_du_gan(
    network: nn.Module,
    pairs: Patches,
    *,
    n_steps: int,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    weights: tuple[float, float, float, float] = (0.08, 1.0, 27.8, 2.65),
    width: int = 32,
    seed: int = 0,
    folder: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train a generator against two U-Nets, of the image and of its Sobel gradient, with CutMix; it ends on the CPU.

    Parameters
    ----------
    network, pairs, n_steps, batch_size, learning_rate, seed, folder, device
        As `fit_wgan_vgg`.
    weights
        Of the adversarial loss, the image's and the gradient's mean squared errors, and CutMix, as in ldct-benchmark.
    width
        Channels of the U-Nets' first block.

    Notes
    -----
    Huang et al., IEEE Transactions on Instrumentation and Measurement 2022; least-squares losses.
    """
    adversarial, of_image, of_gradient, of_mix = weights
    with seeded(seed, "critics"):
        critics = nn.ModuleDict({"image": UNetDiscriminator(width), "gradient": UNetDiscriminator(width)})
    views: Mapping[str, Callable[[Tensor], Tensor]] = {"image": lambda x: x, "gradient": sobel}

    def squared(scores: tuple[Tensor, Tensor], wanted: float) -> Tensor:
        return (scores[0] - wanted).square().mean() + (scores[1] - wanted).square().mean()

    def of_critics(step: int, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            made = network(x)
        total = x.new_zeros(())
        mask = _box(x, seed, step)
        for name, view in views.items():
            real, fake = critics[name](view(y)), critics[name](view(made))
            total = total + squared(real, 1.0) + squared(fake, 0.0)
            _, mixed = critics[name](mask * view(y) + (1 - mask) * view(made))
            wanted = mask * real[1] + (1 - mask) * fake[1]
            total = total + of_mix * ((mixed - mask).square().mean() + (mixed - wanted).square().mean())
        return total

    def of_network(step: int, x: Tensor, y: Tensor) -> Tensor:
        made = network(x)
        fooled = x.new_zeros(())
        for name, view in views.items():
            fooled = fooled + squared(critics[name](view(made)), 1.0)
        same = (made - y).square().mean()
        return adversarial * fooled + of_image * same + of_gradient * (sobel(made) - sobel(y)).square().mean()

    _alternate(
        {"critic": (critics, of_critics), "network": (network, of_network)}, pairs, n_steps, batch_size, learning_rate,
        (0.9, 0.999), folder, device,
    )  # fmt: skip


def _box(like: Tensor, seed: int, step: int) -> Tensor:
    """1 inside a box at a random place (1, 1, row, column), 0 outside."""
    rows, columns = like.shape[2:]
    u = randomness.uniform((4,), seed, "box", step).tolist()
    tall, wide = (max(1, round((0.2 + 0.6 * v) * n)) for v, n in zip(u[:2], (rows, columns), strict=True))
    top, left = int(u[2] * (rows - tall + 1)), int(u[3] * (columns - wide + 1))
    mask = like.new_zeros(1, 1, rows, columns)
    mask[..., top : top + tall, left : left + wide] = 1
    return mask


def _alternate(
    parts: Mapping[str, tuple[nn.Module, Loss]],
    pairs: Patches,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    betas: tuple[float, float],
    folder: Path | None,
    device: str,
    every_s: float = 20.0,
) -> None:
    """A step of each part in turn, from the last checkpoint on; patches are keyed by the step."""
    optimisers = {}
    for name, (module, _) in parts.items():
        module.to(device).train()
        optimisers[name] = torch.optim.Adam(module.parameters(), learning_rate, betas=betas)
    path = None if folder is None else folder / "checkpoint.ckpt"
    first = 0
    if path is not None and path.exists():
        with parsing(path, "checkpoint", do="remove it"):
            kept = torch.load(path, weights_only=True, map_location=device)
            first = int(kept["step"])
            for name, (module, _) in parts.items():
                module.load_state_dict(kept[f"{name} weights"])
                optimisers[name].load_state_dict(kept[f"{name} optimiser"])
    saved = time.monotonic()
    progress = batching.current_progress()
    for step in range(first, n_steps):
        x, y = (t.to(device) for t in pairs.batch(range(step * batch_size, (step + 1) * batch_size)))
        for name, (_, loss_of) in parts.items():
            optimisers[name].zero_grad()
            loss_of(step, x, y).backward()  # type: ignore[no-untyped-call]
            optimisers[name].step()
        if progress is not None:
            progress("training", step + 1, n_steps)
        if path is not None and time.monotonic() - saved > every_s:
            states = {f"{name} weights": module.state_dict() for name, (module, _) in parts.items()}
            states |= {f"{name} optimiser": o.state_dict() for name, o in optimisers.items()}
            with atomic(path) as temporary:
                torch.save({"step": step + 1, **states}, temporary)
            saved = time.monotonic()
    for module, _ in parts.values():
        module.to("cpu").eval()
