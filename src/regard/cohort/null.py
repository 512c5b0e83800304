"""What a map would look like if the network had learned nothing, or looked anywhere: the null map of each case.

An unsigned map is above zero everywhere, so that against zero every region would be significant. Regions are therefore
tested on each patient's difference to a null map of the same case: the map of a copy of the network whose weights are
drawn anew (each case has a copy of its own), a surrogate with the map's own values and smoothness at places that
chance chose, or the maps of networks that were retrained on shuffled labels, among which the network is ranked
(`regard.cohort.retrained`).
"""

from typing import Literal, TypeAlias

import numpy as np
import torch

from regard.core import randomness

__all__ = ["Null", "masked_surrogate"]

Null: TypeAlias = Literal["randomised", "surrogate", "retrained", "none"]
"""Which null map a case has."""

_ROUNDS = 4


def masked_surrogate(values: np.ndarray, *, seed: int, case: str, n_rounds: int = _ROUNDS) -> np.ndarray:
    """A map with the values and nearly the spectrum of another, at places that chance chose among those that were seen.

    As `regard.evidence.controls.surrogate` (Schreiber and Schmitz 1996), with what the network never saw left alone:
    inside the seen voxels the values are exactly the map's own, so that sums and shares over all of them are too.

    Parameters
    ----------
    values
        Map (i, j, k), NaN where nothing was seen.
    seed, case
        Key of the phases.
    n_rounds
        Alternations between spectrum and values.
    """
    seen = np.isfinite(values)
    own = values[seen].astype(np.float64)
    if not len(own):
        return values
    ordered, middle = np.sort(own), float(own.mean())
    amplitudes = np.abs(np.fft.rfftn(np.where(seen, np.nan_to_num(values), middle) - middle))
    like = torch.zeros(values.shape, dtype=torch.float64)
    drawn = randomness.normal(like, seed, case, "null").numpy()
    for _ in range(n_rounds):
        phases = np.angle(np.fft.rfftn(drawn))
        shaped = np.fft.irfftn(amplitudes * np.exp(1j * phases), s=values.shape, axes=range(values.ndim))
        ranked = np.empty_like(own)
        ranked[np.argsort(shaped[seen], kind="stable")] = ordered - middle
        drawn = np.zeros(values.shape)
        drawn[seen] = ranked
    return np.where(seen, drawn + middle, np.nan).astype(np.float32)
