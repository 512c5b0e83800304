"""Functions over cases for tests: importable by worker processes."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.cohort import moments
from regard.cohort.moments import State
from regard.cohort.part import Part
from regard.core.errors import FileError
from regard.io.tables import Case

SHAPE = (5, 4, 3)


def cases(n: int) -> list[Case]:
    return [Case(f"case-{k:03d}", {}, {"number": str(k)}) for k in range(n)]


@dataclass(frozen=True)
class Drawn:
    """A map of random numbers for each case; some cases fail, and some end their process."""

    seed: int = 0
    bad: tuple[str, ...] = ()
    deadly: tuple[str, ...] = ()
    once: str | None = None
    shape: tuple[int, int, int] = SHAPE
    seconds: float = 0.0

    def open(self) -> "Drawn":
        return self

    def part(self, case: Case) -> Part:
        if case.case in self.bad:
            raise FileError(f"'{case.case}' is truncated", "a whole file", "copy it again")
        if case.case in self.deadly and self._may_die(case):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        number = int(case.columns["number"])
        values = np.random.default_rng((self.seed, number)).normal(0.1, 1 + number % 5, self.shape)
        values[number % self.shape[0], 0, 0] = np.nan
        return Part(
            moments.leaf({"map": values.astype(np.float32)}), {"case": case.case, "value": float(values[0, 1, 1])}
        )

    def _may_die(self, case: Case) -> bool:
        if self.once is None:
            return True
        mark = Path(self.once) / case.case
        if mark.exists():
            return False
        mark.touch()
        return True

    def combine(self, a: State, b: State) -> State:
        return moments.combine(a, b)
