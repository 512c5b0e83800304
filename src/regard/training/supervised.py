"""Modules that fit a network to what is wanted of it, with Adam and a plateau schedule."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

__all__ = ["Plateau", "Supervised"]

Loss = Callable[[Tensor, Tensor], Tensor]


class Plateau:
    """When the learning rate falls: after so many epochs without a better validation loss.

    Parameters
    ----------
    patience
        Epochs to wait.
    factor
        What the rate is multiplied by.
    min_rate
        Smallest rate; at or above the starting rate the schedule never acts.
    """

    def __init__(self, patience: int = 30, factor: float = 0.5, min_rate: float = 0.0) -> None:
        self.patience, self.factor, self.min_rate = patience, factor, min_rate


class Supervised(lightning.LightningModule):
    """A network, a loss, Adam, and a rate that falls on a plateau of the validation loss.

    Parameters
    ----------
    network
        Inputs (batch, channel, \\*space) to outputs.
    loss
        Of the outputs and what is wanted.
    learning_rate
        Of Adam, at the start.
    plateau
        None keeps the rate.
    n_annealed
        Epochs over which the rate falls to almost 0 along half a cosine, in place of a plateau; None: it does not.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        *,
        learning_rate: float = 1e-3,
        plateau: Plateau | None = None,
        n_annealed: int | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.learning_rate, self.plateau, self.n_annealed = learning_rate, plateau, n_annealed
        self._schedule: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._resumed: dict[str, Any] | None = None

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        inputs, wanted = batch
        found = self.loss(self.network(inputs), wanted)
        self.log("loss", found, on_step=False, on_epoch=True, batch_size=len(inputs))
        return found

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        inputs, wanted = batch
        found = self.loss(self.network(inputs), wanted)
        self.log("val_loss", found, on_step=False, on_epoch=True, batch_size=len(inputs))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimiser = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        if self.plateau is not None:
            self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, factor=self.plateau.factor, patience=self.plateau.patience, min_lr=self.plateau.min_rate
            )
        return optimiser

    def on_train_epoch_start(self) -> None:
        if self.n_annealed is None:
            return
        # From the epoch alone, so that a resumed training has the same rate.
        share = 0.5 * (1 + math.cos(math.pi * self.current_epoch / self.n_annealed))
        optimiser = self.optimizers()
        assert not isinstance(optimiser, list)
        for group in optimiser.param_groups:
            group["lr"] = self.learning_rate * share

    # Lightning moves its schedules after it has saved the epoch, so that a resumed training would miss a step.
    def on_train_epoch_end(self) -> None:
        loss = self.trainer.callback_metrics.get("val_loss")
        if self._schedule is not None and loss is not None:
            self._schedule.step(float(loss))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._schedule is not None:
            kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
            checkpoint["plateau"] = {k: v for k, v in self._schedule.state_dict().items() if k in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        if self._schedule is not None and self._resumed is not None:
            self._schedule.load_state_dict(self._resumed)
