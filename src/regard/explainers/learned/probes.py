"""What noise does to an output, estimated from a few draws, with the error of the estimate."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Change", "estimate_change"]


@dataclass(frozen=True)
class Change:
    """Change of a number under noise: its mean and its mean square, with the standard errors of both.

    Parameters
    ----------
    mean, mean_error
        In the number's unit.
    mean_square, mean_square_error
        In its square.
    n_draws
        Draws that they rest on.
    """

    mean: float
    mean_error: float
    mean_square: float
    mean_square_error: float
    n_draws: int

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return math.sqrt(self.mean_square)

    @property
    def rms_error(self) -> float:
        """Standard error of the root, by the first derivative; where the root is 0, the root of the square's."""
        return self.mean_square_error / (2 * self.rms) if self.rms > 0 else math.sqrt(self.mean_square_error)


def _mean_beside(values: Tensor, control: Tensor | None) -> tuple[float, float]:
    """Mean of ``values`` (n,) and its standard error, freed of what a control of mean 0 (n,) explains of them."""
    n, mean = len(values), values.mean()
    left, free = values - mean, n - 1
    if control is not None and bool(control.square().sum() > 0):
        off = control - control.mean()
        size = off.square().sum()
        slope = (off * left).sum() / size if bool(size > 0) else torch.zeros_like(mean)
        mean, left, free = mean - slope * control.mean(), left - slope * off, n - 2
    error = (left.square().sum() / max(1, free) / n).sqrt()
    return float(mean), float(error) if free > 0 else math.inf


def estimate_change(changes: Tensor, linear: Tensor | None = None, expected: Tensor | None = None) -> Change:
    """Mean and mean square of the changes of an output under noise.

    Parameters
    ----------
    changes
        f(x + noise) - f(x) in each draw, (n,), float64.
    linear
        What the derivative at x says of the same draws, g . noise, (n,): of mean 0 for noise of mean 0.
    expected
        Expectation of its square, g . C g with C the noise's covariance, (n,).

    Returns
    -------
    Change
        Exact for a linear output from three draws; otherwise the less noisy the more of the change is linear.

    Notes
    -----
    Regression on a control whose expectation is known (control variates; Owen 2013, Monte Carlo theory, methods and
    examples, section 8.9): linear for the mean, its square minus its expectation for the mean square. The regression's
    own bias is of the order of 1 / n and within the error that is stated.
    """
    square_control = None if linear is None or expected is None else linear.square() - expected
    mean, mean_error = _mean_beside(changes, linear)
    square, square_error = _mean_beside(changes.square(), square_control)
    if square < 0:
        square, square_error = _mean_beside(changes.square(), None)
    return Change(mean, mean_error, square, square_error, len(changes))
