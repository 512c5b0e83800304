"""Training a sampler: first the autoencoder, then the invertible network on its latents. Resumable at any step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.core import batching, randomness
from regard.core.spatial import has_space, space
from regard.explainers.generative.conditional_vae import vae_loss
from regard.explainers.generative.sampler import Sampler, SamplerSizes
from regard.io.atomic import atomic
from regard.io.guard import parsing

__all__ = ["fit_sampler", "patches_of"]

Function = Callable[[Tensor], Tensor]

WEIGHT_KL = 0.57504 / 0.0011852
"""The published weights, as a ratio: divergence summed over latents to absolute error summed over pixels."""


def patches_of(images: Sequence[Tensor], size: int, n: int, seed: int) -> Tensor:
    """Random patches (n, channel, size, size) of images (1, channel, row, column), image by image in turn."""
    found = []
    for k in range(n):
        image = images[k % len(images)]
        u = randomness.uniform((2,), seed, "patch", k).tolist()
        row, column = (int(v * (s - size + 1)) for v, s in zip(u, space(image), strict=True))
        found.append(image[..., row : row + size, column : column + size])
    return torch.cat(found)


def fit_sampler(
    functions: Sequence[Function],
    images: Sequence[Tensor],
    *,
    sizes: SamplerSizes | None = None,
    n_patches: int = 256,
    n_steps: int = 600,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    weight_kl: float | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    every_s: float = 20.0,
) -> tuple[Sampler, dict[str, float]]:
    """Fit a sampler of a network's invariances to patches of images.

    Parameters
    ----------
    functions
        The network as a function of the intensities, one per image.
    images
        (1, 1, row, column), each at least a patch large.
    sizes
        Of the networks.
    n_patches
        Patches that are drawn once, with their outputs.
    n_steps
        Steps of the autoencoder; the invertible network takes as many.
    batch_size, learning_rate
        As usual. Published: 64 and 128, 1e-5.
    weight_kl
        Of the divergence against the standardised absolute error summed over pixels; None: a hundredth of the
        published ratio, which the published networks share with a perceptual and an adversarial loss that are
        not here: with it alone the latent stays unused.
    perceptual
        Weighted distance of standardised images that is added to the autoencoder's loss; None: none.
    seed
        Of patches, order and draws.
    folder
        Where checkpoints are kept; None: none.
    every_s
        Least time between two of them [s].

    Returns
    -------
    sampler
        In evaluation mode.
    facts
        Losses at the end.
    """
    sizes = sizes or SamplerSizes()
    each = [patches_of([i], sizes.size, -(-n_patches // len(images)), seed + k) for k, i in enumerate(images)]
    with torch.no_grad():
        answers = [torch.cat([f(p[None]) for p in ps]) for f, ps in zip(functions, each, strict=True)]
    x, y = torch.cat(each), torch.cat(answers)
    sizes = replace(sizes, shown=y.shape[1] if has_space(y) else 1)
    scales = tuple(float(v) for v in (x.mean(), x.std(), y.mean(), y.std().clamp_min(1e-9)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.generator(seed, "sampler", "weights").initial_seed())
        sampler = Sampler(sizes, scales).to(x)  # type: ignore[arg-type]
    seen = sampler.seen(x)
    weight = WEIGHT_KL / 100 if weight_kl is None else weight_kl

    def batch(step: int, what: str) -> tuple[Tensor, Tensor, Tensor]:
        generator = randomness.generator(seed, what, step)
        picked = torch.randint(len(x), (batch_size,), generator=generator)
        return (
            seen[picked],
            sampler.shown(y[picked]),
            torch.randn(batch_size, sizes.n_latent, generator=generator).to(x),
        )

    def of_vae(step: int) -> Tensor:
        a, b, noise = batch(step, "vae")
        return vae_loss(sampler.vae, a, b, noise, weight_kl=weight, perceptual=perceptual)

    def of_inn(step: int) -> Tensor:
        a, b, noise = batch(step, "inn")
        with torch.no_grad():
            mean, log_variance = sampler.vae.encode(a, b)
        return sampler.inn.loss(mean + noise * (0.5 * log_variance).exp(), sampler.embedder(b))

    sampler.vae.train()
    facts = {"loss of the autoencoder": _train(sampler.vae, of_vae, n_steps, learning_rate, folder, "vae", every_s)}
    sampler.vae.eval()
    both = nn.ModuleList([sampler.inn, sampler.embedder]).train()
    facts["loss of the invertible network"] = _train(both, of_inn, n_steps, learning_rate, folder, "inn", every_s)
    return sampler.eval(), facts


def _train(
    network: nn.Module,
    loss_of: Callable[[int], Tensor],
    n_steps: int,
    learning_rate: float,
    folder: Path | None,
    name: str,
    every_s: float,
) -> float:
    """Adam with a cosine schedule, from the last checkpoint on; the mean loss of the last tenth of the steps."""
    optimiser = torch.optim.Adam(network.parameters(), learning_rate, betas=(0.9, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    parts = {"network": network, "optimiser": optimiser, "schedule": schedule}
    path = None if folder is None else folder / "checkpoints" / f"{name}.ckpt"
    first, losses = 0, []
    if path is not None and path.exists():
        with parsing(path, "checkpoint", do="remove it"):
            kept = torch.load(path, weights_only=True)
            first, losses = int(kept["step"]), [float(v) for v in kept["losses"]]
            for key, part in parts.items():
                part.load_state_dict(kept[key])  # type: ignore[attr-defined]
    saved = time.monotonic()
    progress = batching.current_progress()
    for step in range(first, n_steps):
        optimiser.zero_grad()
        loss = loss_of(step)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 100.0)
        optimiser.step()
        schedule.step()
        losses = [*losses, float(loss.detach())][-max(1, n_steps // 10) :]
        if progress is not None:
            progress(f"training {name}", step + 1, n_steps)
        if path is not None and (step + 1 == n_steps or time.monotonic() - saved > every_s):
            states = {k: p.state_dict() for k, p in parts.items()}  # type: ignore[attr-defined]
            with atomic(path) as temporary:
                torch.save({"step": step + 1, "losses": losses, **states}, temporary)
            saved = time.monotonic()
    return sum(losses) / max(1, len(losses))
