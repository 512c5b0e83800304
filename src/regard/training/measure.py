"""Training a small network: images in; numbers, or images, out."""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from regard.core import batching

__all__ = ["Loss", "Measure", "fit", "fold_scale"]


Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs and what they should be, of one shape, to a scalar."""


class Measure(lightning.LightningModule):
    """A network with one output per label, Adam and a cosine schedule.

    Parameters
    ----------
    network
        Images (batch, channel, \\*space) to numbers (batch, 1), or to images (batch, 1, \\*space).
    learning_rate
        Of Adam.
    n_steps
        Length of the schedule.
    loss
        Of the outputs without their axis of 1, and the labels.
    """

    def __init__(
        self, network: nn.Module, *, learning_rate: float, n_steps: int, loss: Loss = functional.huber_loss
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.learning_rate, self.n_steps = learning_rate, n_steps

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        images, labels = batch
        return self.loss(self.network(images)[:, 0], labels)

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        optimiser = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Report(lightning.Callback):
    """Hands the progress of the training to whoever listens."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        progress = batching.current_progress()
        if progress is not None:
            progress("training", trainer.global_step, self.n_steps)


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    n_epochs: int,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    seed: int = 0,
    accelerator: str = "cpu",
    loss: Loss = functional.huber_loss,
) -> nn.Module:
    """Train a network, and return it in evaluation mode.

    Parameters
    ----------
    network
        Images to numbers (batch, 1), or to images (batch, 1, \\*space).
    images
        (case, channel, \\*space), prepared.
    labels
        (case,), standardised by the training set; or classes (case,); or images (case, \\*space).
    n_epochs, batch_size, learning_rate
        As usual.
    seed
        Of the order of the cases.
    accelerator
        Lightning's name of the device.
    loss
        Of outputs and labels: Huber's for numbers, with logits for classes.
    """
    loader = DataLoader(
        TensorDataset(images, labels), batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed)
    )
    n_steps = n_epochs * len(loader)
    module = Measure(network, learning_rate=learning_rate, n_steps=n_steps, loss=loss)
    quiet = logging.getLogger("lightning.pytorch").level
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
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
                callbacks=[_Report(n_steps)],
            )
            trainer.fit(module, loader)
    finally:
        logging.getLogger("lightning.pytorch").setLevel(quiet)
    return network.eval()


def fold_scale(head: nn.Linear, mean: float, deviation: float) -> None:
    """Fold the labels' scale into the last layer, so that the network answers in the label's unit.

    Parameters
    ----------
    head
        Last layer of a network trained on (label - mean) / deviation; changed in place.
    mean, deviation
        Of the training labels, in their unit.
    """
    with torch.no_grad():
        head.weight.mul_(deviation)
        head.bias.mul_(deviation).add_(mean)
