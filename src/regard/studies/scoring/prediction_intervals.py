"""Intervals for one patient's number: from an ensemble's spread, and split-conformal."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from regard.core.errors import ShapeError

__all__ = ["conformal_margin", "ensemble_margin", "normalised_margin"]


def _checked(errors: Sequence[float], patients: Sequence[str] | None) -> np.ndarray:
    """Largest |error| of each patient: patients are exchangeable, their slices are not."""
    sizes = np.abs(np.asarray(errors, dtype=float))
    if sizes.ndim != 1 or not len(sizes) or (patients is not None and len(patients) != len(sizes)):
        got = f"{sizes.shape} errors" + ("" if patients is None else f" of {len(patients)} patients")
        raise ShapeError(got, "at least one, (case,)")
    if patients is None:
        return sizes
    return np.array([sizes[[p == name for p in patients]].max() for name in dict.fromkeys(patients)])


def conformal_margin(errors: Sequence[float], patients: Sequence[str] | None = None, *, level: float = 0.9) -> float:
    """Half width of the split-conformal interval: f(x) plus and minus it covers the label at the level.

    The ceil((n + 1) level)-th smallest of the calibration errors' sizes (Vovk et al. 2005; Lei et al. 2018). Valid for
    whatever network, if calibration and test patients are exchangeable; infinite where there are too few for the level.

    Parameters
    ----------
    errors
        Predicted minus label on cases that neither trained nor chose the network, (case,).
    patients
        Whose case each is: then a patient's largest error counts, which is exchangeable between patients and, with
        several cases each, cautious.
    level
        Share of the labels to cover.
    """
    sizes = np.sort(_checked(errors, patients))
    rank = math.ceil((len(sizes) + 1) * level)
    return float(sizes[rank - 1]) if rank <= len(sizes) else float("inf")


def normalised_margin(
    errors: Sequence[float], spreads: Sequence[float], patients: Sequence[str] | None = None, *, level: float = 0.9
) -> float:
    """As `conformal_margin`, in multiples of each case's own spread (locally weighted conformal, Lei et al. 2018)."""
    ratios = np.asarray(errors, dtype=float) / np.maximum(np.asarray(spreads, dtype=float), 1e-12)
    return conformal_margin(list(ratios), patients, level=level)


def ensemble_margin(members: np.ndarray, *, level: float = 0.9) -> np.ndarray:
    """Half width by the spread of an ensemble's members alone, Student's t for a further member.

    It knows what the members disagree on, and neither the label's noise nor an error they share: it covers less than it
    says, which the study measures.

    Parameters
    ----------
    members
        Predictions (member, case), at least two members.
    level
        Share that it claims.
    """
    n = len(members)
    if members.ndim != 2 or n < 2:
        raise ShapeError(f"predictions of shape {members.shape}", "(member, case) with at least two members")
    quantile = float(stats.t.ppf((1 + level) / 2, n - 1))
    found: np.ndarray = quantile * members.std(0, ddof=1) * math.sqrt(1 + 1 / n)
    return found
