"""Drawing no further surrogates of a map whose verdict they cannot change."""

from collections.abc import Mapping, Sequence

import numpy as np

from regard.evidence.measure import Direction

__all__ = ["Curtailment"]


class Curtailment:
    """Whether the surrogates that are still to be drawn could change the verdict of one map of one patient.

    The p-value of a rank among N surrogates is (1 + those at least as good) / (1 + N), and can only grow while they are
    drawn. Once it must end above its threshold the map cannot be supported; once the same holds of the p-value that it
    is worse, it cannot be refuted either, and the word is *undetermined* whatever the rest would be. Stopping then
    changes no verdict (Besag and Clifford, Biometrika 1991, stop at such counts too). What was counted gives
    (1 + those at least as good) / (1 + drawn).

    Parameters
    ----------
    better
        Measures of which one has to show the map better than surrogates: own value and direction, by name.
    worse
        Those of which none may show it worse.
    n_draws
        Surrogates that are to be drawn.
    threshold
        Largest p that counts.
    """

    def __init__(
        self,
        better: Mapping[str, tuple[float, Direction]],
        worse: Mapping[str, tuple[float, Direction]],
        n_draws: int,
        threshold: float,
    ) -> None:
        self._better, self._worse = better, worse
        # The smallest count whose p is above the threshold.
        self._least = int(np.floor(threshold * (1 + n_draws) + 1e-9))

    def decided(self, drawn: Mapping[str, Sequence[float]]) -> bool:
        """Whether the figures of the surrogates that were drawn, by measure, leave nothing open."""
        if not self._better or not {*self._better, *self._worse} <= set(drawn):
            return False
        return all(self._as_good(drawn[m], *own, 1.0) for m, own in self._better.items()) and all(
            self._as_good(drawn[m], *own, -1.0) for m, own in self._worse.items()
        )

    def _as_good(self, drawn: Sequence[float], value: float, direction: Direction, way: float) -> bool:
        sign = way if direction == "higher" else -way
        return bool((sign * np.asarray(drawn) >= sign * value).sum() >= self._least)
