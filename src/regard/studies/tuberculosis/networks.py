"""Training the classifiers: first normal against abnormal, then each fold; and asking them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regard.core import randomness
from regard.core.target import FunctionTarget
from regard.io.atomic import atomic
from regard.models import Model, load_model, write_card
from regard.models.card import ModelCard
from regard.models.zoo.vgg import VGG16
from regard.studies.folds import held_out
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.training.augmentation import Augmentation
from regard.training.classify import Classify, balanced_weights
from regard.training.resumable import Epochs, fit_resumable, seeded

__all__ = ["EXPLAINED", "TARGET", "Learning", "grey_convolutions", "log_odds", "pooled", "told", "train", "trained"]


def log_odds(output: Tensor) -> Tensor:
    """Logit of ill minus logit of well, (batch,): what is explained. 0 is a probability of one half."""
    return output[:, 1] - output[:, 0]


TARGET = FunctionTarget(log_odds)
"""What every map explains."""

EXPLAINED = "features.29"
"""The layer that class activation maps look at: the last convolution's ReLU, which the dense layer sees pooled."""


def grey_convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network of colours as one of grey: the first convolution summed over its channels.

    A grey image repeated in three channels gives the same features as the image in the one channel that is left.
    """
    first = "features.0.weight"
    return {k: v.sum(1, keepdim=True) if k == first else v for k, v in state.items()}


def _start(network: VGG16, weights: Path | None) -> None:
    """He's start, without which 13 convolutions do not learn from nothing; or a user's weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if weights is not None:
        safe = weights.suffix == ".safetensors"
        state = load_file(weights) if safe else torch.load(weights, map_location="cpu", weights_only=True)
        network.load_convolutions(grey_convolutions(state))


class Learning:
    """What one network learns from.

    Parameters
    ----------
    name
        Of the network, as its folder in ``models``.
    images, labels
        (case, 1, row, column) in [0, 1], and (case,) of 0 and 1.
    patients
        Whose case each is.
    n_epochs, rate
        How long, and how fast.
    start
        The network that it goes on from; None: from the start.
    notes
        For the card.
    site
        Where the images came from, for the card.
    """

    def __init__(
        self, name: str, images: Tensor, labels: Tensor, patients: Sequence[str], *, n_epochs: int, rate: float,
        start: Model | None = None, notes: str = "", site: str = "radiograph phantoms",
    ) -> None:  # fmt: skip
        self.name, self.images, self.labels, self.patients = name, images, labels, tuple(patients)
        self.n_epochs, self.rate, self.start, self.notes, self.site = n_epochs, rate, start, notes, site


def _card(config: TuberculosisConfig, what: Learning, n: int) -> dict[str, Any]:
    size = [config.data.size] * 2
    return {
        "name": f"tuberculosis-{what.name}",
        "licence": "Apache-2.0",
        "zoo": "vgg16",
        "kwargs": {"channels": 1, "outputs": 2, "width": config.train.width, "dropout": config.train.dropout},
        "weights": "weights.safetensors",
        "layer": EXPLAINED,
        "inputs": [{"name": "image", "channels": 1, "shape": size, "fit": "resize", "unit": "1"}],
        "output": {"kind": "classification", "names": ["well", "ill"], "units": ["logit"]},
        "trained_on": {
            "n": n,
            "ranges": {"intensity": [float(what.images.min()), float(what.images.max())]},
            "site": what.site,
        },
        "notes": what.notes,
    }


def trained(run: StudyRun, name: str) -> Model | None:
    """A classifier that has been trained, by the name of its folder; None where there is none."""
    found = run.find(f"models/{name}/card.yaml")
    return None if found is None else load_model(found.parent)


def train(run: StudyRun, config: TuberculosisConfig, what: Learning) -> Model:
    """One classifier: trained, or read if it has been; its best epoch is chosen on patients it did not learn from."""
    name = what.name
    done = trained(run, name)
    if done is not None:
        return done
    plan, folder = config.train, run.path / "models" / name
    seed = randomness.generator(run.seed, name, "network").initial_seed() % 2**31
    chosen = held_out(
        [bool(v) for v in what.labels], what.patients, plan.validation, seed=run.seed, what=f"validation {name}"
    )
    ours, others = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    images, labels = what.images, what.labels
    moves = Augmentation(plan.rotation, plan.flip, plan.shift)

    def batch(rows: np.ndarray, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        of = rows[cases]
        found = images[of]
        if epoch is not None:
            found = moves.apply(found, seed=seed, cases=[int(k) for k in of], epoch=epoch)
        return found, labels[of]

    with seeded(seed, "weights"):
        network = VGG16(1, 2, plan.width, plan.dropout)
        _start(network, plan.weights if what.start is None else None)
    if what.start is not None:
        network.load_state_dict(what.start.network.state_dict())  # type: ignore[union-attr]
    module = Classify(
        network, class_weights=balanced_weights(labels[ours]), optimiser=plan.optimiser, learning_rate=what.rate,
        momentum=plan.momentum, decay=plan.decay,
    )  # fmt: skip
    fit_resumable(
        module,
        Epochs(lambda cases, epoch: batch(ours, cases, epoch), len(ours)),
        Epochs(lambda cases, _: batch(others, cases, None), len(others)),
        n_epochs=what.n_epochs,
        batch_size=plan.batch_size,
        seed=seed,
        folder=folder,
        precision=plan.precision,
        device=run.device,
        label="epoch",
    )
    with atomic(folder / "weights.safetensors") as temporary:
        save_file({k: v.float().contiguous() for k, v in network.state_dict().items()}, temporary)
    write_card(ModelCard.model_validate(_card(config, what, len(ours))), folder / "card.yaml")
    (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return load_model(folder)


def _vgg(model: Model) -> VGG16:
    assert isinstance(model.network, VGG16)
    return model.network


@torch.no_grad()
def told(model: Model, images: Tensor, *, batch: int = 32) -> np.ndarray:
    """Log-odds of ill of each image (case, 1, row, column), (case,)."""
    network = _vgg(model)
    found: np.ndarray = torch.cat([log_odds(network(part)) for part in images.split(batch)]).double().numpy()
    return found


@torch.no_grad()
def pooled(model: Model, images: Tensor, *, batch: int = 32) -> np.ndarray:
    """Features after global average pooling of each image, (case, 8 width)."""
    network = _vgg(model)
    found: np.ndarray = torch.cat([network.pooled(part) for part in images.split(batch)]).double().numpy()
    return found
