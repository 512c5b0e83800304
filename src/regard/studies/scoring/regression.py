"""How well numbers are measured: correlation, errors, agreement and calibration."""

from collections.abc import Sequence

import numpy as np

from regard.core.errors import ShapeError
from regard.studies.scoring.bootstrap import Score, Statistic, scored
from regard.studies.scoring.studentised import Measured

__all__ = ["regression_scores", "regression_statistics"]


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    found: np.ndarray = weights @ values / weights.sum(1)
    return found


def _moments(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances of x and of y, and their covariance, per sample."""
    mx, my = _mean(weights, x), _mean(weights, y)
    # Centred by the plain mean first: the difference of two large squares would lose digits.
    cx, cy = x - x.mean(), y - y.mean()
    mx, my = mx - x.mean(), my - y.mean()
    return (
        _mean(weights, cx * cx) - mx * mx,
        _mean(weights, cy * cy) - my * my,
        _mean(weights, cx * cy) - mx * my,
    )


def regression_statistics(labels: Sequence[float], predicted: Sequence[float]) -> dict[str, tuple[Statistic, bool]]:
    """The statistics by name, and whether each has the label's unit.

    ``pearson_r``; ``mae``, ``rmse``; ``mape`` (in %, cases with a label of 0 left out); ``bias`` and the 95 %
    limits of agreement ``loa_low``, ``loa_high`` of predicted minus label (Bland and Altman 1986, n - 1 in the standard
    deviation); ``slope``, of the predicted on the label: 1 is calibrated, below 1 the predictions regress to the mean.

    Parameters
    ----------
    labels, predicted
        (case,), in one unit.

    Raises
    ------
    ShapeError
        If their numbers differ.
    """
    y, f = np.asarray(labels, dtype=float), np.asarray(predicted, dtype=float)
    if y.shape != f.shape or y.ndim != 1:
        raise ShapeError(f"{y.shape} labels and {f.shape} predictions", "as many of each, (case,)")
    error = f - y

    def pearson(w: np.ndarray) -> np.ndarray:
        vy, vf, both = _moments(w, y, f)
        with np.errstate(all="ignore"):
            found: np.ndarray = np.where((vy > 0) & (vf > 1e-15 * (1 + f.mean() ** 2)), both / np.sqrt(vy * vf), np.nan)
        return found

    def slope(w: np.ndarray) -> np.ndarray:
        vy, _, both = _moments(w, y, f)
        found: np.ndarray = both / vy if np.ptp(f) > 0 else np.zeros(len(w))
        return found

    def limit(sign: float) -> Statistic:
        def limit_of_agreement(w: np.ndarray) -> np.ndarray:
            n, middle = w.sum(1), _mean(w, error)
            spread = np.sqrt(np.maximum(_mean(w, error**2) - middle**2, 0) * n / (n - 1))
            return middle + sign * 1.96 * spread

        return limit_of_agreement

    # Of a label of 0 there is no relative error.
    measured = y != 0
    relative = np.where(measured, 100 * np.abs(error / np.where(measured, y, 1.0)), 0.0)

    def mape(w: np.ndarray) -> np.ndarray:
        known = w[:, measured].sum(1)
        shares: np.ndarray = np.divide(w @ relative, known, out=np.full(len(w), np.nan), where=known > 0)
        return shares

    return {
        "pearson_r": (Measured(pearson, "correlation"), False),
        "mae": (Measured(lambda w: _mean(w, np.abs(error)), "positive"), True),
        "rmse": (Measured(lambda w: np.sqrt(_mean(w, error**2)), "square"), True),
        "mape": (Measured(mape, "positive"), False),
        "bias": (lambda w: _mean(w, error), True),
        "loa_low": (limit(-1.0), True),
        "loa_high": (limit(1.0), True),
        "slope": (slope, False),
    }


def regression_scores(
    labels: Sequence[float], predicted: Sequence[float], patients: Sequence[str], *, unit: str, seed: int = 0
) -> dict[str, Score]:
    """All statistics of `regression_statistics`, with intervals over patients.

    Parameters
    ----------
    labels, predicted
        (case,).
    patients
        Whose case each is.
    unit
        Of the labels.
    seed
        Of the bootstrap.
    """
    return {
        name: scored(statistic, patients, "%" if name == "mape" else unit if own else "1", seed=seed)
        for name, (statistic, own) in regression_statistics(labels, predicted).items()
    }
