"""One thread at a time: hooks, modes, the random state and what tracing patches belong to the whole process."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone"]

_lock = threading.RLock()


def _unlocked() -> None:
    """A forked process starts without the thread that may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


@contextmanager
def alone() -> Iterator[None]:
    """Within this context no other thread of the process explains: hooks, modes and random state are shared by all.

    A thread may enter it again; the others wait for it to leave.
    """
    lock = _lock
    with lock:
        yield
