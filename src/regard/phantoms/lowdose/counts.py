"""Photons and electronics: the noise of a line integral, and what counts of zero do to it."""

import math

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = ["FLOOR", "log_bias", "measure", "variance"]

FLOOR = 1.0
"""Fewest photons that a reading counts for: lower and negative readings are raised to it before the logarithm."""


def variance(line_integrals: Tensor, photons: Tensor | float, electronic: float) -> Tensor:
    """Variance of a measured line integral p: ``(e^p / N0) (1 + s_e^2 e^p / N0)``.

    Parameters
    ----------
    line_integrals
        p, of any shape.
    photons
        N0 of each ray, with nothing in its way.
    electronic
        Standard deviation s_e of the electronics [photons].
    """
    inverse = line_integrals.exp() / photons
    return inverse * (1 + electronic**2 * inverse)


def measure(
    line_integrals: Tensor,
    photons: Tensor | float,
    electronic: float,
    generator: torch.Generator | None = None,
    *,
    floor: float = FLOOR,
) -> Tensor:
    """Line integrals as measured: Poisson counts and electronic noise, then the logarithm.

    Readings below ``floor`` photons are raised to it. That biases the thickest paths downwards (`log_bias`).

    Parameters
    ----------
    line_integrals
        p (batch, 1, view, detector).
    photons
        N0 of each ray, one number or a tensor that broadcasts.
    electronic
        Standard deviation of the electronics [photons].
    generator
        On the CPU, where all numbers are drawn.
    floor
        Fewest photons.

    Raises
    ------
    InputError
        If photons, electronic noise or the floor are not usable.
    """
    n0 = torch.as_tensor(photons, dtype=torch.float64).cpu()
    if not (bool((n0 > 0).all()) and electronic >= 0 and floor > 0):
        got = f"{float(n0.min()):g} photons, electronics of {electronic:g}, a floor of {floor:g}"
        raise InputError(got, "photons and a floor above 0")
    mean = n0 * torch.exp(-line_integrals.detach().double().cpu())
    counts = torch.poisson(mean, generator=generator)
    counts = counts + electronic * torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    return torch.log(n0 / counts.clamp_min(floor)).to(line_integrals)


def log_bias(mean_count: float, electronic: float, *, floor: float = FLOOR) -> tuple[float, float]:
    """Bias of a measured line integral, and its variance over that of `variance`, at a mean count.

    Summed over all counts, with the electronics by Gauss-Hermite quadrature.

    Returns
    -------
    bias
        Mean of the measured minus the true line integral: positive for few photons, as the logarithm is concave, and
        negative where most readings are raised to the floor.
    ratio
        Variance over ``(1 / n) (1 + s_e^2 / n)``.
    """
    reach = 12 * math.sqrt(mean_count) + 30
    count = np.arange(max(0, math.floor(mean_count - reach)), math.ceil(mean_count + reach) + 1)
    logs = torch.lgamma(torch.as_tensor(count + 1.0, dtype=torch.float64)).numpy()
    share = np.exp(count * math.log(mean_count) - mean_count - logs)
    node, weight = np.polynomial.hermite_e.hermegauss(61)
    weight = weight / weight.sum()
    values = np.log(mean_count / np.maximum(count[:, None] + electronic * node, floor))
    first = float(share @ values @ weight)
    second = float(share @ values**2 @ weight)
    expected = (1 + electronic**2 / mean_count) / mean_count
    return first, (second - first**2) / expected
