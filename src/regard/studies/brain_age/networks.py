"""Training networks that read age from a brain, and asking them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core import randomness
from regard.core.devices import answers
from regard.core.rows import target_values
from regard.core.target import AbstractTarget, Expectation, Output
from regard.models import Model, load_model
from regard.models.zoo import ZOO
from regard.studies.brain_age.cohort import SCALING, Cohort, prepared
from regard.studies.brain_age.config import BrainAgeConfig
from regard.studies.run import StudyRun
from regard.studies.trained import kept_model, save_trained, seed_of, split
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.supervised import Cosine, Supervised

__all__ = ["age_target", "bins_of", "predicted", "soft_bins", "train_network"]

_MARGIN = 6.0
"""How far the bins reach beyond the ages that are trained on [year]."""


def bins_of(ages: Tensor, width: float) -> tuple[float, ...]:
    """Centres of bins of ``width`` years that hold all ages with room at both ends."""
    low = float(np.floor((float(ages.min()) - _MARGIN) / width) * width)
    n = int(np.ceil((float(ages.max()) + _MARGIN - low) / width))
    return tuple(low + width * (k + 0.5) for k in range(n))


def soft_bins(ages: Tensor, bins: Sequence[float]) -> Tensor:
    """Probability of each bin for a normal distribution about each age, a bin wide, (case, bin).

    Peng et al., Medical Image Analysis 2021: bins of one year, and a standard deviation of one year.
    """
    centres = torch.tensor(bins, dtype=ages.dtype)
    width = float(centres[1] - centres[0]) if len(bins) > 1 else 1.0
    z = (centres[None] - ages[:, None]) / width
    upper, lower = (torch.special.ndtr(z + half) for half in (0.5, -0.5))
    share = upper - lower
    return share / share.sum(1, keepdim=True)


def age_target(model: Model) -> AbstractTarget:
    """The age that a network says, in years."""
    return Output(0) if model.card.output.bins is None else Expectation(model.card.output.bins)


def _plain_loss(mean: float, deviation: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, ages: Tensor) -> Tensor:
        return functional.mse_loss(outputs[:, 0], (ages - mean) / deviation)

    return loss


def _bins_loss(bins: Sequence[float]) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, ages: Tensor) -> Tensor:
        return -(soft_bins(ages, bins) * outputs.log_softmax(1)).sum(1).mean()

    return loss


def _built(kind: str, channels: int, outputs: int, config: BrainAgeConfig) -> tuple[str, dict[str, Any]]:
    if kind == "resnet18":
        return "monai-resnet18", {"channels": channels, "outputs": outputs, "widen": config.train.resnet_widen}
    kwargs = {"channels": channels, "outputs": outputs, "widths": list(config.train.widths), "dropout": 0.0}
    return "sfcn", kwargs


@torch.no_grad()
def _answer_in_years(network: nn.Module, mean: float, deviation: float) -> None:
    """Fold the labels' scale into the last layer, a convolution or a dense one."""
    *_, last = (m for m in network.modules() if isinstance(getattr(m, "bias", None), nn.Parameter))
    last.get_parameter("weight").mul_(deviation)
    last.get_parameter("bias").mul_(deviation).add_(mean)


def train_network(
    run: StudyRun, config: BrainAgeConfig, learn: Cohort, kind: str, *, member: int = 0, name: str | None = None
) -> Model:
    """One network: trained, or read if it has been.

    Parameters
    ----------
    run, config
        The study.
    learn
        Training cases; some of the patients choose the best epoch.
    kind
        One of `regard.studies.brain_age.config.NETWORKS`.
    member
        Which training.
    name
        Of its folder in ``models``, if not kind and member.
    """
    name = name or f"{kind}-member{member}"
    done = kept_model(run, name)
    if done is not None:
        return done
    plan, seed = config.train, seed_of(run, name)
    ours, held = split(learn.patients, plan.validation, seed=run.seed, member=member)
    some, chosen = learn.of_patients(ours), learn.of_patients(held)
    inputs = {id(c): prepared(c.images) for c in (some, chosen)}

    def batch(cohort: Cohort, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        images = inputs[id(cohort)][cases]
        if epoch is not None and plan.mirror:
            drawn = [float(randomness.uniform((1,), seed, cohort.cases[c], f"mirror {epoch}")) for c in cases]
            mirrored = torch.tensor([d < 0.5 for d in drawn]).reshape(-1, 1, 1, 1, 1)
            images = torch.where(mirrored, images.flip(2), images)
        return images, cohort.ages[cases]

    bins = bins_of(some.ages, plan.bin_years) if kind.endswith("-bins") else None
    zoo, kwargs = _built(kind, int(learn.images.shape[1]), 1 if bins is None else len(bins), config)
    with seeded(seed, "weights"):
        network = ZOO.load(zoo)(**kwargs)
    mean, deviation = float(some.ages.mean()), float(some.ages.std(correction=0)) or 1.0
    module = Supervised(
        network,
        _plain_loss(mean, deviation) if bins is None else _bins_loss(bins),
        learning_rate=plan.learning_rate,
        cosine=Cosine(plan.n_epochs),
    )
    fit_resumable(
        module,
        Epochs(lambda cases, epoch: batch(some, cases, epoch), len(some)),
        Epochs(lambda cases, _: batch(chosen, cases, None), len(chosen)),
        n_epochs=plan.n_epochs,
        batch_size=plan.batch_size,
        seed=seed,
        folder=run.path / "models" / name,
        device=run.device,
        label=f"{name}, epoch",
    )
    if bins is None:
        _answer_in_years(network, mean, deviation)
    save_trained(run.path / "models" / name, network, _card(name, zoo, kwargs, some, bins))
    return load_model(run.path / "models" / name, device=run.device)


def _card(
    name: str, zoo: str, kwargs: dict[str, Any], cohort: Cohort, bins: tuple[float, ...] | None
) -> dict[str, Any]:
    _, channels, *size = cohort.images.shape
    spacing = [float(s) for s in cohort.grid.spacing]
    return {
        "name": f"brain-age-{name}",
        "licence": "Apache-2.0",
        "zoo": zoo,
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {
                "channels": channels,
                "orientation": "RAS",
                "spacing_mm": spacing,
                "shape": list(size),
                "fit": "crop-pad",
                # With a Jacobian the image is scaled before the two are put together.
                "normalise": SCALING.model_dump() if channels == 1 else "none",
            }
        ],
        "output": {
            "kind": "regression",
            "names": ["age"] if bins is None else [f"{b:g}" for b in bins],
            "units": ["year"],
            "bins": None if bins is None else list(bins),
        },
        "trained_on": {
            "n": len(cohort),
            "ranges": {
                "spacing_mm": [min(spacing), max(spacing)],
                "output": [float(cohort.ages.min()), float(cohort.ages.max())],
                "age": [float(cohort.ages.min()), float(cohort.ages.max())],
            },
            "site": "brain phantoms" if cohort.numbers else "user's cases",
            "simulated": bool(cohort.numbers),
        },
        "notes": "Skull-stripped T1, affinely registered to MNI152 space.",
    }


@torch.no_grad()
def predicted(model: Model, images: Tensor, *, batch: int = 16) -> np.ndarray:
    """Age [year] that a network reads from images as they come (case, channel, i, j, k), (case,)."""
    network: nn.Module = model.network  # type: ignore[assignment]
    target = age_target(model)

    def read(output: Tensor) -> Tensor:
        return target_values(target, output, len(output)).double()

    array: np.ndarray = answers(network, images, batch=batch, change=prepared, read=read).numpy()
    return array
