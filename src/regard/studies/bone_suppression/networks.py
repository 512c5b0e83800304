"""Training the four networks, and asking them."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from regard.core.devices import answers
from regard.core.errors import InputError
from regard.models import Model, load_model
from regard.models.zoo.bone_suppression import ae_bs, convnet_bs, resnet_bs, rl_bs
from regard.studies.bone_suppression.config import BoneSuppressionConfig, TrainSection
from regard.studies.bone_suppression.pairs import Pairs
from regard.studies.bone_suppression.preparation import Variation
from regard.studies.run import StudyRun
from regard.studies.trained import kept_model, save_trained, seed_of
from regard.training.augmentation import Augmentation
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.similarity_loss import l1_penalty, similarity_and_error
from regard.training.supervised import Plateau, Supervised

__all__ = ["build", "suppressed", "train_network"]

_WIDTHS = {
    "ae-bs": (16, 32, 64, 32, 16),
    "convnet-bs": (16, 32, 64, 128, 256, 512),
    "rl-bs": (8, 16, 32, 64, 128, 256, 512),
}


def build(name: str, section: TrainSection) -> tuple[nn.Module, dict[str, Any]]:
    """One of the four networks at the widths of the settings, and what its builder was called with."""
    if name == "resnet-bs":
        return resnet_bs(width=section.resnet_width, blocks=section.resnet_blocks), {
            "width": section.resnet_width,
            "blocks": section.resnet_blocks,
        }
    divisor = 1 if name == "ae-bs" else section.narrow
    widths = tuple(max(2, w // divisor) for w in _WIDTHS[name])
    makers = {"ae-bs": ae_bs, "convnet-bs": convnet_bs, "rl-bs": rl_bs}
    return makers[name](widths=widths), {"widths": list(widths)}


def _start(network: nn.Module, name: str) -> None:
    """Start networks without a bound as the radiograph itself where they can be: RL-BS adds nothing at first."""
    if name == "rl-bs":
        last = network.get_submodule("residual")[-1]  # type: ignore[index]
        with torch.no_grad():
            last.get_parameter("weight").mul_(0.01)
            last.get_parameter("bias").zero_()


def _card(name: str, kwargs: dict[str, Any], learn: Pairs, config: BoneSuppressionConfig) -> dict[str, Any]:
    share, size = config.data.saturated, config.data.size
    notes = "Soft tissue of a chest radiograph in [0, 1]."
    return {
        "name": name,
        "licence": "Apache-2.0",
        "zoo": name,
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {
                "name": "image",
                "channels": 1,
                "orientation": "PL",
                "shape": [size, size],
                "fit": "resize",
                "normalise": {"quantiles": [share, 1 - share]},
            }
        ],
        "output": {"kind": "image", "names": ["soft tissue"], "units": ["grey"], "grid": "input"},
        "trained_on": {
            "n": len(learn),
            "site": "user's cases" if learn.real else "radiograph phantoms",
            "simulated": not learn.real,
        },
        "notes": notes,
    }


def _loss(network: nn.Module, name: str, section: TrainSection) -> Any:
    def loss(found: Tensor, wanted: Tensor) -> Tensor:
        value = similarity_and_error(found.float(), wanted.float(), n_scales=section.scales)
        return value + l1_penalty(network) if name == "convnet-bs" else value

    return loss


def train_network(run: StudyRun, config: BoneSuppressionConfig, name: str, learn: Pairs, chosen: Pairs) -> Model:
    """One of the four networks: trained, or read if it has been.

    Parameters
    ----------
    run, config
        The study.
    name
        One of ``NETWORKS``.
    learn, chosen
        Pairs to train on, and pairs of other radiographs that choose the best epoch and are never varied.
    """
    done = kept_model(run, name)
    if done is not None:
        return done
    section = config.train
    seed = seed_of(run, name)
    moves = Augmentation(section.rotation, section.flip, section.shift, section.zoom)
    variation = Variation(moves, section.filters, section.crop)

    def batch(pairs: Pairs, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        both = torch.cat((pairs.images[cases], pairs.soft[cases]), 1)
        if epoch is not None:
            both = variation.apply(both, seed=seed, cases=cases, epoch=epoch)
        return both[:, :1], both[:, 1:]

    with seeded(seed, "weights"):
        network, kwargs = build(name, section)
        _start(network, name)
    folder = run.path / "models" / name
    module = Supervised(
        network,
        _loss(network, name, section),
        learning_rate=section.learning_rate,
        plateau=Plateau(section.patience, section.factor, section.min_rate),
    )
    history = fit_resumable(
        module,
        Epochs(lambda cases, epoch: batch(learn, cases, epoch), len(learn)),
        Epochs(lambda cases, _: batch(chosen, cases, None), len(chosen)),
        n_epochs=section.n_epochs,
        batch_size=section.batch_size,
        seed=seed,
        folder=folder,
        precision=section.precision,
        device=run.device,
        label=f"{name}, epoch",
    )
    if not any(math.isfinite(row.get("val_loss", math.nan)) for row in history):
        raise InputError(
            f"a loss of {name} that is no number in any epoch", "a finite one", "lower train.learning_rate"
        )
    run.record(f"train/{name}", lambda: {"epochs": history})
    save_trained(folder, network, _card(name, kwargs, learn, config))
    return load_model(folder, device=run.device)


def whole_batch(network: nn.Module, images: Tensor) -> Tensor:
    """As `suppressed`, all radiographs at once."""
    return answers(network, images, batch=len(images))


def suppressed(network: nn.Module, images: Tensor, *, batch: int = 4) -> Tensor:
    """Soft tissue of radiographs (case, 1, row, column), not clipped."""
    return answers(network, images, batch=batch)
