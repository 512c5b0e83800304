"""How well a yes or no is told: accuracy, precision, recall, specificity, F1, from a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import ShapeError
from regard.studies.scoring.bootstrap import Score, Statistic, scored

__all__ = ["Confusion", "classification_scores", "classification_statistics"]


@dataclass(frozen=True)
class Confusion:
    """Counts of a yes or no; ``NaN`` from a property is a share of nothing.

    Parameters
    ----------
    tp, fp, fn, tn
        True and false positives, false and true negatives; numbers, or arrays of one shape.
    """

    tp: np.ndarray | float
    fp: np.ndarray | float
    fn: np.ndarray | float
    tn: np.ndarray | float

    @staticmethod
    def _share(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
        part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
        return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right answers."""
        return self._share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def precision(self) -> np.ndarray:
        """Share of the yeses that are right."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> np.ndarray:
        """Share of the positives found (sensitivity)."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> np.ndarray:
        """Share of the negatives told to be so."""
        return self._share(self.tn, self.tn + self.fp)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, as 2 TP / (2 TP + FP + FN)."""
        return self._share(2 * np.asarray(self.tp), 2 * np.asarray(self.tp) + self.fp + self.fn)


_NAMES = ("accuracy", "precision", "recall", "specificity", "f1")


def classification_statistics(truth: Sequence[bool], told: Sequence[bool]) -> dict[str, Statistic]:
    """Statistics of weights (sample, case), by name.

    Parameters
    ----------
    truth, told
        Whether each case is positive, and whether it was told to be, (case,).

    Raises
    ------
    ShapeError
        If their numbers differ.
    """
    is_so, said = np.asarray(truth, dtype=bool), np.asarray(told, dtype=bool)
    if is_so.shape != said.shape or is_so.ndim != 1:
        raise ShapeError(f"{is_so.shape} truths and {said.shape} answers", "as many of each, (case,)")

    def counted(weights: np.ndarray) -> Confusion:
        parts = (is_so & said, ~is_so & said, is_so & ~said, ~is_so & ~said)
        return Confusion(*(weights @ p.astype(float) for p in parts))

    return {name: lambda w, name=name: getattr(counted(w), name) for name in _NAMES}  # type: ignore[misc]


def classification_scores(
    truth: Sequence[bool], told: Sequence[bool], patients: Sequence[str], *, seed: int = 0
) -> dict[str, Score]:
    """Accuracy, precision, recall, specificity and F1 with intervals over patients; parameters as above."""
    return {name: scored(s, patients, seed=seed) for name, s in classification_statistics(truth, told).items()}
