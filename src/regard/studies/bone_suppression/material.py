"""What the acts share: the three parts of the data, the networks, and what each makes of the test radiographs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn

from regard.models import Model
from regard.studies.bone_suppression.baselines import Suppress, baselines
from regard.studies.bone_suppression.config import BoneSuppressionConfig
from regard.studies.bone_suppression.folder import folder_pairs
from regard.studies.bone_suppression.networks import suppressed, train_network
from regard.studies.bone_suppression.pairs import Pairs
from regard.studies.bone_suppression.phantoms import phantom_pairs
from regard.studies.run import StudyRun

__all__ = ["Material", "material_of"]

Kept = TypeVar("Kept")


@dataclass(eq=False)
class Material:
    """Data and networks of a run, computed when first asked for.

    Parameters
    ----------
    run, config
        The study.
    learn, chosen, test
        Pairs to train on, to choose the best epoch on, and to measure on.
    """

    run: StudyRun
    config: BoneSuppressionConfig
    learn: Pairs
    chosen: Pairs
    test: Pairs
    _kept: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What ``make`` gives, made once."""
        if name not in self._kept:
            self._kept[name] = make()
        found: Kept = self._kept[name]
        return found

    @property
    def phantoms(self) -> bool:
        """Whether the truth is known."""
        return self.run.data is None

    def model(self, name: str) -> Model:
        """One of the networks."""
        return self.once(f"model {name}", lambda: train_network(self.run, self.config, name, self.learn, self.chosen))

    def network(self, name: str) -> nn.Module:
        """Its module."""
        found = self.model(name).network
        assert isinstance(found, nn.Module)
        return found

    def validation_loss(self, name: str) -> float:
        """Smallest loss of a network on the radiographs that choose."""
        rows = self.run.record(f"train/{name}", lambda: {"epochs": []})["epochs"]
        return min((float(r["val_loss"]) for r in rows if r.get("val_loss") is not None), default=float("inf"))

    @property
    def best(self) -> str:
        """The network with the smallest validation loss: the one that is explained."""
        return min(self.config.train.networks, key=self.validation_loss)

    def suppressors(self) -> dict[str, Suppress]:
        """Networks, then baselines, by name."""
        fitted = self.once("baselines", lambda: dict(baselines(self.learn, self.config.score, seed=self.run.seed)))
        networks: dict[str, Suppress] = {}
        for name in self.config.train.networks:
            networks[name] = lambda x, name=name: suppressed(self.network(name), x)  # type: ignore[misc]
        return {**networks, **fitted}

    def found(self, name: str, which: str = "images") -> Tensor:
        """What a suppressor makes of the test radiographs (case, 1, row, column); ``which``: images or plain."""
        return self.once(f"{which} {name}", lambda: self.suppressors()[name](getattr(self.test, which)).detach())


def material_of(run: StudyRun, config: BoneSuppressionConfig) -> Material:
    """The data of a run: rendered, read from the user's folder, or read from its pieces."""
    if run.data is not None:
        return Material(run, config, *folder_pairs(run, config))
    data = config.data
    learn, chosen, test = (
        phantom_pairs(run, config, part, n)
        for part, n in (("train", data.n_train), ("validation", data.n_validation), ("test", data.n_test))
    )
    return Material(run, config, learn, chosen, test)
