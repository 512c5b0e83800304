"""Training the classifiers: first normal against abnormal, then each fold; and asking them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regard.core import randomness
from regard.core.devices import answers
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

__all__ = [
    "EXPLAINED",
    "TARGET",
    "Learning",
    "as_prepared",
    "grey_convolutions",
    "learn_in_pairs",
    "log_odds",
    "pooled",
    "start",
    "told",
    "train",
    "trained",
]


def log_odds(output: Tensor) -> Tensor:
    """Logit of ill minus logit of well, (batch,): what is explained. 0 is a probability of one half."""
    return output[:, 1] - output[:, 0]


TARGET = FunctionTarget(log_odds)
"""What every map explains."""

_STARTED = 48
"""Images that random weights are made for, about."""

EXPLAINED = "features.29"
"""The layer that class activation maps look at: the last convolution's ReLU, which the dense layer sees pooled."""


def grey_convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network of colours as one of grey: the first convolution summed over its channels.

    A grey image repeated in three channels gives the same features as the image in the one channel that is left.
    """
    first = "features.0.weight"
    return {k: v.sum(1, keepdim=True) if k == first else v for k, v in state.items()}


@torch.no_grad()
def start(network: VGG16, weights: Path | None, images: Tensor) -> None:
    """Give a network its weights before it learns: a user's, or random ones made for its images.

    Random weights are He's, and each convolution is then scaled and shifted so that each of its channels has mean 0 and
    deviation 1 over some images (Krahenbuhl et al. 2016, without their last step): thirteen convolutions without batch
    norm otherwise give nearly the same features for all radiographs, and do not learn.

    Parameters
    ----------
    network
        Changed in place.
    weights
        File of VGG-16's weights by torchvision's names, or None.
    images
        Some of those it learns from, (case, 1, row, column).
    """
    if weights is not None:
        safe = weights.suffix == ".safetensors"
        state = load_file(weights) if safe else torch.load(weights, map_location="cpu", weights_only=True)
        network.load_convolutions(grey_convolutions(state))
        return
    x = images
    for module in network.features:
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
            made = module(x)
            mean, deviation = made.mean((0, 2, 3)), made.std((0, 2, 3)).clamp_min(1e-4)
            module.weight /= deviation[:, None, None, None]
            module.bias.copy_(-mean / deviation)
        x = module(x)


_INPUT: dict[bool, dict[str, Any]] = {
    True: {"unit": "grey level", "normalise": {"quantiles": [0.01, 0.99]}},
    False: {"unit": "1"},
}


def as_prepared(model: Model) -> Model:
    """The same network with a card that takes images in [0, 1] as they are: nothing is scaled twice."""
    spec = model.card.inputs[0].model_copy(update={"unit": "1", "normalise": "none"})
    return Model(model.network, model.card.model_copy(update={"inputs": (spec,)}), source=model.source,
                 weights_sha256=model.weights_sha256, warnings=model.warnings)  # fmt: skip


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
    begin
        The network that it goes on from; None: from the start.
    findings
        Where they are, (case, row, column), for learning in pairs: cases 2k and 2k + 1 are one chest without and with a
        finding, and enter a batch together, first as squares around the finding; None: images by themselves.
    raw
        Whether the card takes radiographs as they are stored and scales them by their own quantiles; an image without
        bones is scaled as its radiograph was, and comes prepared.
    notes
        For the card.
    real
        Whether the images are of patients, for the card.
    """

    def __init__(
        self, name: str, images: Tensor, labels: Tensor, patients: Sequence[str], *, n_epochs: int, rate: float,
        begin: Model | None = None, findings: Tensor | None = None, raw: bool = False, notes: str = "",
        real: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.images, self.labels, self.patients = name, images, labels, tuple(patients)
        self.n_epochs, self.rate, self.begin, self.findings = n_epochs, rate, begin, findings
        self.raw, self.notes, self.real = raw, notes, real


def _card(config: TuberculosisConfig, what: Learning, n: int) -> dict[str, Any]:
    size = [config.data.size] * 2
    return {
        "name": f"tuberculosis-{what.name}",
        "licence": "Apache-2.0",
        "zoo": "vgg16",
        "kwargs": {"channels": 1, "outputs": 2, "width": config.train.width, "dropout": config.train.dropout},
        "weights": "weights.safetensors",
        "layer": EXPLAINED,
        "inputs": [
            {"name": "image", "channels": 1, "orientation": "PL", "shape": size, "fit": "resize", **_INPUT[what.raw]}
        ],
        "output": {"kind": "classification", "names": ["well", "ill"], "units": ["logit"]},
        "trained_on": {
            "n": n,
            "ranges": {"intensity": [float(what.images.min()), float(what.images.max())]},
            "site": "user's cases" if what.real else "radiograph phantoms",
            "simulated": not what.real,
        },
        "notes": what.notes,
    }


def _moves(config: TuberculosisConfig) -> Augmentation:
    return Augmentation(config.train.rotation, config.train.flip, config.train.shift)


def _singly(config: TuberculosisConfig, what: Learning, rows: np.ndarray, seed: int) -> Epochs:
    """Images by themselves, each moved in its own way in each epoch."""
    moves = _moves(config)

    def make(cases: list[int], epoch: int) -> tuple[Tensor, Tensor]:
        of = rows[cases]
        moved = moves.apply(what.images[of], seed=seed, cases=[int(k) for k in of], epoch=epoch)
        return moved, what.labels[of]

    return Epochs(make, len(rows))


def learn_in_pairs(config: TuberculosisConfig, what: Learning, rows: np.ndarray, *, seed: int) -> Epochs:
    """Pairs of one chest without and with a finding: squares around it at first, whole images in the last epochs.

    What is the same in both cannot tell them apart, so that the finding is all there is to learn.

    Parameters
    ----------
    config
        The study.
    what
        With the findings' places.
    rows
        Cases to learn from, whole pairs.
    seed
        Of squares and moves, with the pair and the epoch.
    """
    assert what.findings is not None
    places, images, plan, moves = what.findings, what.images, config.train, _moves(config)
    firsts = rows[rows % 2 == 0]
    side = min(plan.square or images.shape[-1], images.shape[-1])

    def square(first: int, epoch: int) -> Tensor:
        u = randomness.uniform((4,), seed, str(first), f"square {epoch}").tolist()
        inside = torch.nonzero(places[first + 1] > 0.5)
        at = inside[int(u[0] * len(inside))] if len(inside) else torch.tensor([side, side])
        corner = [
            min(max(int(a - side / 2 + (v - 0.5) * 0.6 * side), 0), n - side)
            for a, v, n in zip(at.tolist(), u[1:3], images.shape[-2:], strict=True)
        ]
        both = images[first : first + 2, 0, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        return both.flip(-1) if plan.flip and u[3] < 0.5 else both

    def make(cases: list[int], epoch: int) -> tuple[Tensor, Tensor]:
        of = [int(k) for k in firsts[cases]]
        if epoch < what.n_epochs - plan.whole_epochs and side < images.shape[-1]:
            both = torch.stack([square(k, epoch) for k in of])
        else:
            both = moves.apply(torch.stack([images[k : k + 2, 0] for k in of]), seed=seed, cases=of, epoch=epoch)
        return both.flatten(0, 1)[:, None], torch.tensor([0.0, 1.0]).repeat(len(of))

    return Epochs(make, len(firsts))


def trained(run: StudyRun, name: str) -> Model | None:
    """A classifier that has been trained, by the name of its folder; None where there is none."""
    found = run.find(f"models/{name}/card.yaml")
    return None if found is None else load_model(found.parent, device=run.device)


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
    learn = (
        learn_in_pairs(config, what, ours, seed=seed)
        if what.findings is not None
        else _singly(config, what, ours, seed)
    )

    def checked(cases: list[int], _: int) -> tuple[Tensor, Tensor]:
        return images[others[cases]], labels[others[cases]]

    with seeded(seed, "weights"):
        network = VGG16(1, 2, plan.width, plan.dropout)
        if what.begin is None:
            start(network, plan.weights, images[ours[:: max(1, len(ours) // _STARTED)]])
    if what.begin is not None:
        network.load_state_dict(what.begin.network.state_dict())  # type: ignore[union-attr]
    module = Classify(
        network, class_weights=balanced_weights(labels[ours]), optimiser=plan.optimiser, learning_rate=what.rate,
        momentum=plan.momentum, decay=plan.decay,
    )  # fmt: skip
    fit_resumable(
        module,
        learn,
        Epochs(checked, len(others)),
        n_epochs=what.n_epochs,
        batch_size=plan.batch_size if what.findings is None else max(1, plan.batch_size // 2),
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
    return load_model(folder, device=run.device)


def _vgg(model: Model) -> VGG16:
    assert isinstance(model.network, VGG16)
    return model.network


@torch.no_grad()
def told(model: Model, images: Tensor, *, batch: int = 32) -> np.ndarray:
    """Log-odds of ill of each image (case, 1, row, column), (case,)."""
    network = _vgg(model)
    found: np.ndarray = answers(network, images, batch=batch, read=log_odds).double().numpy()
    return found


@torch.no_grad()
def pooled(model: Model, images: Tensor, *, batch: int = 32) -> np.ndarray:
    """Features after global average pooling of each image, (case, 8 width)."""
    network = _vgg(model)
    found: np.ndarray = answers(network.pooled, images, at=network, batch=batch).double().numpy()
    return found
