"""What the acts share: the three parts of the data, their scale, the outlines, and the images of each case."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from regard.models import Model
from regard.studies.bmd.cohort import Cohort, Scale
from regard.studies.bmd.config import CASES, DECOY_CASES, BMDConfig
from regard.studies.bmd.networks import TRABECULAR, masked, outlined, predicted, train_member, train_segmentation
from regard.studies.bmd.phantoms import phantom_cohort
from regard.studies.bmd.table import table_cohorts
from regard.studies.run import StudyRun

__all__ = ["Material", "material_of"]


@dataclass(eq=False)
class Material:
    """Data and networks of a run, computed when first asked for.

    Parameters
    ----------
    run, config
        The study.
    learn, calibrate, test
        Patients to train on, to calibrate intervals on (there may be none), and to measure on.
    """

    run: StudyRun
    config: BMDConfig
    learn: Cohort
    calibrate: Cohort | None
    test: Cohort
    _kept: dict[str, object] = field(default_factory=dict)
    _of_cohorts: WeakKeyDictionary[Cohort, dict[str, object]] = field(default_factory=WeakKeyDictionary)

    def _once(self, name: str, make: Callable[[], object]) -> object:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def _once_for(self, cohort: Cohort, name: str, make: Callable[[], object]) -> object:
        """As `_once`, for one cohort and as long as it lives: another may get its place in memory."""
        own = self._of_cohorts.setdefault(cohort, {})
        if name not in own:
            own[name] = make()
        return own[name]

    @property
    def scale(self) -> Scale:
        """Of the training images."""
        return self._once("scale", lambda: Scale.of(self.learn.images))  # type: ignore[return-value]

    @property
    def phantoms(self) -> bool:
        """Whether the truth is known."""
        return self.run.data is None

    @property
    def outliner(self) -> Cohort:
        """Cases that the segmentation network learns from: phantoms, whose outlines are known."""
        if self.phantoms:
            return self.learn
        n = -(-self.config.train.unet_slices // len(self.config.data.offsets_mm))
        return self._once("outliner", lambda: phantom_cohort(self.run, self.config, "train", n))  # type: ignore[return-value]

    def segmentation(self) -> Model:
        """The network that outlines L1."""
        scale = Scale.of(self.outliner.images)
        return self._once(  # type: ignore[return-value]
            "segmentation", lambda: train_segmentation(self.run, self.config, self.outliner, scale)
        )

    def probabilities(self, cohort: Cohort) -> Tensor:
        """Probability of L1's body and of all of L1, (case, 2, row, column).

        Outlines that came with a user's case count as certain.
        """

        def make() -> Tensor:
            found = outlined(self.segmentation(), cohort.images, Scale.of(self.outliner.images))
            if self.phantoms:
                return found
            given = torch.stack([cohort.body, cohort.vertebra], 1)
            return torch.where(torch.isnan(given), found, given)

        return self._once_for(cohort, "probabilities", make)  # type: ignore[return-value]

    def images(self, cohort: Cohort, case: int) -> Tensor:
        """HU (case, 1, row, column) as one of the three cases shows them."""
        if case == 1:
            return cohort.images
        return masked(cohort.images, self.probabilities(cohort), case, self.config.train.segmented_below)

    def as_seen(self, images: Tensor, case: int) -> Tensor:
        """Any images (n, 1, row, column) [HU] as a case shows them, outlined by the segmentation network."""
        if case == 1:
            return images
        shares = outlined(self.segmentation(), images, Scale.of(self.outliner.images))
        return masked(images, shares, case, self.config.train.segmented_below)

    def trains(self, label: str, done: int) -> None:
        """Tell which network is trained next, and how many are."""
        plan = self.config.train
        decoys = len(DECOY_CASES) * len(self.config.data.doses) * plan.n_decoy_members if self.phantoms else 0
        second = plan.n_second_members if self.phantoms else 0
        if self.run.act == "train":
            self.run.stage(label, done, 1 + len(CASES) * plan.n_members + second + decoys)

    def members(self, case: int) -> list[Model]:
        """The ensemble of a case."""
        n = self.config.train.n_members

        def make() -> list[Model]:
            found = []
            for member in range(n):
                self.trains(f"case {case}, member {member + 1}", 1 + (case - 1) * n + member)
                cases = partial(self.seen, self.learn, case)
                found.append(train_member(self.run, self.config, cases, self.scale, case, member))
            return found

        return self._once(f"members {case}", make)  # type: ignore[return-value]

    def member(self, case: int, number: int) -> Model:
        """One network of a case; they are counted round."""
        found = self.members(case)
        return found[number % len(found)]

    def second_members(self) -> list[Model]:
        """Networks for the second target, trabecular density, on the middle slices of case 1."""

        def make() -> list[Model]:
            plan = self.config.train
            self.trains("second target", 1 + len(CASES) * plan.n_members)

            def cases() -> Cohort:
                middle = self.learn.one_each()
                return replace(middle, labels=middle.second)

            return [
                train_member(
                    self.run,
                    self.config,
                    cases,
                    self.scale,
                    1,
                    k,
                    wanted=TRABECULAR,
                    start=partial(self.member, 1, k),
                    n_epochs=plan.n_decoy_epochs,
                )
                for k in range(plan.n_second_members)
            ]

        return self._once("second members", make)  # type: ignore[return-value]

    def seen(self, cohort: Cohort, case: int) -> Cohort:
        """A cohort with the images of a case."""
        if case == 1:
            return cohort
        return replace(cohort, images=self.images(cohort, case))

    def predictions(self, cohort: Cohort, case: int) -> np.ndarray:
        """Density [g/cm2] that each member reads, (member, case)."""
        return self._once_for(  # type: ignore[return-value]
            cohort,
            f"predictions {case}",
            lambda: predicted(self.members(case), self.images(cohort, case), self.scale),
        )


def material_of(run: StudyRun, config: BMDConfig) -> Material:
    """The data of a run: rendered, read from the user's table, or read from its pieces."""
    if run.data is not None:
        learn, calibrate, test = table_cohorts(run, config)
        return Material(run, config, learn, calibrate, test)
    data = config.data
    learn = phantom_cohort(run, config, "train", data.n_train)
    calibrate = phantom_cohort(run, config, "calibration", data.n_calibration) if data.n_calibration else None
    test = phantom_cohort(run, config, "test", data.n_test)
    return Material(run, config, learn, calibrate, test)
