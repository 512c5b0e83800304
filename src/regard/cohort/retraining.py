"""Retrain a model's network on true and on shuffled labels of a table: what a cohort's regions are ranked against."""

import hashlib
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from regard.cohort.retrained import FEWEST_NETWORKS
from regard.core import randomness
from regard.core.errors import InputError, RegardError
from regard.evidence.sanity.labels import shuffled
from regard.io.atomic import write_bytes
from regard.io.tables import Case
from regard.models import Model, write_card
from regard.models.case import prepare_case
from regard.models.scans import read_scans
from regard.training.retraining import Recipe, drawn_anew, train_from_scratch

__all__ = ["TRUE_LABELS", "Learn", "read_cases", "recipe_of", "retrain"]

logger = logging.getLogger(__name__)

TRUE_LABELS = "true-labels"
"""Folder of the network that was trained on the labels as they are."""

_UNTRAINED = "untrained"

_FEWEST_CASES = 8

Progress = Callable[[str, int, int], None]


class Learn:
    """Images as the network takes them, (case, channel, \\*space), and their labels, (case,)."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels


def recipe_of(model: Model, n_epochs: int) -> Recipe:
    """What a model is trained for, by its card.

    Raises
    ------
    InputError
        If it has several inputs or outputs, or is no network of numbers or of a yes or no.
    """
    card = model.card
    kind, n = card.output.kind, max(1, len(card.output.names))
    if len(card.inputs) > 1 or n > 1 or kind not in ("regression", "classification"):
        got = f"a model of {len(card.inputs)} inputs, {n} outputs and kind {kind}"
        raise InputError(got, "one image to one number, or to the logit of a yes or no", "train the networks yourself")
    if not isinstance(model.network, nn.Module):
        raise InputError(f"a model of type {type(model.network).__name__}", "a torch.nn.Module", "train it yourself")
    return Recipe(n_epochs=n_epochs, classify=kind == "classification")


def read_cases(
    model: Model, cases: Sequence[Case], on_failure: Callable[[Case, Exception], None], progress: Progress
) -> Learn:
    """Prepare every case with a label; a bad one is told and left out.

    Raises
    ------
    InputError
        If fewer than 8 can be used.
    """
    images: list[Tensor] = []
    labels: list[float] = []
    for n, case in enumerate(cases):
        progress("cases read", n, len(cases))
        try:
            label = float(case.columns.get("label", "nan"))
            if not math.isfinite(label):
                raise InputError(f"case '{case.case}' without a number in the column label", "one", "fill the cell")
            prepared = prepare_case(model, read_scans(case, model)).inputs.tensors[0][0]
            if images and prepared.shape != images[0].shape:
                got = f"an image of {tuple(prepared.shape)} for the network, where others have {tuple(images[0].shape)}"
                raise InputError(got, "one shape", "name a shape in the card")
        except (RegardError, OSError, ValueError) as error:
            on_failure(case, error)
            continue
        images.append(prepared.detach().float().cpu())
        labels.append(label)
    if len(images) < _FEWEST_CASES:
        raise InputError(f"{len(images)} cases with an image and a label", f"at least {_FEWEST_CASES}", "give more")
    return Learn(torch.stack(images), torch.tensor(labels))


def retrain(
    model: Model,
    learn: Learn,
    folder: Path,
    recipe: Recipe,
    *,
    n_networks: int = FEWEST_NETWORKS,
    seed: int = 0,
    accelerator: str = "cpu",
    progress: Progress | None = None,
) -> list[Path]:
    """Train a model's architecture on the labels as they are, and on shuffled ones; goes on where it was cut off.

    Eight parameters: what is trained, on what, to where, how, how often, which draws, on what device, who is told.

    Parameters
    ----------
    model
        Its card and its architecture; its weights are not used.
    learn
        Cases.
    folder
        Gets ``true-labels/``, ``shuffled-001/`` and on, and ``untrained-001/`` and on, each with a card and weights.
        Those that have a card are kept.
    recipe
        Of every one of them.
    n_networks
        On shuffled labels, and as many untrained.
    seed
        Key of the orders of the labels and of the weights.
    accelerator
        Where to train, ``"cpu"`` or ``"cuda"``.
    progress
        Called with (sentence, done, all).

    Returns
    -------
    list of Path
        The folders, that of the true labels first.
    """
    names = [TRUE_LABELS, *(f"{kind}-{n + 1:03d}" for kind in ("shuffled", _UNTRAINED) for n in range(n_networks))]
    assert isinstance(model.network, nn.Module)
    network = model.network.cpu()
    for n, name in enumerate(names):
        if progress is not None:
            progress("networks trained", n, len(names))
        if (folder / name / "card.yaml").exists():
            continue
        # The order has a key of its own: the first network of shuffled labels must not be that of the true ones.
        key = randomness.generator(seed, "retrained", n).initial_seed() % 2**31
        if name.startswith(_UNTRAINED):
            trained = drawn_anew(network, key).eval()
        else:
            labels = learn.labels if name == TRUE_LABELS else shuffled(learn.labels, key)
            trained = train_from_scratch(network, learn.images, labels, recipe, seed=key, accelerator=accelerator)
        _save(folder / name, trained, model, name, len(learn.labels))
        logger.info("trained %s", name)
    if progress is not None:
        progress("networks trained", len(names), len(names))
    return [folder / name for name in names]


def _save(folder: Path, network: nn.Module, model: Model, name: str, n: int) -> None:
    """Weights, then the card: a network that has a card is complete."""
    content = save({k: v.contiguous() for k, v in network.state_dict().items()})
    write_bytes(folder / "weights.safetensors", content)
    kinds = {
        TRUE_LABELS: "Trained by regard retrain on the labels of its cases.",
        "shuffled": "Trained by regard retrain on labels that were shuffled: it knows nothing of them.",
        _UNTRAINED: "Drawn by regard retrain and not trained: it knows nothing.",
    }
    card = model.card.model_copy(
        update={
            "name": f"{model.card.name}, {name}",
            "weights": "weights.safetensors",
            "sha256": hashlib.sha256(content).hexdigest(),
            "trained_on": model.card.trained_on.model_copy(update={"n": n}),
            "notes": next(words for kind, words in kinds.items() if name.startswith(kind)),
        }
    )
    if card.factory is not None:
        # The code that builds the network stands beside its card.
        for path in Path(model.source).glob("*.py"):
            shutil.copyfile(path, folder / path.name)
    write_card(card, folder / "card.yaml")
