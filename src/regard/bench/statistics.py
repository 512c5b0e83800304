"""Intervals over networks and patients at once: both were drawn, so both are resampled."""

import numpy as np

from regard.evidence.intervals import FEWEST_CLUSTERS, Interval

__all__ = ["crossed_interval", "resampled_means"]


def resampled_means(values: np.ndarray, networks: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Means of resampled rows and columns.

    Parameters
    ----------
    values
        (network, patient); NaN is undefined and left out.
    networks, patients
        How often each is drawn, (draw, network) and (draw, patient).

    Returns
    -------
    numpy.ndarray
        (draw,); NaN where no defined value was drawn.
    """
    defined = np.isfinite(values).astype(float)
    total = np.einsum("dn,np,dp->d", networks, np.where(defined > 0, values, 0.0), patients, optimize=True)
    count = np.einsum("dn,np,dp->d", networks, defined, patients, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: np.ndarray = np.where(count > 0, total / count, np.nan)
    return means


def crossed_interval(values: np.ndarray, *, level: float = 0.95, n_draws: int = 2000, seed: int = 0) -> Interval:
    """Mean of (network, patient) with the percentile interval of a crossed bootstrap.

    Networks and patients are drawn with replacement, each by themselves, and every draw takes the mean of the rows and
    columns drawn (Owen, Annals of Applied Statistics 2007: the pigeonhole bootstrap, which errs to the wide side). One
    network is not resampled: the interval is then for that network.

    Parameters
    ----------
    values
        (network, patient); NaN is undefined and left out.
    level, n_draws, seed
        Of the interval and its draws.

    Returns
    -------
    Interval
        ``n`` counts patients; no bounds with fewer than 10.
    """
    values = np.asarray(values, dtype=float)
    n_networks, n_patients = values.shape
    kept = int(np.isfinite(values).any(0).sum())
    value = float(np.nanmean(values)) if kept else float("nan")
    if kept < FEWEST_CLUSTERS or np.nanmax(values) == np.nanmin(values):
        return Interval(value, float("nan"), float("nan"), level, kept)
    random = np.random.default_rng(seed)
    networks = random.multinomial(n_networks, [1 / n_networks] * n_networks, n_draws)
    patients = random.multinomial(n_patients, [1 / n_patients] * n_patients, n_draws)
    means = resampled_means(values, networks, patients)
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, kept)
