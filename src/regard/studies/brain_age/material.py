"""What the acts share: the parts of the data, the networks, their predictions, and the methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from regard.explainers.spec import MethodSpec
from regard.models import Model
from regard.studies.brain_age.cohort import Cohort
from regard.studies.brain_age.config import BrainAgeConfig
from regard.studies.brain_age.networks import predicted, train_network
from regard.studies.brain_age.noise import methods_of, spread_of, train_noise
from regard.studies.brain_age.phantoms import phantom_cohort
from regard.studies.brain_age.table import table_cohorts
from regard.studies.run import StudyRun

__all__ = ["Material", "material_of", "read_as_the_mean"]

T = TypeVar("T")


@dataclass(eq=False)
class Material:
    """Data and networks of a run, computed when first asked for.

    Parameters
    ----------
    run, config
        The study.
    learn, calibrate, test
        Subjects to train on, to fit the correction of the age gap on, and to measure on.
    """

    run: StudyRun
    config: BrainAgeConfig
    learn: Cohort
    calibrate: Cohort
    test: Cohort
    _kept: dict[str, object] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` makes, made once."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]  # type: ignore[return-value]

    @property
    def phantoms(self) -> bool:
        """Whether the truth is known."""
        return self.run.data is None

    @property
    def explained(self) -> Cohort:
        """Test subjects that are explained."""
        return self.once("explained", lambda: self.test.of(range(min(self.config.explain.n_cases, len(self.test)))))

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """Every network by kind and member, the explained one first."""
        first, *rest = self.config.train.networks
        members: list[tuple[str, int]] = [(first, n) for n in range(self.config.train.n_members)]
        return members + [(kind, 0) for kind in rest]

    def network(self, kind: str, member: int) -> Model:
        """A network, trained if it has not been."""
        return self.once(
            f"{kind} {member}", lambda: train_network(self.run, self.config, self.learn, kind, member=member)
        )

    @property
    def model(self) -> Model:
        """The network that is explained."""
        return self.network(*self.kinds[0])

    @property
    def model_folder(self) -> str:
        """Its folder."""
        kind, member = self.kinds[0]
        found = self.run.find(f"models/{kind}-member{member}")
        assert found is not None
        return str(found)

    @property
    def spread(self) -> float:
        """Standard deviation of its predictions over the training subjects [year]."""
        return self.once("spread", lambda: spread_of(self.model, self.learn))

    @property
    def reference(self) -> int:
        """Which training subject the explained ones are compared with: the one that is read as the mean of all.

        An image of zeros, or the mean image, is read as an age that nobody has (Letzgus et al. 2022, arXiv 2112.11407,
        on references of regression).
        """
        return self.once("reference", lambda: read_as_the_mean(self.model, self.learn))

    @property
    def learned(self) -> str | None:
        """Folder of its noise model."""
        return self.once("learned", lambda: train_noise(self.run, self.config, self.learn, self.model))

    @property
    def methods(self) -> list[MethodSpec]:
        """Methods of the maps, each with all its knobs."""
        return self.once("methods", lambda: methods_of(self.config, self.spread, self.learned))

    def predictions(self, cohort: Cohort, kind: str, member: int = 0) -> np.ndarray:
        """Age [year] that a network reads, (case,)."""
        key = f"predictions {id(cohort)} {kind} {member}"
        return self.once(key, lambda: predicted(self.network(kind, member), cohort.images))

    def nothing(self) -> tuple[Cohort, Cohort, Model] | None:
        """Subjects in whom nothing ages, to train and to measure on, and the network trained on them."""
        n = self.config.data.n_nothing
        if not n or not self.phantoms:
            return None

        def make() -> tuple[Cohort, Cohort, Model]:
            learn = phantom_cohort(self.run, self.config, "nothing-train", n)
            test = phantom_cohort(self.run, self.config, "nothing-test", -(-n // 3))
            kind = self.config.train.networks[0]
            return learn, test, train_network(self.run, self.config, learn, kind, name="nothing")

        return self.once("nothing", make)


def read_as_the_mean(model: Model, cohort: Cohort) -> int:
    """Number of the subject whose reading is nearest to the mean reading."""
    read = predicted(model, cohort.images)
    return int(np.abs(read - read.mean()).argmin())


def material_of(run: StudyRun, config: BrainAgeConfig) -> Material:
    """The data of a run: rendered, read from the user's table, or read from its pieces."""
    if run.data is not None:
        return Material(run, config, *table_cohorts(run, config))
    data = config.data
    parts = {"train": data.n_train, "calibration": data.n_calibration, "test": data.n_test}
    learn, calibrate, test = (phantom_cohort(run, config, part, n) for part, n in parts.items())
    return Material(run, config, learn, calibrate, test)
