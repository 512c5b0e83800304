"""How long a weighing takes, from one of each kind of work."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from regard.evidence.measure import AbstractMeasure, Exhibit

__all__ = ["Forecast", "Stopwatch", "measure_all"]


@dataclass(frozen=True)
class Forecast:
    """How long weighing takes.

    Parameters
    ----------
    this, other
        Seconds that this case still takes, and that each other takes; where surrogates may be left out
        (`regard.evidence.weigh.Plan.curtail`), at most.
    """

    this: float
    other: float


class Stopwatch:
    """Seconds since it was last read."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def read(self) -> float:
        """Seconds since it was made or last read."""
        before, self._since = self._since, time.perf_counter()
        return self._since - before


def measure_all(measures: Iterable[AbstractMeasure], exhibit: Exhibit) -> None:
    """Measure a map for the time that it takes."""
    for measure in measures:
        measure.measure(exhibit)
