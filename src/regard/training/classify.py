"""A module that fits a network to classes: weighted cross-entropy, Adam or stochastic gradient with momentum."""

from collections.abc import Sequence
from typing import Literal

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Classify", "balanced_weights"]


def balanced_weights(labels: Tensor, n_classes: int = 2) -> Tensor:
    """Weight of each class so that all count alike: n / (classes x n of the class); 0 for a class without cases.

    Parameters
    ----------
    labels
        Class of each training case, (case,).
    n_classes
        Number of classes.
    """
    counts = torch.bincount(labels.long(), minlength=n_classes).double()
    return torch.where(counts > 0, len(labels) / (n_classes * counts.clamp_min(1)), 0.0).float()


class Classify(lightning.LightningModule):
    """A network, cross-entropy of its logits, and an optimiser.

    Parameters
    ----------
    network
        Inputs (batch, channel, \\*space) to logits (batch, classes).
    class_weights
        (classes,); None: all 1.
    optimiser
        ``"sgd"``: Nesterov's momentum and a rate that is divided by 1 + decay times the number of steps done, as
        Keras' first optimisers do it; ``"adam"``.
    learning_rate, momentum, decay
        Of the optimiser; Adam takes the rate alone.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        class_weights: Tensor | None = None,
        optimiser: Literal["sgd", "adam"] = "sgd",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        decay: float = 1e-6,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimiser, self.learning_rate, self.momentum, self.decay = optimiser, learning_rate, momentum, decay
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def _loss(self, batch: Sequence[Tensor]) -> Tensor:
        inputs, wanted = batch
        return functional.cross_entropy(self.network(inputs).float(), wanted.long(), self.class_weights)

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        found = self._loss(batch)
        self.log("loss", found, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return found

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        self.log("val_loss", self._loss(batch), on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        if self.optimiser == "adam":
            return {"optimizer": torch.optim.Adam(self.network.parameters(), self.learning_rate)}
        found = torch.optim.SGD(
            self.network.parameters(), self.learning_rate, momentum=self.momentum, nesterov=self.momentum > 0
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(found, lambda step: 1 / (1 + self.decay * step))
        return {"optimizer": found, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
