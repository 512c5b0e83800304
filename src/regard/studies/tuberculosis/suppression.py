"""Where images without bones come from: a network of an earlier run, the user's twins, or the phantom's own truth."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.core.errors import FileError, UnknownNameError
from regard.io.atomic import atomic
from regard.models import Chain, Model, load_model
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.cohort import Cohort

__all__ = ["PREFERRED", "Suppression", "suppression_of"]

PREFERRED = ("resnet-bs", "rl-bs", "ae-bs", "convnet-bs")
"""Networks in the order in which they are taken; the paper found the first best."""

_KEPT = "models/suppressor"


class Clip(nn.Module):
    """To [0, 1]: two of the four networks do not bound their output."""

    def forward(self, x: Tensor) -> Tensor:
        """Images of any shape."""
        return x.clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Suppression:
    """How bones are taken out.

    Parameters
    ----------
    network
        Radiographs (batch, 1, row, column) in [0, 1] to the same without bones; None: the known truth is taken.
    words
        What tables call it.
    """

    network: Model | None
    words: str

    @torch.no_grad()
    def __call__(self, plain: Tensor, soft: Tensor, *, batch: int = 16) -> Tensor:
        """Images without bones, in [0, 1].

        Parameters
        ----------
        plain, soft
            Radiographs and their truth (case, 1, row, column); the truth is not looked at where there is a network.
        """
        if self.network is None:
            return soft
        return torch.cat([self.network(part).clamp(0, 1) for part in plain.split(batch)])

    def chain(self, classifier: Model) -> Model | None:
        """Suppressor, then classifier: one network that takes the radiograph; None where the truth is taken."""
        if self.network is None:
            return None
        card = classifier.card.model_copy(
            update={"name": f"{self.network.card.name}, then {classifier.card.name}", "layer": None}
        )
        return Chain([self.network, Clip(), classifier], card)


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


def suppression_of(run: StudyRun, wanted: str | None, cohort: Cohort) -> Suppression | None:
    """The suppression of a run; None where bones cannot be taken out.

    Parameters
    ----------
    run
        With a run of bone-suppression as its base, or not.
    wanted
        Name of the network in that run.
    cohort
        The study's cases, whose truth is taken where there is no network.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    """
    folder = _kept(run, wanted)
    if folder is not None:
        model = load_model(folder)
        return Suppression(model, f"bones suppressed by {model.card.name}")
    if bool(torch.isfinite(cohort.soft).all()):
        return Suppression(None, "bones left out by the user's twins" if cohort.real else "bones left out (the truth)")
    return None
