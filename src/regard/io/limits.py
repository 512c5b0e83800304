"""Absolute limits of what a file may become in memory: a megabyte that says it is a terabyte is refused, by default.

``--no-limits``, `regard.read(..., limits=False)` and `without_limits` lift them.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from regard.core.errors import FileError

__all__ = ["LARGEST", "MOST_EXPANSION", "check_size", "limited", "without_limits"]

LARGEST = 2**31
"""Bytes that the voxels of one image may take, as the file stores them and as float32."""

MOST_EXPANSION = 200
"""How many times larger than its compressed file an image of more than a quarter of `LARGEST` may be.

Smaller ones may be anything: the mask of a scan packs as well as a bomb does.
"""

_LIMITED: ContextVar[bool] = ContextVar("limited", default=True)


def limited() -> bool:
    """Whether the limits hold."""
    return _LIMITED.get()


@contextmanager
def without_limits(lifted: bool = True) -> Iterator[None]:
    """Within this context files may be of any size.

    Parameters
    ----------
    lifted
        False leaves the limits as they are.
    """
    token = _LIMITED.set(_LIMITED.get() and not lifted)
    try:
        yield
    finally:
        _LIMITED.reset(token)


def check_size(path: Path, shape: Sequence[int], itemsize: int, n_packed: int | None = None) -> None:
    """Refuse an image before memory is taken for it.

    Parameters
    ----------
    path
        The file.
    shape
        Its axes, channels included, as the header says.
    itemsize
        Bytes of a voxel, as stored.
    n_packed
        Bytes of its compressed voxels, or None where they are not compressed.

    Raises
    ------
    FileError
        If it is larger than `LARGEST`, or expands more than `MOST_EXPANSION` times.
    """
    if not limited():
        return
    n_voxels = math.prod(int(n) for n in shape)
    n_bytes = n_voxels * max(itemsize, 4)
    lift = "crop it, or lift the limits with --no-limits (limits=False in Python)"
    if n_bytes > LARGEST:
        got = f"'{path}' of {' x '.join(map(str, shape[:8]))} voxels, which take {n_bytes / 2**30:.3g} GiB"
        raise FileError(got, f"at most {LARGEST / 2**30:.0f} GiB", lift)
    if n_packed is not None and n_bytes > LARGEST // 4 and n_voxels * itemsize > MOST_EXPANSION * max(n_packed, 1):
        ratio = n_voxels * itemsize / max(n_packed, 1)
        got = f"'{path}' of {n_packed} bytes that become {n_bytes / 2**30:.3g} GiB, {ratio:.0f} times as many"
        raise FileError(got, f"at most {MOST_EXPANSION} times for so large an image", lift)
