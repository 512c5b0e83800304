"""Training a network that says how much noise each place of an image bears: one forward pass a case afterwards."""

import logging
import math
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from regard.core import batching, recording
from regard.core.devices import placed
from regard.core.errors import FileError, InputError, ShapeError
from regard.core.recording import Network
from regard.core.rows import read_target, rows_of, target_values
from regard.core.spatial import n_space
from regard.core.target import TargetLike
from regard.io.atomic import atomic
from regard.models.zoo import ZOO
from regard.models.zoo.unoise import UNoise
from regard.training.noise_files import NoiseModel, network_sha256
from regard.training.noising import Estimator, NoiseSettings, noise_gradient, roughness

__all__ = ["NoiseTraining", "fit_noise"]

_N_START = 16


class NoiseTraining(lightning.LightningModule):
    """E (f(x + sigma(B) noise) - y)^2 - lambda mean log B over a cohort, with B = sigmoid(U(x)) and f frozen.

    Parameters
    ----------
    unet
        U: image (batch, channel, \\*space) to logits (batch, 1, \\*space).
    network
        f; neither trained nor stored.
    settings, loss, smoothness, estimator
        As `fit_noise`.
    target
        The scalar of f that is preserved.
    weight
        Lambda, in the loss's unit.
    n_draws
        Noise draws a step.
    learning_rate
        Of Adam.
    cases, seed
        Case ids by index in the cohort, and seed: key of the draws.
    """

    def __init__(
        self,
        unet: nn.Module,
        network: Network,
        settings: NoiseSettings,
        *,
        target: TargetLike,
        loss: Literal["squared", "segmentation"],
        weight: float,
        smoothness: float,
        n_draws: int,
        learning_rate: float,
        estimator: Estimator,
        cases: Sequence[str],
        seed: int,
    ) -> None:
        super().__init__()
        self.unet = unet
        # In a tuple, so that Lightning neither moves, trains nor stores what is only asked.
        self._frozen = (network,)
        self.settings, self.target, self.loss = settings, target, loss
        self.weight, self.smoothness, self.n_draws = weight, smoothness, n_draws
        self.learning_rate, self.cases, self.seed = learning_rate, cases, seed
        self.estimator = estimator

    def value(self, noisy: Sequence[Tensor], wanted: Tensor) -> Tensor:
        """The target's value (batch,), or the cross entropy with the wanted segmentation."""
        output, n = self._frozen[0](noisy[0]), len(noisy[0])
        if self.loss == "squared":
            return target_values(read_target(self.target, output, n), output, n, n_space(noisy[0]))
        logits = rows_of(output, n)
        return (
            functional.binary_cross_entropy_with_logits(logits, wanted.to(logits), reduction="none").flatten(1).mean(1)
        )

    def training_step(self, batch: Sequence[Tensor], number: int) -> Tensor:
        index, x, wanted = batch
        inside = self.settings.inside(x)
        deviation = self.settings.deviation(x, inside)
        logits = self.unet(x)
        noise = logits.sigmoid()
        sigma = (self.settings.sigma(noise.detach()) * inside).to(x)
        slope = torch.zeros_like(noise)
        for draw in range(self.n_draws):
            turn = (self.current_epoch * 7919 + number) * self.n_draws + draw
            added = torch.cat([self._added(x, deviation, n, int(i), turn, draw) for n, i in enumerate(index)])
            covariance = lambda v, turn=turn: self.settings.covariance(v, deviation, turn)  # noqa: E731
            squared = self.loss == "squared"
            _, slopes = noise_gradient(
                lambda noisy: self.value(noisy, wanted),
                [x],
                [sigma],
                [added],
                wanted if squared else None,
                [covariance] if self.estimator == "paired" and squared else None,
                network=self._frozen[0],
            )
            slope += slopes[0].to(slope) * (self.settings.s_max - self.settings.s_min) / self.n_draws
        n_places = inside.flatten(1).sum(1)
        # Each case's loss divided by lambda, so that the learning rate knows no unit.
        first = (slope * noise * inside).flatten(1).sum(1) / self.weight
        second = -(functional.logsigmoid(logits) * inside).flatten(1).sum(1) / n_places
        total = first + second + self.smoothness * roughness(noise, inside)
        return total.mean()

    def _added(self, x: Tensor, deviation: Tensor, n: int, index: int, turn: int, draw: int) -> Tensor:
        key = f"{self.current_epoch}/{draw}"
        return self.settings.disturbance(x[n : n + 1], deviation[n : n + 1], turn, self.seed, self.cases[index], key)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.unet.parameters(), self.learning_rate)


class _Cohort(Dataset[tuple[int, Tensor, Tensor]]):
    def __init__(self, images: Tensor, wanted: Tensor) -> None:
        self.images, self.wanted = images, wanted

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, n: int) -> tuple[int, Tensor, Tensor]:
        return n, self.images[n], self.wanted[n]


class _Order(Sampler[int]):
    """The cases in an order of each epoch's own, so that an interrupted training goes on with the right one."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        return iter(torch.randperm(self.n, generator=generator).tolist())


class _Keep(lightning.Callback):
    """Stores the state after each epoch, whole or not at all, and hands on the progress."""

    def __init__(self, path: Path | None, n_steps: int) -> None:
        self.path, self.n_steps = path, n_steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        progress = batching.current_progress()
        if progress is not None:
            progress("training", trainer.global_step, self.n_steps)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self.path is not None:
            with atomic(self.path) as draft:
                trainer.save_checkpoint(draft)


def fit_noise(
    network: Network,
    images: Tensor,
    settings: NoiseSettings | None = None,
    *,
    zoo: str = "unoise-small",
    start: nn.Module | None = None,
    target: TargetLike = None,
    wanted: Tensor | None = None,
    loss: Literal["squared", "segmentation"] = "squared",
    strength: float = 0.1,
    spread: float | None = None,
    smoothness: float = 0.0,
    n_epochs: int = 50,
    batch_size: int = 8,
    n_draws: int = 1,
    learning_rate: float = 3e-3,
    estimator: Estimator = "paired",
    cases: Sequence[str] | None = None,
    seed: int = 0,
    accelerator: str = "cpu",
    checkpoint: str | Path | None = None,
) -> NoiseModel:
    """Train a noise model on a cohort.

    Parameters
    ----------
    network
        The network that is explained, of one input; it comes back byte for byte as it was.
    images
        (case, channel, \\*space), prepared as it takes them.
    settings
        The noise.
    zoo
        Network that makes the map: a name of the zoo whose builder takes ``spatial_dims`` and ``channels``.
    start
        A trained network of the same shape to start from ("pretrained" in U-Noise); changed in place.
    target
        The scalar that is preserved, for the squared loss.
    wanted
        What is preserved: labels (case,), or for the segmentation loss masks of the output's shape (case, channel,
        \\*space). By default the network's own prediction.
    loss
        ``"squared"``, or ``"segmentation"``: binary cross entropy with an output of logits.
    strength, spread
        Lambda is strength times the squared spread; by default the standard deviation of f over the cohort, and 1 for
        the segmentation loss (U-Noise: strength 0.001).
    smoothness
        Weight of the total variation per voxel of B, in units of lambda.
    n_epochs, batch_size, learning_rate
        As usual; Adam, constant rate.
    n_draws
        Noise draws for each case and step.
    estimator
        ``"paired"`` or ``"pathwise"``; the segmentation loss and noise that is not normal are always pathwise.
    cases, seed
        Case ids, by default their numbers, and seed: key of the draws.
    accelerator
        Lightning's name of the device.
    checkpoint
        File that the state is stored in after each epoch; where it exists, training goes on from there, to the same
        bits. It is a torch file of this function's own: give no file of others.

    Raises
    ------
    InputError
        If the cohort's f does not vary and no spread is given, or a setting is wrong.
    ShapeError
        If there are not as many labels or masks as images.

    Notes
    -----
    Koker et al. 2021 (arXiv 2101.05791): Adam 3e-3, batch 8, 100 epochs, s_min 1, s_max 5, lambda 0.001.
    """
    settings = settings or NoiseSettings()
    direct = settings.family in ("gaussian", "correlated") and loss == "squared"
    estimator = estimator if direct else "pathwise"
    settings.check(estimator)
    if loss not in ("squared", "segmentation"):
        raise InputError(f"loss '{loss}'", "squared or segmentation")
    if wanted is not None and len(wanted) != len(images):
        raise ShapeError(f"{len(wanted)} labels for {len(images)} images", "one for each")
    names = [str(n) for n in range(len(images))] if cases is None else list(cases)
    kwargs = {"spatial_dims": n_space(images), "channels": int(images.shape[1])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = ZOO.load(zoo)(**kwargs) if start is None else start
    device = torch.device("cuda" if accelerator in ("cuda", "gpu") else accelerator)
    with placed(recording.unwrap(network), device), recording.intact(network) as frozen:
        answers = _answers(frozen, images, target, loss, device)
        if spread is None:
            spread = float(answers.double().std(correction=0)) if loss == "squared" else 1.0
        if spread <= 0:
            raise InputError(
                f"a spread of {spread} over {len(images)} cases", "above 0", "give cases that differ, or spread"
            )
        module = NoiseTraining(
            unet,
            frozen,
            settings,
            target=target,
            loss=loss,
            weight=strength * spread**2,
            smoothness=smoothness,
            n_draws=n_draws,
            learning_rate=learning_rate,
            estimator=estimator,
            cases=names,
            seed=seed,
        )
        if start is None and isinstance(unet, UNoise):
            _low_start(unet, module, images, answers, device)
        loader = DataLoader(
            _Cohort(images, answers if wanted is None else wanted), batch_size, sampler=_Order(len(images), seed)
        )
        _train(module, loader, n_epochs, accelerator, None if checkpoint is None else Path(checkpoint))
        made = NoiseModel(
            unet.eval().to(images.device), zoo, kwargs, settings, strength, spread, loss, smoothness, estimator,
            network_sha256(network), len(images),
        )  # fmt: skip
        cost = _cost(module, made.noise, images, answers, device, "check") if loss == "squared" else None
    return NoiseModel(**{**vars(made), "prediction_change": None if cost is None else math.sqrt(cost)})


@torch.no_grad()
def _answers(network: Network, images: Tensor, target: TargetLike, loss: str, device: torch.device) -> Tensor:
    """What the network says of each image: the target's value (case,), or its soft segmentation."""
    found = []
    for n in range(len(images)):
        output = network(images[n : n + 1].to(device))  # type: ignore[operator]
        if loss == "squared":
            found.append(target_values(read_target(target, output, 1), output, 1, n_space(images)))
        else:
            found.append(rows_of(output, 1).sigmoid())
    return torch.cat(found).to(images.device)


@torch.no_grad()
def _cost(
    module: NoiseTraining,
    noise: Callable[[Tensor], Tensor],
    images: Tensor,
    answers: Tensor,
    device: torch.device,
    label: str,
) -> float:
    """Mean over cases, one fresh draw each, of (f(noisy) - f(clean))^2, or of the rise of the cross entropy."""
    total = 0.0
    for n in range(len(images)):
        x, answer = images[n : n + 1].to(device), answers[n : n + 1].to(device)
        inside = module.settings.inside(x)
        deviation = module.settings.deviation(x, inside)
        added = module.settings.disturbance(x, deviation, n, module.seed, module.cases[n], label)
        sigma = (module.settings.sigma(noise(x)) * inside).to(x)
        off = module.value([x + sigma * added], answer) - module.value([x], answer)
        total += float(off.double().square() if module.loss == "squared" else off)
    return total / len(images)


def _low_start(unet: UNoise, module: NoiseTraining, images: Tensor, answers: Tensor, device: torch.device) -> None:
    """Start from the best constant B, where that is below one half.

    For an f that is linear under B times the strongest noise, B^2 V - lambda log B is smallest at
    sqrt(lambda / 2 V), V the cost of the strongest noise. Started from one half under noise that f does not bear, the
    first steps' derivatives are so large that Adam, which remembers them, makes small steps for long.
    """
    some = slice(0, _N_START)
    strongest = _cost(module, lambda x: torch.ones_like(x[:, :1]), images[some], answers[some], device, "start")
    best = min(0.5, max(1e-3, math.sqrt(module.weight / (2 * max(strongest, 1e-30)))))
    with torch.no_grad():
        bias = unet.last.bias
        assert isinstance(bias, Tensor)
        bias += math.log(best / (1 - best))


def _train(
    module: NoiseTraining, loader: DataLoader[Any], n_epochs: int, accelerator: str, checkpoint: Path | None
) -> None:
    quiet = logging.getLogger("lightning.pytorch").level
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    resumed = checkpoint is not None and checkpoint.exists()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=n_epochs,
                accelerator=accelerator,
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[_Keep(checkpoint, n_epochs * len(loader))],
            )
            trainer.fit(module, loader, ckpt_path=str(checkpoint) if resumed else None)
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        if not resumed or batching.is_out_of_memory(error):
            raise
        raise FileError(
            f"{checkpoint}, which training cannot go on from ({type(error).__name__})", "a state of it", "remove it"
        ) from error
    finally:
        logging.getLogger("lightning.pytorch").setLevel(quiet)
