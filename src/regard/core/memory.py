"""Memory that was freed is kept for the next batch, and how much a process has held at most."""

import ctypes
import os
import sys

__all__ = ["KEEP", "keep_freed", "peak_mib"]

KEEP = "REGARD_KEEP_MEMORY"
"""Environment variable that turns it off with 0."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_LARGEST_KEPT, _MOST_KEPT = 2**30, 2**31 - 1


def keep_freed() -> bool:
    """Let the C library keep what the process frees, in place of giving each large block back to the system.

    glibc takes blocks above 32 MiB from the system and gives them back, one by one. Every pass of a network through a
    volume then clears the same pages again, which was measured as a fifth to a third of perturbation loops in 3D. The
    price is memory: what has been freed between two peaks stays with the process until it ends.

    It belongs to the whole process, so that the command line calls it and the library does not. Nothing is done where
    the user has set glibc's own variables (``MALLOC_...``) or `KEEP` to 0, or where there is no glibc.

    Returns
    -------
    bool
        Whether memory is kept now.
    """
    if sys.platform != "linux" or os.environ.get(KEEP) == "0" or any(k.startswith("MALLOC_") for k in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_TRIM_THRESHOLD, _MOST_KEPT))


def peak_mib() -> float:
    """The most memory that the process has held [MiB]; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(largest / 2**20 if sys.platform == "darwin" else largest / 2**10)
