"""Where images without bones come from: a network of an earlier run, the user's twins, or the phantom's own truth."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.devices import answers
from regard.core.errors import FileError, InputError, UnknownNameError
from regard.io.atomic import atomic
from regard.models import Chain, Model, load_model
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.cohort import Cohort
from regard.studies.tuberculosis.config import TuberculosisConfig

__all__ = ["PREFERRED", "Suppression", "picture_size", "suppression_of"]

PREFERRED = ("resnet-bs", "rl-bs", "ae-bs", "convnet-bs")
"""Networks in the order in which they are taken; the paper found the first best."""

_KEPT = "models/suppressor"


class Between(nn.Module):
    """What lies between a suppressor and a classifier: to [0, 1], and to the classifier's size by means over squares.

    Two of the four suppressors do not bound their output.

    Parameters
    ----------
    size
        Pixels along each side that the classifier takes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 1, row, column)."""
        return functional.adaptive_avg_pool2d(x.clamp(0, 1), self.size)


@dataclass(frozen=True, eq=False)
class Suppression:
    """How bones are taken out.

    Parameters
    ----------
    network
        Radiographs (batch, 1, row, column) in [0, 1] to the same without bones; None: the known truth is taken.
    words
        What tables call it.
    size
        Pixels along each side of what the classifier takes.
    """

    network: Model | None
    words: str
    size: int

    @torch.no_grad()
    def __call__(self, plain: Tensor, soft: Tensor, *, batch: int = 16) -> Tensor:
        """Images without bones in [0, 1], of the classifier's size.

        Parameters
        ----------
        plain, soft
            Radiographs and their truth (case, 1, row, column); the truth is not looked at where there is a network.
        """
        between = Between(self.size)
        if self.network is None:
            return between(soft)  # type: ignore[no-any-return]
        return answers(self.network, plain, batch=batch, read=between)

    def chain(self, classifier: Model) -> Model | None:
        """Suppressor, then classifier: one network that takes the radiograph; None where the truth is taken."""
        if self.network is None:
            return None
        card = classifier.card.model_copy(
            update={
                "name": f"{self.network.card.name}, then {classifier.card.name}",
                "layer": None,
                # Images come prepared, so that nothing is scaled twice.
                "inputs": (classifier.card.inputs[0].model_copy(update={"shape": self.network.card.inputs[0].shape}),),
            }
        )
        return Chain([self.network, Between(self.size), classifier], card)


def _found(base: Path, wanted: str | None) -> Path:
    folders = {f.parent.name: f.parent for f in sorted((base / "models").glob("*/card.yaml"))}
    if wanted is not None:
        if wanted not in folders:
            raise UnknownNameError.suggest("suppressor", wanted, list(folders))
        return folders[wanted]
    for name in (*PREFERRED, *folders):
        if name in folders:
            return folders[name]
    raise FileError(f"no network in '{base / 'models'}'", "a finished run of bone-suppression", "run it first")


def _kept(run: StudyRun, wanted: str | None) -> Path | None:
    """The suppressor's folder in this run (or the one it goes on from), copied there from the run it builds on."""
    if run.base is not None and not (run.path / _KEPT / "card.yaml").exists():
        source = _found(run.base, wanted)
        for name in sorted(p.name for p in source.iterdir() if p.name != "card.yaml" and p.is_file()):
            with atomic(run.path / _KEPT / name) as temporary:
                shutil.copyfile(source / name, temporary)
        with atomic(run.path / _KEPT / "card.yaml") as temporary:
            shutil.copyfile(source / "card.yaml", temporary)
    found = run.find(f"{_KEPT}/card.yaml")
    return None if found is None else found.parent


def picture_size(run: StudyRun, config: TuberculosisConfig) -> int:
    """Pixels along each side of the radiographs: what the suppressor was trained on, or else what the classifier takes.

    Raises
    ------
    InputError
        If the suppressor's size is no multiple of the classifier's.
    """
    folder, size = _kept(run, config.data.suppressor), config.data.size
    shape = None if folder is None else load_model(folder).card.inputs[0].shape
    if shape is None:
        return size
    if shape[0] % size or len(set(shape)) > 1:
        got = f"a suppressor of {' x '.join(map(str, shape))} pixels for a classifier of {size} x {size}"
        raise InputError(got, "squares, the one a multiple of the other", "set data.size")
    return int(shape[0])


def suppression_of(run: StudyRun, config: TuberculosisConfig, cohort: Cohort) -> Suppression | None:
    """The suppression of a run; None where bones cannot be taken out.

    Parameters
    ----------
    run, config
        With a run of bone-suppression as its base, or not.
    cohort
        The study's cases, whose truth is taken where there is no network.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    """
    folder, size = _kept(run, config.data.suppressor), config.data.size
    if folder is not None:
        model = load_model(folder, device=run.device)
        return Suppression(model, f"bones suppressed by {model.card.name}", size)
    if bool(torch.isfinite(cohort.soft).all()):
        words = "bones left out by the user's twins" if cohort.real else "bones left out (the truth)"
        return Suppression(None, words, size)
    return None
