"""The networks of the benchmark: small, each with data of its own, beside predictors without a network."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regard.bench.plan import BenchPlan
from regard.bench.question import Question
from regard.core.registry import Registry
from regard.core.rows import target_values
from regard.models.zoo import ZOO
from regard.phantoms.planted import Planted
from regard.training.measure import fit, fold_scale

__all__ = ["Trained", "train"]

_BINS = 24
_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, how well it does, and what trivial predictors reach.

    Parameters
    ----------
    network
        Images (batch, 1, \\*space) to (batch, 1), in the label's unit or as a logit, or to images (batch, 1, \\*space).
    question
        What it was asked.
    spread
        Standard deviation over the test subjects of the scalar that is explained.
    fit
        On the test subjects, by the names of ``scores.json``: the network's error; ``floor_mean_``, that of the mean
        training label; ``floor_histogram_``, that of a ridge on the intensities' histogram, or for images
        ``floor_input_``, that of the image as it came; and the figure of merit.
    """

    network: nn.Module
    question: Question
    spread: float
    fit: dict[str, float]


def _histogram(images: Tensor, edges: np.ndarray) -> np.ndarray:
    flat = images.flatten(1).numpy().clip(edges[0], edges[-1])
    counts = np.stack([np.histogram(row, edges)[0] for row in flat]) / flat.shape[1]
    return np.concatenate([counts, np.ones((len(counts), 1))], 1)


def _images(subjects: list[Planted]) -> Tensor:
    return torch.stack([s.image for s in subjects])


def _ridge(learn: Tensor, wanted: np.ndarray, images: Tensor) -> np.ndarray:
    """Predictions of a ridge regression on the histogram of the intensities."""
    edges = np.quantile(learn.numpy(), np.linspace(0, 1, _BINS + 1))
    known = _histogram(learn, edges) * _BINS
    solved = np.linalg.solve(known.T @ known + _RIDGE * np.eye(known.shape[1]), known.T @ (wanted - wanted.mean()))
    predicted: np.ndarray = _histogram(images, edges) * _BINS @ solved + wanted.mean()
    return predicted


def train(plan: BenchPlan, phantom: str, number: int, *, zoo: Registry = ZOO, device: str = "cpu") -> Trained:
    """Train one network of a phantom.

    Parameters
    ----------
    plan
        The benchmark.
    phantom
        Registered name.
    number
        Which network: its weights and its training subjects are its own.
    zoo
        Where the architectures come from.
    device
        Where to train.
    """
    made, seed = plan.phantom(phantom), plan.train_seed(number)
    question = plan.question(phantom)
    learn = [made.subject(n, seed=seed) for n in range(plan.n_train)]
    test = [made.subject(n, seed=plan.test_seed) for n in range(plan.n_test)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = question.network(len(plan.shape), zoo=zoo)
    wanted = question.wanted(learn)
    mean, deviation = (float(wanted.mean()), float(wanted.std())) if question.kind == "regression" else (0.0, 1.0)
    accelerator = "gpu" if device.startswith("cuda") else "cpu"
    fit(
        network, _images(learn), (wanted - mean) / deviation, n_epochs=plan.n_epochs, batch_size=16, seed=seed,
        accelerator=accelerator, loss=question.loss,
    )  # fmt: skip
    if question.kind == "regression":
        fold_scale(network.head, mean, deviation)  # type: ignore[arg-type]
    network.to(device)
    with torch.no_grad():
        outputs = network(_images(test).to(device)).cpu()
    scalars = (
        torch.cat([target_values(question.target(s), one[None], 1) for s, one in zip(test, outputs, strict=True)])
        .double()
        .numpy()
    )
    graded = _graded(question, outputs[:, 0].double().numpy(), learn, test)
    graded[question.quality] = question.quality_of(scalars, question.labels(test))
    return Trained(network, question, float(scalars.std(ddof=1)), graded)


def _graded(question: Question, predicted: np.ndarray, learn: list[Planted], test: list[Planted]) -> dict[str, float]:
    """Errors of the network and of trivial predictors, by the names of ``scores.json``."""
    known, wanted = (question.wanted(s).double().numpy() for s in (learn, test))
    constant = np.broadcast_to(known.mean(0), wanted.shape)
    ridge = question.trivial == "histogram"
    trivial = _ridge(_images(learn), known, _images(test)) if ridge else _images(test)[:, 0].double().numpy()
    # A class is told by the sign of a logit; trivial predictors give the share of the upper class.
    half = 0.5 if question.kind == "classification" else 0.0
    return {
        question.error: question.error_of(predicted, wanted),
        f"floor_mean_{question.error}": question.error_of(constant - half, wanted),
        f"floor_{question.trivial}_{question.error}": question.error_of(trivial - half, wanted),
    }
