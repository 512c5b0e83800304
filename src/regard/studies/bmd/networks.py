"""Training the segmentation network and the ensembles, and asking them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.devices import answers
from regard.models import Model, load_model
from regard.models.zoo.bmd_resnet import BMDResNet
from regard.models.zoo.bmd_unet import BMDUNet
from regard.studies.bmd.cohort import MASKED, WINDOW, Cohort, Scale
from regard.studies.bmd.config import BMDConfig, TrainSection
from regard.studies.run import StudyRun
from regard.studies.trained import kept_model, save_trained, seed_of, split
from regard.training.augmentation import Augmentation
from regard.training.losses import RarityWeight, outline_loss, weighted_huber
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.supervised import Cosine, Plateau, Supervised

__all__ = [
    "AREAL",
    "HOOKED",
    "SEGMENTATION",
    "TRABECULAR",
    "Wanted",
    "masked",
    "member_name",
    "outlined",
    "predicted",
    "train_member",
    "train_segmentation",
]

HOOKED = "head.conv"
"""The layer that the paper hooks: the last convolution, before its batch norm and ReLU."""

SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Wanted:
    """What a network is to measure.

    Parameters
    ----------
    name, unit
        Of its output.
    scale
        What labels are divided by while it is trained, so that the loss's threshold suits every unit.
    """

    name: str
    unit: str
    scale: float = 1.0


AREAL = Wanted("bmd", "g/cm2")
TRABECULAR = Wanted("trabecular_bmd", "mg/cm3", 250.0)


def member_name(case: int, member: int, dose: float | None = None, wanted: Wanted = AREAL) -> str:
    """Name of a network, as its folder in ``models``; with a dose, one of the decoy's dose-response."""
    decoy = "" if dose is None else f"-decoy{dose:g}"
    other = "" if wanted == AREAL else f"-{wanted.name.replace('_', '-')}"
    return f"case{case}{other}{decoy}-member{member}"


def _cosine(plan: TrainSection, n_epochs: int) -> Cosine | None:
    return Cosine(n_epochs) if plan.schedule == "cosine" else None


def _augmentation(config: BMDConfig) -> Augmentation:
    return Augmentation(config.train.rotation, config.train.flip, config.train.shift)


def _card(name: str, zoo: str, kwargs: dict[str, object], cohort: Cohort, scale: Scale, notes: str) -> dict[str, Any]:
    size = list(cohort.images.shape[2:])
    return {
        "name": name,
        "licence": "Apache-2.0",
        "zoo": zoo,
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {
                "name": "image",
                "channels": 1,
                "orientation": "PL",
                "spacing_mm": list(cohort.spacing),
                "shape": size,
                "fit": "crop-pad",
                "unit": "HU",
                "window": list(WINDOW),
                "normalise": {"mean": scale.low, "std": scale.high - scale.low},
            }
        ],
        "trained_on": {
            "n": len(cohort),
            "ranges": {
                "spacing_mm": [min(cohort.spacing), max(cohort.spacing)],
                "intensity": [float(cohort.images.min()), float(cohort.images.max())],
            },
            "site": "user's cases" if cohort.real else "torso phantoms",
            "simulated": not cohort.real,
        },
        "notes": notes,
    }


def train_segmentation(run: StudyRun, config: BMDConfig, learn: Cohort, scale: Scale) -> Model:
    """The network that outlines L1: trained, or read if it has been."""
    done = kept_model(run, SEGMENTATION)
    if done is not None:
        return done
    plan, seed = config.train, seed_of(run, SEGMENTATION)
    learned, held = split(learn.patients, plan.validation, seed=run.seed, member=0)
    some, chosen = learn.of_patients(learned), learn.of_patients(held)
    some = some.of(range(min(len(some), plan.unet_slices)))
    chosen = chosen.of(range(min(len(chosen), max(1, plan.unet_slices // 4))))
    moves = _augmentation(config)

    def batch(cohort: Cohort, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        wanted = torch.stack([cohort.body[cases], cohort.vertebra[cases]], 1)
        both = torch.cat([scale(cohort.images[cases]), wanted], 1)
        if epoch is not None:
            both = moves.apply(both, seed=seed, cases=cases, epoch=epoch)
        return both[:, :1], both[:, 1:]

    kwargs: dict[str, object] = {"outputs": 2, "widths": list(plan.unet_widths), "encoder": plan.unet_encoder}
    with seeded(seed, "weights"):
        network = BMDUNet(outputs=2, widths=plan.unet_widths, encoder=plan.unet_encoder)
    with torch.no_grad():
        # A pixel starts as improbable as bone is rare.
        network.last[-1].get_parameter("bias").fill_(-3.0)
    fit_resumable(
        Supervised(network, outline_loss, learning_rate=plan.unet_rate, cosine=_cosine(plan, plan.unet_epochs)),
        Epochs(lambda cases, epoch: batch(some, cases, epoch), len(some)),
        Epochs(lambda cases, _: batch(chosen, cases, None), len(chosen)),
        n_epochs=plan.unet_epochs,
        batch_size=plan.batch_size,
        seed=seed,
        folder=run.path / "models" / SEGMENTATION,
        device=run.device,
        label="epoch",
    )
    card = _card("bmd-segmentation", "bmd-unet", kwargs, some, scale, "Two scores: L1's body, and all of L1.")
    card["output"] = {"kind": "segmentation", "names": ["body", "vertebra"], "units": ["score"], "grid": "input"}
    save_trained(run.path / "models" / SEGMENTATION, network, card)
    return load_model(run.path / "models" / SEGMENTATION, device=run.device)


@torch.no_grad()
def outlined(model: Model, images: Tensor, scale: Scale, *, batch: int = 32) -> Tensor:
    """Probability of L1's body and of all of L1, (case, 2, row, column); the body is a part of it."""
    network: nn.Module = model.network  # type: ignore[assignment]
    found = answers(network, images, batch=batch, change=scale, read=torch.sigmoid)
    return torch.stack([found[:, 0], found.amax(1)], 1)


def masked(images: Tensor, probabilities: Tensor, case: int, below: float) -> Tensor:
    """The images of one of the paper's three cases [HU].

    Parameters
    ----------
    images
        HU (case, 1, row, column).
    probabilities
        Of L1's body and of all of L1, (case, 2, row, column).
    case
        1: nothing is masked; 2: all but L1; 3: all but its body.
    below
        Pixels of a smaller probability are masked.
    """
    if case == 1:
        return images
    seen = probabilities[:, 1 if case == 2 else 0][:, None] >= below
    return torch.where(seen, images, MASKED)


def _module(model: Model) -> nn.Module:
    network: nn.Module = model.network  # type: ignore[assignment]
    return network


def train_member(
    run: StudyRun,
    config: BMDConfig,
    cases: Callable[[], Cohort],
    scale: Scale,
    case: int,
    member: int,
    *,
    dose: float | None = None,
    wanted: Wanted = AREAL,
    start: Callable[[], Model] | None = None,
    n_epochs: int | None = None,
) -> Model:
    """One network of an ensemble: trained, or read if it has been.

    Parameters
    ----------
    run, config
        The study.
    cases
        Gives the training cases, masked as the case says, with the labels of what is wanted; asked only to train.
    scale
        Of the training set.
    case, member, dose, wanted
        Which network.
    start
        Gives the network whose weights it starts from; None: drawn.
    n_epochs
        How long, if not as the configuration says.
    """
    name = member_name(case, member, dose, wanted)
    done = kept_model(run, name)
    if done is not None:
        return done
    plan, seed, learn = config.train, seed_of(run, name), cases()
    n_epochs = plan.n_epochs if n_epochs is None else n_epochs
    ours, held = split(learn.patients, plan.validation, seed=run.seed, member=member)
    some, chosen = learn.of_patients(ours), learn.of_patients(held)
    moves = _augmentation(config)
    inputs = {id(c): scale(c.images) for c in (some, chosen)}

    def batch(cohort: Cohort, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        images = inputs[id(cohort)][cases]
        if epoch is not None:
            images = moves.apply(images, seed=seed, cases=cases, epoch=epoch, filler=scale.masked)
        return images, cohort.labels[cases] / wanted.scale

    weight = RarityWeight.of_labels(list(some.y / wanted.scale)) if plan.weighted else None
    shape = tuple(int(n) for n in learn.images.shape[2:])
    with seeded(seed, "weights"):
        network = BMDResNet(shape)
    last = network.head.get_submodule("output")
    before = 0.0
    if start is not None:
        first = start()
        network.load_state_dict(_module(first).state_dict())
        before = float(predicted([first], some.images, scale).mean())
    with torch.no_grad():
        # A start far from the labels' mean would cost the first epochs.
        last.get_parameter("bias").add_(float(some.labels.mean()) / wanted.scale - before)
    module = Supervised(
        network,
        lambda output, labels: weighted_huber(output[:, 0], labels, weight=weight),
        learning_rate=plan.learning_rate,
        plateau=Plateau(plan.patience, plan.factor, plan.min_rate) if plan.schedule == "plateau" else None,
        cosine=_cosine(plan, n_epochs),
    )
    fit_resumable(
        module,
        Epochs(lambda cases, epoch: batch(some, cases, epoch), len(some)),
        Epochs(lambda cases, _: batch(chosen, cases, None), len(chosen)),
        n_epochs=n_epochs,
        batch_size=plan.batch_size,
        seed=seed,
        folder=run.path / "models" / name,
        device=run.device,
        label="epoch",
    )
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(wanted.scale)
        if plan.centred:
            network.eval()
            off = some.labels.double().mean() - _read(network, some.images, scale).mean()
            last.get_parameter("bias").add_(float(off))
    but = "the slice with -500 HU everywhere but in"
    seen = {1: "the slice as it is", 2: f"{but} L1", 3: f"{but} L1's body"}
    card = _card(f"bmd-{name}", "bmd-resnet22", {"shape": list(shape)}, some, scale, f"Takes {seen[case]}.")
    card["layer"] = HOOKED
    card["output"] = {"kind": "regression", "names": [wanted.name], "units": [wanted.unit], "activation": "none"}
    card["trained_on"]["ranges"]["output"] = [float(some.labels.min()), float(some.labels.max())]
    save_trained(run.path / "models" / name, network, card)
    return load_model(run.path / "models" / name, device=run.device)


@torch.no_grad()
def predicted(models: Sequence[Model], images: Tensor, scale: Scale, *, batch: int = 64) -> np.ndarray:
    """What each network reads, in its unit, (member, case)."""
    array: np.ndarray = torch.stack([_read(_module(m), images, scale, batch) for m in models]).numpy()
    return array


def _read(network: nn.Module, images: Tensor, scale: Scale, batch: int = 64) -> Tensor:
    return answers(network, images, batch=batch, change=scale, read=lambda output: output[:, 0]).double()
