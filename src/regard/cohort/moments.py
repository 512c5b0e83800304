"""Count, mean and spread of every voxel over cases, so combined that the order of the work leaves no trace.

A state is a mapping of ``"<map>.n"``, ``"<map>.mean"`` and ``"<map>.m2"`` to arrays (i, j, k). Two states are joined by
the pairwise update of Chan, Golub and LeVeque (1983), equations 2.1a and 2.1b, in float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Moments", "State", "combine", "leaf", "map_of", "moments_of", "names_in"]

State = Mapping[str, np.ndarray]
"""Named arrays; nothing in it depends on when or where it was made."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of every voxel over the cases.

    Parameters
    ----------
    n
        Cases that saw the voxel, (i, j, k).
    mean
        Their mean, (i, j, k); NaN where there is none.
    m2
        Sum of squared distances from the mean, (i, j, k).
    """

    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviation over cases (n - 1); NaN below two cases."""
        return np.sqrt(np.where(self.n > 1, self.m2, np.nan) / np.maximum(self.n - 1, 1))

    @property
    def t(self) -> np.ndarray:
        """Mean over its standard error, against zero; NaN below two cases and without spread."""
        error = self.std / np.sqrt(np.maximum(self.n, 1))
        return np.divide(self.mean, error, out=np.full(self.mean.shape, np.nan), where=error > 0)


def leaf(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state of one case: its maps (i, j, k), NaN where nothing was seen."""
    found: dict[str, np.ndarray] = {}
    for name, values in maps.items():
        seen = np.isfinite(values)
        found[f"{name}.n"] = seen.astype(np.int32)
        found[f"{name}.mean"] = np.where(seen, values, 0).astype(np.float32)
    return found


def map_of(state: State, name: str) -> np.ndarray:
    """The map (i, j, k), float32, that a case's state holds."""
    return np.where(state[f"{name}.n"] > 0, state[f"{name}.mean"], np.float32(np.nan))


def names_in(state: State) -> list[str]:
    """Names of the maps in a state."""
    return [key.removesuffix(".mean") for key in state if key.endswith(".mean")]


def combine(a: State, b: State) -> dict[str, np.ndarray]:
    """Join the states of two sets of cases, of which ``a`` comes first in the table."""
    found: dict[str, np.ndarray] = {}
    names = names_in(a)
    for name in [*names, *(n for n in names_in(b) if n not in names)]:
        keys = [f"{name}.{part}" for part in ("n", "mean", "m2")]
        if keys[1] not in a or keys[1] not in b:
            only = a if keys[1] in a else b
            found |= {key: only[key] for key in keys if key in only}
            continue
        n_a, n_b = a[keys[0]], b[keys[0]]
        mean_a, mean_b = a[keys[1]].astype(np.float64), b[keys[1]].astype(np.float64)
        total = n_a + n_b
        share = n_b / np.maximum(total, 1)
        apart = np.where((n_a > 0) & (n_b > 0), mean_b - mean_a, 0.0)
        mean = np.where(n_a > 0, mean_a + apart * share, mean_b)
        m2 = apart * apart * (n_a * share)
        for part in (a, b):
            if keys[2] in part:
                m2 = m2 + part[keys[2]]
        found |= dict(zip(keys, (total, mean, m2), strict=True))
    return found


def moments_of(state: State, name: str) -> Moments:
    """Moments of one map of a state."""
    n = state[f"{name}.n"]
    mean = state[f"{name}.mean"].astype(np.float64)
    m2 = state.get(f"{name}.m2")
    return Moments(n, np.where(n > 0, mean, np.nan), np.zeros_like(mean) if m2 is None else m2)
