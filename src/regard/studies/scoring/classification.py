"""How well a yes or no is told: shares with exact or clustered intervals, F1, MCC, kappa, from a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import ShapeError
from regard.evidence.statistics import exact_interval
from regard.studies.scoring.bootstrap import Score, scored
from regard.studies.scoring.studentised import Measured, of_patients

__all__ = ["Confusion", "classification_scores", "classification_statistics", "decision_scores", "share_score"]


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

    @property
    def mcc(self) -> np.ndarray:
        """Correlation of truth and answer (Matthews 1975); NaN where either is always the same."""
        tp, fp, fn, tn = (np.asarray(v, dtype=float) for v in (self.tp, self.fp, self.fn, self.tn))
        whole = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return self._share(tp * tn - fp * fn, whole)

    @property
    def kappa(self) -> np.ndarray:
        """Agreement of truth and answer beyond chance (Cohen 1960); NaN where chance alone agrees always."""
        tp, fp, fn, tn = (np.asarray(v, dtype=float) for v in (self.tp, self.fp, self.fn, self.tn))
        n = tp + fp + fn + tn
        by_chance = (tp + fp) * (tp + fn) + (tn + fp) * (tn + fn)
        return self._share(n * (tp + tn) - by_chance, n * n - by_chance)


_NAMES = ("accuracy", "precision", "recall", "specificity", "f1")


def classification_statistics(
    truth: Sequence[bool], told: Sequence[bool], names: Sequence[str] = _NAMES
) -> dict[str, Measured]:
    """Statistics of weights (sample, case), by name.

    Parameters
    ----------
    truth, told
        Whether each case is positive, and whether it was told to be, (case,).
    names
        Properties of `Confusion`.

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

    def all_right(own: np.ndarray, level: float, name: str) -> tuple[float, float]:
        """Bounds where every answer is right: found and left shares are each bounded exactly, at half of the risk."""
        if name in ("mcc", "kappa"):
            found, left = (of_patients(own[of], (1 + level) / 2)[0] for of in (is_so, ~is_so))
            n, m = float(is_so.sum()), float((~is_so).sum())
            return float(getattr(Confusion(n * found, m * (1 - left), n * (1 - found), m * left), name)), 1.0
        of = {"precision": said, "recall": is_so, "specificity": ~is_so, "f1": is_so}.get(name, np.ones_like(is_so))
        best = bool((is_so == said)[of].all())
        return of_patients(own[of], level, best=best)

    def measured(name: str) -> Measured:
        scale = "correlation" if name in ("mcc", "kappa") else "share"
        return Measured(
            lambda w: np.asarray(getattr(counted(w), name)),
            scale,  # type: ignore[arg-type]
            at_limit=lambda own, level: all_right(own, level, name),
        )

    return {name: measured(name) for name in names}


def classification_scores(
    truth: Sequence[bool], told: Sequence[bool], patients: Sequence[str], *, seed: int = 0
) -> dict[str, Score]:
    """Accuracy, precision, recall, specificity and F1 with intervals over patients; parameters as above."""
    return {name: scored(s, patients, seed=seed) for name, s in classification_statistics(truth, told).items()}


def share_score(happened: Sequence[bool], patients: Sequence[str], *, seed: int = 0) -> Score:
    """A share of cases: Clopper and Pearson's interval where each is a patient of its own, else one over patients.

    Parameters
    ----------
    happened, patients
        One per case.
    seed
        Of the bootstrap over patients.
    """
    so = np.asarray(happened, dtype=bool)
    n, n_patients = len(so), len(set(patients))
    if n == 0:
        return Score(float("nan"), float("nan"), float("nan"), 0.95, 0, 0, "1")
    if n == n_patients:
        low, high = exact_interval(int(so.sum()), n)
        return Score(float(so.mean()), low, high, 0.95, n, n, "1", "exact (Clopper and Pearson)")
    share = Measured(
        lambda w: w @ so.astype(float) / w.sum(1),
        "share",
        at_limit=lambda own, level: of_patients(own, level, best=bool(so.all())),
    )
    return scored(share, patients, seed=seed)


def decision_scores(
    truth: Sequence[bool], told: Sequence[bool], patients: Sequence[str], *, seed: int = 0
) -> dict[str, Score]:
    """Accuracy, sensitivity, specificity and precision (`share_score`); F1, MCC and kappa (bootstrap over patients).

    Parameters
    ----------
    truth, told, patients
        One per case.
    seed
        Of the bootstrap.
    """
    is_so, said, whose = np.asarray(truth, dtype=bool), np.asarray(told, dtype=bool), np.asarray(patients, dtype=str)
    further = classification_statistics(truth, told, ("f1", "mcc", "kappa"))
    shares = {
        "accuracy": (is_so == said, np.ones(len(is_so), dtype=bool)),
        "sensitivity": (said, is_so),
        "specificity": (~said, ~is_so),
        "precision": (is_so, said),
    }
    found = {name: share_score(so[of], list(whose[of]), seed=seed) for name, (so, of) in shares.items()}
    return {**found, **{name: scored(s, patients, seed=seed) for name, s in further.items()}}
