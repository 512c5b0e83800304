"""What a study is: a paper, its recipe in five acts, and an honest list of what is done, reduced and absent."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from regard.studies.config import StudyConfig
from regard.studies.items import Item
from regard.studies.run import Scores, StudyRun
from regard.studies.study_page import score_chapters, write_study_page

__all__ = ["AbstractStudy", "Item"]

M = TypeVar("M")
"""What the acts of a study share."""


class AbstractStudy(ABC, Generic[M]):
    """A paper as a recipe. A subclass writes the five acts and the report; each act returns its scores.

    An act keeps what it makes in pieces (`StudyRun.tensors`, `StudyRun.record`), so that a run that was cut off goes
    on; its draws are keyed by (seed, case, draw), so that it ends the same.
    """

    name: ClassVar[str]
    """As registered."""
    title: ClassVar[str]
    """One line for people."""
    paper: ClassVar[str]
    """Authors, journal, year, DOI."""
    sizes: ClassVar[Mapping[str, StudyConfig]]
    """Configurations by size."""
    shares: ClassVar[Mapping[str, float]]
    """Share of the time that each act takes, for the forecast."""
    acts: ClassVar[Mapping[str, str]]
    """One line for each act."""
    items: ClassVar[tuple[Item, ...]]
    """What the paper did, and what is done here."""
    builds_on: ClassVar[frozenset[str]] = frozenset()
    """Studies whose runs may be given with ``--from``, for their networks."""
    takes_runs: ClassVar[bool] = False
    """Whether finished runs of any kind, and several, may be given with ``--from``."""

    def __init__(self) -> None:
        self._kept: tuple[StudyRun, M] | None = None

    @abstractmethod
    def gather(self, run: StudyRun) -> M:
        """What the acts share: the data, and networks that are trained or read when they are first asked for."""

    def material(self, run: StudyRun) -> M:
        """What the acts of a run share, gathered once."""
        if self._kept is None or self._kept[0] is not run:
            self._kept = (run, self.gather(run))
        return self._kept[1]

    def data(self, run: StudyRun) -> Scores:
        """Make or read the images and the labels: by default all that is gathered."""
        self.material(run)
        return {}

    @abstractmethod
    def train(self, run: StudyRun) -> Scores:
        """Train the networks."""

    @abstractmethod
    def score(self, run: StudyRun) -> Scores:
        """Measure how good they are."""

    @abstractmethod
    def explain(self, run: StudyRun) -> Scores:
        """Explain held-out cases."""

    @abstractmethod
    def weigh(self, run: StudyRun) -> Scores:
        """Measure whether the explanations are true."""

    def report(self, run: StudyRun, scores: Scores) -> None:
        """Write ``report.html`` from what the acts have made so far: by default a table for each group of scores."""
        facts = {"size": run.config.size, "seed": run.seed}
        write_study_page(self, run, score_chapters(scores), facts=facts)
