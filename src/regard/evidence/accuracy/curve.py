"""What a fitted bivariate model draws: regions of the pooled point and of a new study, and the summary curve."""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from regard.core.errors import InputError
from regard.evidence.accuracy.bivariate import Fit
from regard.evidence.accuracy.tables import Floats, Tables

__all__ = ["HSROC", "area", "hsroc", "inside", "moses_littenberg", "region"]

_POINTS = 240


def _radius(fit: Fit, level: float) -> float:
    """How many standard deviations out a region of two dimensions reaches, by F with n - 2 degrees of freedom."""
    return float(np.sqrt(2 * stats.f.ppf(level, 2, max(1, fit.n - 2))))


def _shape(fit: Fit, *, of_new_study: bool) -> Floats:
    covariance = fit.covariance[:2, :2]
    return np.asarray(covariance + fit.between if of_new_study else covariance)


def region(fit: Fit, *, of_new_study: bool = False, level: float = 0.95) -> Floats:
    """Border of the region of the pooled point, or of a new study's own point: an ellipse of logits.

    Returns
    -------
    ndarray
        False positive rate and sensitivity along the border, (point, 2).

    Raises
    ------
    InputError
        If the fit ended at a correlation of 1 or -1, where no ellipse has a meaning.

    Notes
    -----
    Harbord et al. 2007, Biostatistics 8(2), with the quantile of F of Chew 1966, JASA 61(315).
    """
    if fit.at_boundary:
        got = f"a correlation of {fit.correlation:.3f} between studies"
        raise InputError(got, "one within -1 and 1", "report the pooled values, and draw no region")
    angle = np.linspace(0, 2 * np.pi, _POINTS)
    root = np.linalg.cholesky(_shape(fit, of_new_study=of_new_study))
    logits = fit.effects[:2] + _radius(fit, level) * np.stack([np.cos(angle), np.sin(angle)], 1) @ root.T
    return np.asarray(special.expit(logits)[:, ::-1])


def inside(fit: Fit, logits: Floats, *, of_new_study: bool = False, level: float = 0.95) -> bool:
    """Whether a point of logits (sensitivity, false positive rate) lies in a region."""
    off = np.asarray(logits) - fit.effects[:2]
    square = off @ np.linalg.solve(_shape(fit, of_new_study=of_new_study) + 1e-12 * np.eye(2), off)
    return bool(square <= _radius(fit, level) ** 2)


@dataclass(frozen=True)
class HSROC:
    """The bivariate model in the parameters of the hierarchical summary ROC model.

    Parameters
    ----------
    accuracy, threshold
        Lambda and Theta.
    shape
        beta: 0 where the curve is symmetrical.
    variance_accuracy, variance_threshold
        Between studies.
    """

    accuracy: float
    threshold: float
    shape: float
    variance_accuracy: float
    variance_threshold: float

    def sensitivity(self, false_positive_rate: Floats) -> Floats:
        """The summary curve, by Rutter and Gatsonis."""
        at = special.logit(false_positive_rate)
        return np.asarray(special.expit(self.accuracy * np.exp(-self.shape / 2) + np.exp(-self.shape) * at))


def hsroc(fit: Fit) -> HSROC:
    """The parameters of the hierarchical model that a fit without covariates is equal to.

    Notes
    -----
    Harbord et al. 2007, eqs. 3 to 7, for logits of sensitivity (A) and of the false positive rate (B).
    """
    (a, b), mean = np.maximum(fit.deviations, 1e-6), fit.effects[:2]
    covariance = float(fit.between[0, 1])
    return HSROC(
        accuracy=float(np.sqrt(b / a) * mean[0] - np.sqrt(a / b) * mean[1]),
        threshold=float(0.5 * (np.sqrt(b / a) * mean[0] + np.sqrt(a / b) * mean[1])),
        shape=float(np.log(b / a)),
        variance_accuracy=2 * (a * b - covariance),
        variance_threshold=0.5 * (a * b + covariance),
    )


def area(curve: HSROC, low: float = 0.0, high: float = 1.0) -> float:
    """Area below the summary curve between two false positive rates, divided by their distance."""
    ends = np.linspace(max(low, 1e-9), min(high, 1 - 1e-9), 4001)
    return float(np.trapezoid(curve.sensitivity(ends), ends) / (ends[-1] - ends[0]))


def moses_littenberg(tables: Tables) -> tuple[float, float]:
    """Intercept and slope of the log odds ratio on the logits' sum, by least squares that weigh all studies alike.

    It takes counts for exact and knows no spread between studies: shown beside the bivariate model as what was usual.

    Notes
    -----
    Moses, Shapiro and Littenberg 1993, Stat Med 12(14).
    """
    sensitivity, false_positive = tables.logits.T
    slope, intercept = np.polyfit(sensitivity + false_positive, sensitivity - false_positive, 1)
    return float(intercept), float(slope)
