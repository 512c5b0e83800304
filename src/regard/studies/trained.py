"""Networks that a study trained: which cases each sees, how they are kept, and how they are found again."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from regard.core import randomness
from regard.core.errors import InputError
from regard.io.atomic import atomic
from regard.models import Model, load_model, write_card
from regard.models.card import ModelCard
from regard.studies.run import StudyRun

__all__ = ["among_its_own", "kept_model", "save_trained", "seed_of", "split"]


def split(patients: Sequence[str], share: float, *, seed: int, member: int) -> tuple[set[str], set[str]]:
    """Patients to train on, and patients to choose the best epoch on; at least one of each.

    Raises
    ------
    InputError
        If there are fewer than two patients.
    """
    names = sorted(set(patients))
    if len(names) < 2:
        raise InputError(f"{len(names)} patients to train on", "at least two", "give more cases")
    order = torch.randperm(len(names), generator=randomness.generator(seed, "split", member)).tolist()
    n_held = min(max(1, round(share * len(names))), len(names) - 1)
    held = {names[n] for n in order[:n_held]}
    return set(names) - held, held


def save_trained(folder: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Write weights, then the card: a model that has a card is complete."""
    with atomic(folder / "weights.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
    write_card(ModelCard.model_validate(card), folder / "card.yaml")
    (folder / "checkpoint.ckpt").unlink(missing_ok=True)


def kept_model(run: StudyRun, name: str) -> Model | None:
    """A network of this run or of the run it goes on from; None if it has not been trained."""
    found = run.find(f"models/{name}/card.yaml")
    return None if found is None else load_model(found.parent, device=run.device)


def among_its_own(model: Model) -> Model:
    """The model without the warning that it knows simulated images alone, for the simulated cases of its own study."""
    alike = copy.copy(model)
    known = model.card.trained_on.model_copy(update={"simulated": False})
    alike.card = model.card.model_copy(update={"trained_on": known})
    return alike


def seed_of(run: StudyRun, name: str) -> int:
    """Seed of the training of a network."""
    return randomness.generator(run.seed, name, "network").initial_seed() % 2**31
