"""Training that a killed process does not lose: a checkpoint now and then, and draws keyed by (seed, epoch).

Where the checkpoints fall changes nothing: a training that was cut off at any moment and started again ends with the
same weights, to the bit, as one that was not (on the same machine, threads and versions).
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from regard.core import batching, randomness
from regard.io.atomic import atomic
from regard.io.guard import parsing, require_file

__all__ = ["Batch", "Epochs", "fit_resumable", "seeded"]

Batch: TypeAlias = tuple[Tensor, ...]
"""Inputs, then what is wanted of them, each (batch, ...)."""

_KEPT = "checkpoint.ckpt"


class Epochs(Dataset[Batch]):
    """Cases that may look different in each epoch.

    Parameters
    ----------
    make
        Called with case numbers and the epoch; returns a batch. It must draw its random numbers from both alone.
    n
        Number of cases.
    """

    def __init__(self, make: Callable[[list[int], int], Batch], n: int) -> None:
        self._make, self.n = make, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self._make([key[1]], key[0])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """A batch of (epoch, case) keys; torch's loader calls it instead of asking one by one."""
        return self._make([case for _, case in keys], keys[0][0])


class _Order(Sampler[tuple[int, int]]):
    """All cases in an order drawn for each epoch; Lightning tells which epoch it is."""

    def __init__(self, n: int, seed: int | None) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = torch.arange(self.n)
        if self.seed is not None:
            order = torch.randperm(self.n, generator=randomness.generator(self.seed, "order", self.epoch))
        return iter([(self.epoch, int(n)) for n in order])


def _same(batch: Any) -> Any:
    return batch


class _Keep(lightning.Callback):
    """Draws keyed by epoch and batch, the best weights by the validation loss, checkpoints, and progress."""

    def __init__(self, seed: int, path: Path | None, n_epochs: int, label: str, every_s: float) -> None:
        self.seed, self.path, self.n_epochs, self.label, self.every_s = seed, path, n_epochs, label, every_s
        self.best: dict[str, Tensor] | None = None
        self.best_loss = float("inf")
        self.history: list[dict[str, float]] = []
        self.started = False
        self._saved = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = True  # what a checkpoint holds has then been taken up

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Batch, number: int
    ) -> None:
        # By batch, as loaders draw numbers of their own between the start of an epoch and its first batch.
        torch.manual_seed(randomness.generator(self.seed, f"dropout {trainer.current_epoch}", number).initial_seed())

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items()}
        self.history.append({"epoch": float(trainer.current_epoch), **found})
        loss = found.get("val_loss", -float(trainer.current_epoch))  # without validation, the last weights
        if loss < self.best_loss or self.best is None:
            self.best_loss = loss
            self.best = {k: v.detach().cpu().clone() for k, v in module.network.state_dict().items()}
        progress = batching.current_progress()
        if progress is not None:
            progress(self.label, trainer.current_epoch + 1, self.n_epochs)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_loss": self.best_loss, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_loss, self.history = state["best"], state["best_loss"], state["history"]

    def save(self, trainer: lightning.Trainer) -> None:
        """Write a checkpoint, if the last one is old enough."""
        if self.path is None or time.monotonic() - self._saved < self.every_s:
            return
        with atomic(self.path) as temporary:
            trainer.save_checkpoint(temporary)
        self._saved = time.monotonic()


class _Save(lightning.pytorch.callbacks.Checkpoint):
    """Saves last of all callbacks, when schedules have moved and every state is that of a finished epoch."""

    def __init__(self, keep: _Keep) -> None:
        self._keep = keep

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        self._keep.save(trainer)


@contextmanager
def seeded(seed: int, what: str) -> Iterator[None]:
    """Within this context torch draws from (seed, what); afterwards its state is as it was."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(randomness.generator(seed, what, "start").initial_seed())
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def fit_resumable(
    module: lightning.LightningModule,
    learn: Epochs,
    validate: Epochs | None = None,
    *,
    n_epochs: int,
    batch_size: int,
    seed: int = 0,
    folder: Path | None = None,
    every_s: float = 10.0,
    precision: str = "32-true",
    device: str = "cpu",
    label: str = "training",
) -> list[dict[str, float]]:
    """Train a module's ``network``, which ends with its best weights and in evaluation mode.

    Parameters
    ----------
    module
        With an attribute ``network``, a training step, and (with ``validate``) a validation step that logs
        ``val_loss``. Its network must have been built under `seeded`.
    learn
        Cases to train on; the order is drawn for each epoch.
    validate
        Cases that choose the best epoch, by the smallest ``val_loss``; without, the last epoch counts.
    n_epochs, batch_size
        As usual.
    seed
        Of the order and of dropout, with the epoch.
    folder
        Where the checkpoint is kept; a training that finds one goes on from it. None: none is written.
    every_s
        Least time between two checkpoints [s].
    precision
        Lightning's name of the number type.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    label
        What progress is reported as.

    Returns
    -------
    list of dict
        What was logged, by epoch.
    """
    path = None if folder is None else folder / _KEPT
    keep = _Keep(seed, path, n_epochs, label, every_s)
    loaders = [
        None if data is None else DataLoader(data, batch_size, sampler=_Order(len(data), key), collate_fn=_same)
        for data, key in ((learn, seed), (validate, None))
    ]
    network: nn.Module = module.network  # type: ignore[assignment]
    cuda, _, index = device.partition(":")
    with _quiet(), seeded(seed, "training"):
        trainer = lightning.Trainer(
            max_epochs=n_epochs,
            accelerator="gpu" if cuda == "cuda" else "cpu",
            devices=[int(index or 0)] if cuda == "cuda" else 1,
            precision=precision,  # type: ignore[arg-type]
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[keep, _Save(keep)],
        )
        resumed = path if path is not None and path.exists() else None
        if resumed is not None:
            require_file(resumed)
            with parsing(resumed, "checkpoint", do="remove it"):
                # The trainer would also take a pickle that runs code.
                torch.load(resumed, map_location="cpu", weights_only=True)
        try:
            trainer.fit(module, *loaders, ckpt_path=resumed)
        except Exception:
            if resumed is None or keep.started:
                raise
            with parsing(resumed, "checkpoint", do="remove it"):
                raise
    if keep.best is not None:
        network.load_state_dict(keep.best)
    network.to("cpu").eval()
    return keep.history
