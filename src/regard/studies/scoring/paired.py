"""Whether one of two classifiers is better on the same cases: McNemar, permutation, and DeLong within a fold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from regard.core.errors import InputError, ShapeError

__all__ = ["AreaDifference", "Discordance", "area_permutation_p", "delong", "mcnemar"]

_ENUMERATED = 13
_SWAPS = 1999


@dataclass(frozen=True)
class Discordance:
    """Cases that one of two classifiers gets right and the other wrong.

    Parameters
    ----------
    first, second
        Cases that only the first, or only the second, gets right.
    p
        Two-sided.
    """

    first: int
    second: int
    p: float


def mcnemar(first_right: Sequence[bool], second_right: Sequence[bool]) -> Discordance:
    """McNemar's test in its exact binomial form; p is 1 where the two never disagree.

    Parameters
    ----------
    first_right, second_right
        Whether each case is told right, one per patient: cases of one patient are not independent.
    """
    a, b = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(f"{a.shape} and {b.shape} answers", "as many of each, (case,)")
    first, second = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(stats.binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return Discordance(first, second, p)


@dataclass(frozen=True)
class AreaDifference:
    """Second area under the ROC curve minus the first.

    Parameters
    ----------
    first, second
        Areas.
    difference, low, high
        With its interval of 95 %. Where it has no variance the bounds are exact: in as many pairs as share no
        patient the two never disagree, and by as much as pairs may all the same, areas may differ.
    p
        Two-sided.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def delong(
    labels: Sequence[bool], first: Sequence[float], second: Sequence[float], patients: Sequence[str]
) -> AreaDifference:
    """Two areas of the same cases by DeLong, DeLong and Clarke-Pearson (Biometrics 1988).

    Only for scores of one network each, so within a fold, and with one image a patient.

    Parameters
    ----------
    labels, first, second, patients
        One per case.

    Raises
    ------
    InputError
        If a patient has several cases, or there are fewer than two ill or two well ones.
    """
    is_so = np.asarray(labels, dtype=bool)
    if len(set(patients)) != len(patients):
        raise InputError(f"{len(patients)} cases of {len(set(patients))} patients", "one case a patient", "take one")
    if min(is_so.sum(), (~is_so).sum()) < 2:
        raise InputError(f"{is_so.sum()} ill and {(~is_so).sum()} well cases", "at least two of each")
    parts, areas = [], []
    for scores in (np.asarray(first, dtype=float), np.asarray(second, dtype=float)):
        ahead = scores[is_so][:, None] - scores[~is_so][None]
        won = (ahead > 0) + 0.5 * (ahead == 0)
        parts.append((won.mean(1), won.mean(0)))
        areas.append(float(won.mean()))
    of_ill, of_well = (parts[1][k] - parts[0][k] for k in (0, 1))
    variance = float(of_ill.var(ddof=1) / len(of_ill) + of_well.var(ddof=1) / len(of_well))
    difference = areas[1] - areas[0]
    if variance <= 1e-15:
        edge = 1 - (0.05 / 2) ** (1 / min(is_so.sum(), (~is_so).sum()))
        low, high = max(difference - edge, -1.0), min(difference + edge, 1.0)
        return AreaDifference(areas[0], areas[1], difference, low, high, 1.0 if difference == 0 else np.nan)
    error = variance**0.5
    half = float(stats.norm.ppf(0.975)) * error
    p = 2 * float(stats.norm.sf(abs(difference) / error))
    return AreaDifference(areas[0], areas[1], difference, difference - half, difference + half, p)


def area_permutation_p(
    labels: Sequence[bool],
    first: Sequence[float],
    second: Sequence[float],
    folds: Sequence[int],
    patients: Sequence[str],
    *,
    seed: int = 0,
) -> float:
    """Two-sided p of the difference of two areas, each with pairs within folds, by swapping patients' scores.

    Scores are ranked within their fold first, as two networks' scales differ; under the null a patient's two ranks may
    as well be exchanged (Bandos, Rockette and Gur 2005). All swaps up to 13 patients, 1999 random ones beyond, with the
    observed one counted.

    Parameters
    ----------
    labels, first, second, folds, patients
        One per case; a patient's cases are swapped together.
    seed
        Of the swaps.
    """
    is_so, where = np.asarray(labels, dtype=bool), np.asarray(folds)
    names, own = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    k = len(names)
    if k <= _ENUMERATED:
        swaps = ((np.arange(2**k)[:, None] >> np.arange(k)) & 1).astype(bool)
    else:
        drawn = np.random.default_rng(seed).random((_SWAPS, k)) < 0.5
        swaps = np.concatenate([np.zeros((1, k), dtype=bool), drawn])
    won, n_pairs = np.zeros(len(swaps)), 0
    for fold in np.unique(where):
        of = where == fold
        ill, n_ill = is_so[of], int(is_so[of].sum())
        ranks = [stats.rankdata(np.asarray(s, dtype=float)[of]) for s in (first, second)]
        swapped = swaps[:, own[of]]
        for sign, (a, b) in ((-1, (0, 1)), (1, (1, 0))):
            ranked = stats.rankdata(np.where(swapped, ranks[b], ranks[a]), axis=1)
            won += sign * (ranked[:, ill].sum(1) - n_ill * (n_ill + 1) / 2)
        n_pairs += n_ill * int((~ill).sum())
    if n_pairs == 0:
        return float("nan")
    return float((np.abs(won) >= abs(won[0]) - 1e-9).mean())
