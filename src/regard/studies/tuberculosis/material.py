"""What the acts share: cohorts, folds, images of each arm, networks and what they say."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from regard.models import Model
from regard.studies.folds import folds_of, held_out
from regard.studies.run import StudyRun
from regard.studies.scoring.bootstrap import Score
from regard.studies.tuberculosis.cohort import Cohort
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.studies.tuberculosis.networks import Learning, pooled, told, train, trained
from regard.studies.tuberculosis.phantoms import phantom_cohort
from regard.studies.tuberculosis.suppression import Between, Suppression, suppression_of
from regard.studies.tuberculosis.table import read_cohort

__all__ = ["Material", "material_of"]


@dataclass(eq=False)
class Material:
    """Data and networks of a run, computed when first asked for.

    Parameters
    ----------
    run, config
        The study.
    cohort
        The study's cases.
    suppression
        How bones are taken out; None where they cannot be.
    """

    run: StudyRun
    config: TuberculosisConfig
    cohort: Cohort
    suppression: Suppression | None
    _kept: dict[str, object] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], object]) -> object:
        """What ``make`` gives, made when it is first asked for by this name."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    @property
    def phantoms(self) -> bool:
        """Whether the truth is known."""
        return self.run.data is None

    @property
    def arms(self) -> tuple[str, ...]:
        """``"plain"``, and ``"suppressed"`` where bones can be taken out."""
        return ("plain", "suppressed") if self.suppression is not None else ("plain",)

    def counts(self) -> dict[str, Score]:
        """How many cases there are."""
        cohort = self.cohort
        n, k = len(cohort), len(set(cohort.patients))
        nothing = float("nan")
        values = {"ill": float(cohort.ill.sum()), "well": float((~cohort.ill).sum())}
        if self.phantoms:
            values["pretrain_ill"] = float(self.pretraining.ill.sum())
            values["pretrain_well"] = float((~self.pretraining.ill).sum())
        return {name: Score(v, nothing, nothing, 0.95, n, k, "cases") for name, v in values.items()}

    def words(self, arm: str) -> str:
        """What tables call an arm."""
        return "radiographs" if arm == "plain" or self.suppression is None else self.suppression.words

    @property
    def pretraining(self) -> Cohort:
        """Normal and abnormal phantoms that networks learn from first, also where the cases are a user's."""
        return self.once("pretraining", lambda: phantom_cohort(self.run, self.config, "pretrain"))  # type: ignore[return-value]

    def seen(self, cohort: Cohort, arm: str) -> Tensor:
        """What the classifier of an arm takes, (case, 1, row, column)."""
        # The cohort is kept beside, so that its id stays its own.
        held = self.once(f"{arm} {id(cohort)}", lambda: (cohort, self.as_seen(cohort.plain, cohort.soft, arm)))
        return held[1]  # type: ignore[index, no-any-return]

    def as_seen(self, plain: Tensor, soft: Tensor, arm: str) -> Tensor:
        """Radiographs and their bone-free truth as the classifier of an arm takes them."""
        if arm == "plain" or self.suppression is None:
            return Between(self.config.data.size)(plain)  # type: ignore[no-any-return]
        return self.suppression(plain, soft)

    @property
    def folds(self) -> np.ndarray:
        """Fold in which each case is tested, (case,)."""
        n, cohort = self.config.train.n_folds, self.cohort
        return self.once("folds", lambda: folds_of(list(cohort.ill), cohort.patients, n, seed=self.run.seed))  # type: ignore[return-value]

    def tested(self, fold: int) -> np.ndarray:
        """Rows of the cases that a fold is tested on."""
        found: np.ndarray = np.flatnonzero(self.folds == fold)
        return found

    @property
    def pretrain_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pre-training cases to learn from, and of those that only measure."""
        cohort = self.pretraining
        held = held_out(
            list(cohort.ill), cohort.patients, self.config.train.held, seed=self.run.seed, what="pre-training"
        )
        return np.flatnonzero(~held), np.flatnonzero(held)

    def pretrained(self, arm: str) -> Model:
        """The network that tells normal from abnormal."""
        plan = self.config.train

        def make() -> Model:
            done = trained(self.run, f"pretrain-{arm}")
            if done is not None:
                return done
            rows, cohort = self.pretrain_split[0], self.pretraining
            what = Learning(
                f"pretrain-{arm}", self.seen(cohort, arm)[rows], cohort.labels[rows], cohort.of(rows).patients,
                n_epochs=plan.pretrain_epochs, rate=plan.learning_rate, findings=cohort.findings[rows],
                raw=arm == "plain", notes=f"Normal or abnormal; {self._notes(arm)}",
            )  # fmt: skip
            return train(self.run, self.config, what)

        return self.once(f"pretrained {arm}", make)  # type: ignore[return-value]

    def _notes(self, arm: str) -> str:
        return (
            f"takes {self.words(arm)}, {self.config.data.size} x {self.config.data.size}, 1 % of the pixels black and "
            "as many white, in [0, 1]."
        )

    def member(self, arm: str, fold: int) -> Model:
        """The classifier that is tested on a fold, and learnt from all others."""
        return self.fitted(arm, fold, self.cohort, f"fold{fold}-{arm}", self.config.train.n_epochs)

    def fitted(self, arm: str, fold: int, cohort: Cohort, name: str, n_epochs: int) -> Model:
        """A classifier that learns from the cases of a cohort which a fold is not tested on.

        Parameters
        ----------
        arm, fold
            Which images, and which cases are left out.
        cohort
            The study's cases, as they look for this network.
        name
            Of the network.
        n_epochs
            How long it learns.
        """

        def make() -> Model:
            done = trained(self.run, name)
            if done is not None:
                return done
            rows = np.flatnonzero(self.folds != fold)
            return train(
                self.run,
                self.config,
                Learning(
                    name, self.seen(cohort, arm)[rows], cohort.labels[rows], cohort.of(rows).patients,
                    n_epochs=n_epochs, rate=self.config.train.fine_rate, begin=self.pretrained(arm),
                    raw=arm == "plain",
                    notes=f"Tuberculosis or not; {self._notes(arm)}", real=cohort.real,
                ),
            )  # fmt: skip

        return self.once(f"member {name}", make)  # type: ignore[return-value]

    def told(self, arm: str) -> np.ndarray:
        """Log-odds of ill of every case, by the network that was tested on it, (case,)."""

        def make() -> np.ndarray:
            found = np.full(len(self.cohort), np.nan)
            for fold in range(self.config.train.n_folds):
                rows = self.tested(fold)
                found[rows] = told(self.member(arm, fold), self.seen(self.cohort, arm)[rows])
            return found

        return self.once(f"told {arm}", make)  # type: ignore[return-value]

    def features(self, arm: str, fold: int) -> np.ndarray:
        """Pooled features of the cases that a fold is tested on, (case, feature)."""
        images = self.seen(self.cohort, arm)[self.tested(fold)]
        return self.once(f"features {arm} {fold}", lambda: pooled(self.member(arm, fold), images))  # type: ignore[return-value]


def material_of(run: StudyRun, config: TuberculosisConfig) -> Material:
    """The data of a run: rendered, or read from the user's folder or table, and how bones are taken out."""
    cohort = phantom_cohort(run, config, "study") if run.data is None else read_cohort(run, config)
    return Material(run, config, cohort, suppression_of(run, config, cohort))
