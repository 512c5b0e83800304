"""Training a network that restores: images in, images out, by patches."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core import randomness
from regard.core.errors import ShapeError
from regard.training.resumable import Epochs, fit_resumable

__all__ = ["Patches", "Restore", "Standardised", "fit_restorer"]

EPOCH = 50
"""Steps of an epoch: how often a checkpoint may be kept."""


class Standardised(nn.Module):
    """A network that works on standardised images, as a function of the images' own unit.

    Parameters
    ----------
    network
        Standardised images to standardised images.
    mean, deviation
        Of the training images, in their unit.
    """

    def __init__(self, network: nn.Module, mean: float, deviation: float) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("deviation", torch.tensor(float(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        """Image (batch, 1, \\*space) to the same, in its unit."""
        return self.network((x - self.mean) / self.deviation) * self.deviation + self.mean  # type: ignore[no-any-return]


class Patches:
    """Random patches of pairs of images, the same for the same seed.

    Parameters
    ----------
    inputs, wanted
        (case, 1, row, column).
    size
        Side of a patch [pixel].
    n
        Patches of an epoch.
    seed
        Of their places.
    """

    def __init__(self, inputs: Tensor, wanted: Tensor, size: int, n: int, seed: int) -> None:
        if inputs.shape != wanted.shape or min(inputs.shape[2:]) < size:
            got = f"images of {tuple(inputs.shape)} and {tuple(wanted.shape)} for patches of {size}"
            raise ShapeError(got, "pairs of one shape, larger than a patch")
        self.inputs, self.wanted, self.size, self.n, self.seed = inputs, wanted, size, n, seed

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        """Patch of a number, (1, row, column) of both; half of them mirrored."""
        u = randomness.uniform((4,), self.seed, "patch", number).tolist()
        case = int(u[0] * len(self.inputs))
        row, column = (int(v * (s - self.size + 1)) for v, s in zip(u[1:3], self.inputs.shape[2:], strict=True))
        cut = (case, slice(None), slice(row, row + self.size), slice(column, column + self.size))
        pair = self.inputs[cut], self.wanted[cut]
        return (pair[0].flip(-1), pair[1].flip(-1)) if u[3] < 0.5 else pair

    def batch(self, numbers: Sequence[int], epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Patches of an epoch, (batch, 1, row, column) of both."""
        pairs = [self.one(epoch * self.n + k) for k in numbers]
        return torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])


class Restore(lightning.LightningModule):
    """Mean squared error, Adam and a cosine schedule.

    Parameters
    ----------
    network
        Images to images.
    learning_rate
        Of Adam.
    n_steps
        Length of the schedule.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, n_steps: int) -> None:
        super().__init__()
        self.network = network
        self.learning_rate, self.n_steps = learning_rate, n_steps

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        inputs, wanted = batch
        return functional.mse_loss(self.network(inputs), wanted)

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        optimiser = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit_restorer(
    network: nn.Module,
    inputs: Tensor,
    wanted: Tensor,
    *,
    n_steps: int = 400,
    batch_size: int = 8,
    patch: int = 48,
    learning_rate: float = 1e-3,
    seed: int = 0,
    folder: Path | None = None,
    device: str = "cpu",
) -> Standardised:
    """Train a network on standardised patches, and return it as a function of images in their unit.

    Parameters
    ----------
    network
        Standardised images (batch, 1, row, column) to the same.
    inputs, wanted
        Pairs of images (case, 1, row, column), such as low dose and full dose [HU].
    n_steps, batch_size, patch, learning_rate
        As usual; ``patch`` is the side of a patch [pixel].
    seed
        Of the patches.
    folder
        Where a checkpoint is kept, from which a training that was cut off goes on; None: none.
    device
        Where it is trained.
    """
    mean, deviation = float(inputs.mean()), float(inputs.std())
    n_epochs = max(1, round(n_steps / EPOCH))
    n = -(-n_steps // n_epochs) * batch_size
    pairs = Patches((inputs - mean) / deviation, (wanted - mean) / deviation, patch, n, seed)
    fit_resumable(
        Restore(network, learning_rate=learning_rate, n_steps=n_epochs * n // batch_size),
        Epochs(pairs.batch, n),
        n_epochs=n_epochs,
        batch_size=batch_size,
        seed=seed,
        folder=folder,
        device=device,
    )
    return Standardised(network, mean, deviation).eval()
