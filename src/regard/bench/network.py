"""The networks of the benchmark: small regressors, each with data of its own, beside predictors without a network."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regard.bench.plan import BenchPlan
from regard.core.registry import Registry
from regard.models.zoo import ZOO
from regard.phantoms.planted import Planted
from regard.training.measure import fit, fold_scale

__all__ = ["LAYER", "Trained", "train"]

LAYER = "features.block1"
"""Layer of the CAM methods: a quarter of the image's sides."""

_BINS = 24
_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, how well it measures, and what trivial predictors reach.

    Parameters
    ----------
    network
        Images (batch, 1, \\*space) to (batch, 1), in the label's unit.
    spread
        Standard deviation of its output over the test subjects.
    errors
        Mean absolute error on the test subjects [label's unit]: of the ``network``, of the training ``mean``, and of a
        ridge on the intensities' ``histogram``.
    r2
        Share of the labels' variance that the network explains on the test subjects.
    """

    network: nn.Module
    spread: float
    errors: dict[str, float]
    r2: float


def _stacked(subjects: list[Planted]) -> tuple[Tensor, Tensor]:
    return torch.stack([s.image for s in subjects]), torch.tensor([s.label for s in subjects])


def _histogram(images: Tensor, edges: np.ndarray) -> np.ndarray:
    flat = images.flatten(1).numpy().clip(edges[0], edges[-1])
    counts = np.stack([np.histogram(row, edges)[0] for row in flat]) / flat.shape[1]
    return np.concatenate([counts, np.ones((len(counts), 1))], 1)


def _ridge(learn: tuple[Tensor, Tensor], images: Tensor) -> np.ndarray:
    """Predictions of a ridge regression on the histogram of the intensities."""
    edges = np.quantile(learn[0].numpy(), np.linspace(0, 1, _BINS + 1))
    known, wanted = _histogram(learn[0], edges) * _BINS, learn[1].numpy().astype(float)
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
        Where the architecture ``small-regressor`` comes from.
    device
        Where to train.
    """
    made, seed = plan.phantom(phantom), plan.train_seed(number)
    learn = _stacked([made.subject(n, seed=seed) for n in range(plan.n_train)])
    test = _stacked([made.subject(n, seed=plan.test_seed) for n in range(plan.n_test)])
    mean, deviation = float(learn[1].mean()), float(learn[1].std())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = zoo.load("small-regressor")(len(plan.shape), head="flatten", cells=4)
    accelerator = "gpu" if device.startswith("cuda") else "cpu"
    scaled = (learn[1] - mean) / deviation
    fit(network, learn[0], scaled, n_epochs=plan.n_epochs, batch_size=16, seed=seed, accelerator=accelerator)
    fold_scale(network.head, mean, deviation)
    network.to(device)
    with torch.no_grad():
        predicted = network(test[0].to(device))[:, 0].double().cpu()
    labels = test[1].double()
    errors = {
        "network": float((predicted - labels).abs().mean()),
        "mean": float((mean - labels).abs().mean()),
        "histogram": float(np.abs(_ridge(learn, test[0]) - labels.numpy()).mean()),
    }
    r2 = 1 - float((predicted - labels).square().sum() / (labels - labels.mean()).square().sum())
    return Trained(network, float(predicted.std()), errors, r2)
