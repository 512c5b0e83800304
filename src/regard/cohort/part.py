"""What is done with each case, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Any, Protocol

from regard.cohort.moments import State
from regard.io.limits import without_limits
from regard.io.records import in_words
from regard.io.tables import Case

__all__ = ["Failed", "Function", "Opened", "Part", "do_case", "failed"]


@dataclass(frozen=True, eq=False)
class Part:
    """What came of one case.

    Parameters
    ----------
    state
        Arrays that are joined over the cases.
    row
        Plain values that are kept of the case itself.
    """

    state: State = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A case that failed, in the words of ``failures.tsv``.

    Parameters
    ----------
    error_type
        Name of the exception.
    message
        One sentence; of an exception that is not Regard's own only its type and place, as its text may quote a header.
    """

    error_type: str
    message: str


class Opened(Protocol):
    """A function that has what it needs in memory."""

    def part(self, case: Case) -> Part:
        """What comes of one case; nothing in it depends on other cases."""
        ...


class Function(Protocol):
    """One function over many cases; small, hashable, and the same wherever it is sent."""

    def open(self) -> Opened:
        """Load what every case needs, such as the network, once in each process."""
        ...

    def combine(self, a: State, b: State) -> State:
        """Join two states, of which ``a`` comes first in the table."""
        ...


_one_at_a_time = Lock()


@lru_cache(maxsize=1)
def _opened(function: Function) -> Opened:
    return function.open()


def failed(error: BaseException) -> Failed:
    """An exception in words that may leave this machine."""
    return Failed(*in_words(error))


def do_case(function: Function, case: Case, threads: int = 1) -> Part | Failed:
    """Do one case here: alone, with its number of threads, whatever else this process does.

    Parameters
    ----------
    function
        What to do; opened once in each process.
    case
        The case.
    threads
        CPU threads; figures are the same to the bit for one number of threads.
    """
    import torch

    # A network carries hooks while it is explained: two threads of a worker must not share it.
    with _one_at_a_time:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        try:
            with without_limits(not getattr(getattr(function, "question", None), "limits", True)):
                return _opened(function).part(case)  # type: ignore[arg-type]
        except Exception as error:
            return failed(error)
