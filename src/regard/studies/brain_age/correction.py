"""The age gap and its correction, and why no accuracy is quoted of what was corrected.

A predictor regresses to the mean age: the old are read too young. A line through prediction against age, fitted on
other subjects, takes that out of the *gap*. Taking it out uses the true age, so that correlation and error of a
corrected "prediction" say nothing of the predictor: even one that knows nothing becomes perfect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import InputError, ShapeError
from regard.studies.scoring.bootstrap import Score
from regard.studies.scoring.regression import regression_scores

__all__ = ["Predicted", "accuracy", "corrected"]


@dataclass(frozen=True, eq=False)
class Predicted:
    """Ages that were predicted.

    Parameters
    ----------
    values
        [year], (case,).
    used_age
        Whether the subjects' own ages went into them.
    """

    values: np.ndarray
    used_age: bool = False

    def gap(self, ages: np.ndarray) -> np.ndarray:
        """Predicted minus true age [year], (case,)."""
        found: np.ndarray = self.values - ages
        return found


def corrected(predicted: Predicted, ages: np.ndarray, *, fitted: Predicted, fitted_ages: np.ndarray) -> Predicted:
    """Predictions without their regression to the mean: for the age gap only.

    With fitted = a + b age on other subjects, (predicted - a - b age) + age (de Lange and Cole, NeuroImage: Clinical
    2020).

    Parameters
    ----------
    predicted, ages
        Of the subjects to correct [year], (case,).
    fitted, fitted_ages
        Of the subjects that the line is fitted on.

    Raises
    ------
    ShapeError
        If there is not one age for each prediction.
    InputError
        If the predictions are corrected already, or fewer than three subjects are fitted on.
    """
    if predicted.values.shape != ages.shape or fitted.values.shape != fitted_ages.shape:
        raise ShapeError(f"{predicted.values.shape} predictions and {ages.shape} ages", "as many of each")
    if predicted.used_age or fitted.used_age:
        raise InputError("predictions that are corrected already", "uncorrected ones")
    if len(fitted_ages) < 3 or np.ptp(fitted_ages) == 0:
        raise InputError(f"{len(fitted_ages)} subjects to fit the correction on", "at least three, of different ages")
    slope, constant = np.polyfit(fitted_ages, fitted.values, 1)
    return Predicted(predicted.values - (constant + slope * ages) + ages, used_age=True)


def accuracy(predicted: Predicted, ages: np.ndarray, patients: Sequence[str]) -> dict[str, Score]:
    """Correlation and errors of predictions [year], with intervals over patients.

    Raises
    ------
    InputError
        If the ages went into the predictions: what is left of their error is no accuracy.
    """
    if predicted.used_age:
        raise InputError(
            "accuracy of predictions that were corrected with the true age",
            "uncorrected predictions",
            "use the correction for the age gap only",
        )
    return regression_scores(list(ages), list(predicted.values), patients, unit="year")
