"""Intervals over networks and patients at once: both were drawn, so both are resampled."""

import numpy as np

from regard.evidence.intervals import FEWEST_CLUSTERS, Interval, mean_interval

__all__ = ["FEWEST_NETWORKS", "crossed_error", "crossed_interval", "resampled"]

FEWEST_NETWORKS = 5
"""Below this number of networks intervals are over patients only, and of these networks."""


def resampled(n_networks: int) -> str:
    """What the intervals of this many networks are over, in words."""
    return "networks and patients resampled" if n_networks >= FEWEST_NETWORKS else "patients resampled, these networks"


def crossed_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over networks and patients, both drawn at random.

    From the mean squares of the two-way layout with one value a cell: the variance between networks' means over their
    number, plus that between patients' means over theirs, minus that of the interaction, which is in both; at least the
    larger of the first two.

    Parameters
    ----------
    values
        (..., network, patient), at least two of each, all defined.

    Returns
    -------
    numpy.ndarray
        (...,).
    """
    n_networks, n_patients = values.shape[-2:]
    rows, columns, mean = values.mean(-1), values.mean(-2), values.mean((-2, -1))
    networks = np.square(rows - mean[..., None]).sum(-1) / (n_networks - 1) / n_networks
    patients = np.square(columns - mean[..., None]).sum(-1) / (n_patients - 1) / n_patients
    left = values - rows[..., None] - columns[..., None, :] + mean[..., None, None]
    interaction = np.square(left).sum((-2, -1)) / ((n_networks - 1) * (n_patients - 1)) / (n_networks * n_patients)
    found: np.ndarray = np.sqrt(np.maximum(networks + patients - interaction, np.maximum(networks, patients)))
    return found


def crossed_interval(values: np.ndarray, *, level: float = 0.95, n_draws: int = 999, seed: int = 0) -> Interval:
    """Mean of (network, patient) with the studentised interval of a crossed bootstrap.

    Networks and patients are drawn with replacement, each by themselves (Owen, Annals of Applied Statistics 2007: the
    pigeonhole bootstrap), and each draw's mean is divided by an error of its own (`crossed_error`): the quantiles of
    the means alone are too narrow for few networks. Of fewer than `FEWEST_NETWORKS` no interval for new networks can be
    had; there only patients are drawn, and the interval is of these networks.

    Parameters
    ----------
    values
        (network, patient); NaN is undefined and left out. The bounds rest on the patients that no network left out.
    level, n_draws, seed
        Of the interval and its draws.

    Returns
    -------
    Interval
        ``n`` counts patients; no bounds with fewer than 10.
    """
    values = np.asarray(values, dtype=float)
    defined = np.isfinite(values)
    kept = int(defined.any(0).sum())
    value = float(values[defined].mean()) if kept else float("nan")
    whole = values[:, defined.all(0)]
    if whole.shape[1] < FEWEST_CLUSTERS or np.ptp(whole) == 0:
        return Interval(value, float("nan"), float("nan"), level, kept)
    n_networks, n_patients = whole.shape
    if n_networks < FEWEST_NETWORKS:
        found = mean_interval(list(whole.mean(0)), level=level, seed=seed)
        return Interval(value, found.low, found.high, level, kept)
    random = np.random.default_rng(seed)
    networks = random.integers(0, n_networks, (n_draws, n_networks))
    patients = random.integers(0, n_patients, (n_draws, n_patients))
    drawn = whole[networks[:, :, None], patients[:, None, :]]
    mean, error, errors = whole.mean(), float(crossed_error(whole)), crossed_error(drawn)
    usable = errors > 1e-12 * np.ptp(whole)
    tails = [(1 - level) / 2, (1 + level) / 2]
    if usable.mean() < 0.9:
        # Values that tie so often that many draws have no spread.
        low, high = np.quantile(drawn.mean((1, 2)), tails)
        return Interval(value, float(low), float(high), level, kept)
    lower, upper = np.quantile((drawn.mean((1, 2))[usable] - mean) / errors[usable], tails)
    return Interval(value, float(mean - upper * error), float(mean - lower * error), level, kept)
