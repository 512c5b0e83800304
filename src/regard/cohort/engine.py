"""The loop over cases: what is done is kept, what failed is told, and running again goes on.

There are two loops in Regard. `regard.core.batching.run` is the one over the tensors of a case; this is the other.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from regard.cohort.backends import Backend
from regard.cohort.moments import State
from regard.cohort.part import Failed, Function
from regard.cohort.tree import Tree
from regard.core.errors import FileError
from regard.io.atomic import plain, write_json
from regard.io.schema import read_json
from regard.io.tables import Case

__all__ = ["CHUNK", "Cohort", "Done", "forecast", "run_cases"]

logger = logging.getLogger(__name__)

CHUNK = 16
"""Rows of the table that go to the disk together, and stand together in ``maps.zarr``."""

FLUSH_SECONDS = 30.0
"""Work is at most this old before it goes to the disk, where cases take long."""

Progress = Callable[[str, int, int], None]


class Store(Protocol):
    """Where the maps of single cases are kept."""

    def put(self, row: int, state: State) -> None:
        """Take the maps of one case."""
        ...

    def flush(self) -> None:
        """Bring what was taken to the disk."""
        ...


@dataclass(frozen=True, eq=False)
class Cohort:
    """What came of all cases.

    Parameters
    ----------
    state
        The joined state of the cases that were done.
    rows
        What was kept of each case, by row of the table.
    failures
        Failed cases, by row of the table.
    """

    state: State
    rows: Mapping[int, Mapping[str, Any]]
    failures: Mapping[int, Failed]


@dataclass
class Done:
    """The part of a cohort that is on the disk, and what is to follow it.

    Parameters
    ----------
    folder
        Of the checkpoints.
    function
        What is done with each case.
    store
        Where the maps of single cases go, or None.
    """

    folder: Path
    function: Function
    store: Store | None = None
    tree: Tree = field(init=False)
    rows: dict[int, Mapping[str, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tree = Tree(self.folder, self.function.combine)
        done = self.tree.done()
        self._files = sorted(self.folder.glob("rows-*.json"))
        for path in self._files:
            said = read_json(path, "rows")["rows"]
            self.rows |= {int(row): values for row, values in said.items() if int(row) in done}
        lacking = done - set(self.rows)
        if lacking:
            got = f"checkpoints in '{self.folder}' without the rows of {len(lacking)} cases"
            raise FileError(got, "both", "run again with --overwrite")
        self._number = 1 + max((int(p.stem.partition("-")[2]) for p in self._files), default=-1)
        self._fresh: dict[int, Mapping[str, Any]] = {}
        self._last = time.monotonic()

    def add(self, row: int, state: State, values: Mapping[str, Any]) -> None:
        """Take the result of one case; it is on the disk after the next `flush`."""
        if self.store is not None:
            self.store.put(row, state)
        self.tree.add(row, state)
        # As it will be read again, so that a run that was cut off and one that was not hold the same.
        self._fresh[row] = json.loads(json.dumps(plain(values)))

    def flush_when_due(self) -> None:
        """Go to the disk after a chunk of cases, or after a while."""
        if len(self._fresh) >= CHUNK or time.monotonic() - self._last > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring everything to the disk: maps, then rows, and the states last, which say what is done."""
        if self._fresh:
            if self.store is not None:
                self.store.flush()
            said = {str(row): values for row, values in sorted(self._fresh.items())}
            write_json(self.folder / f"rows-{self._number:06d}.json", "rows", {"rows": said})
            self._number += 1
            self.tree.flush()
            self.rows |= self._fresh
            self._fresh = {}
        self._last = time.monotonic()


def forecast(seconds: float) -> str:
    """A duration in words, as exact as a forecast is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run_cases(
    function: Function,
    cases: Sequence[Case],
    folder: Path,
    backend: Backend,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    on_failure: Callable[[Case, Failed], None] | None = None,
    on_success: Callable[[Case], None] | None = None,
) -> Cohort:
    """Do every case that is not done yet, and join what came of all.

    Parameters
    ----------
    function
        What is done with each case.
    cases
        The cases; their order is the table's, and the tree's.
    folder
        Where checkpoints are kept. Cases that failed before are tried again.
    backend
        Where the cases are done.
    store
        Where the maps of single cases go.
    progress
        Called with (sentence, settled, total).
    on_failure, on_success
        Called as the cases come.

    Returns
    -------
    Cohort
        The same to the bit whatever the backend, the order in which cases ended, and how often the run was cut off.
    """
    done = Done(folder, function, store)
    wanted = [(row, case) for row, case in enumerate(cases) if row not in done.rows]
    failures: dict[int, Failed] = {}
    start, settled = time.monotonic(), len(cases) - len(wanted)
    begun = settled
    results = backend.run(function, iter(wanted))
    try:
        for row, result in results:
            settled += 1
            if isinstance(result, Failed):
                failures[row] = result
                if on_failure is not None:
                    on_failure(cases[row], result)
            else:
                done.add(row, result.state, result.row)
                if on_success is not None:
                    on_success(cases[row])
            done.flush_when_due()
            if progress is not None:
                left = (time.monotonic() - start) / (settled - begun) * (len(cases) - settled)
                told = f", {len(failures)} failed" if failures else ""
                ahead = f", about {forecast(left)} left" if settled < len(cases) else ""
                progress(f"cases{told}{ahead}", settled, len(cases))
    finally:
        # Also after Ctrl-C: what was computed is kept.
        _close(results)
        done.flush()
    return Cohort(done.tree.total(len(cases)), dict(sorted(done.rows.items())), failures)


def _close(results: Iterator[Any]) -> None:
    close = getattr(results, "close", None)
    if close is not None:
        close()
