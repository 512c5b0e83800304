"""The one loop over the tensors of a case: steps, windows, samples, noise draws.

`run` picks the batch, halves it when memory runs out, hands results on as they come and reports progress. It knows
no files. The loop over cases is `regard.cohort`; there is no third.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from regard.core.errors import InputError, RegardError, RowsError

__all__ = [
    "BatchSize",
    "Progress",
    "auto_batch_size",
    "current_progress",
    "is_out_of_memory",
    "may_be_the_batch",
    "reporting",
    "run",
]

logger = logging.getLogger(__name__)

BatchSize: TypeAlias = int | Literal["auto"]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (label, done, total)."""

Result = TypeVar("Result")

_progress: ContextVar[Progress | None] = ContextVar("regard_progress", default=None)

# Small enough that the activations of a small network stay in memory which the C library gives out again: it takes
# blocks above 32 MiB from the system each time, and clearing those pages costs as much as the convolutions.
_CPU_VALUES = 2**19
_CPU_PAIR = 2**21
_CUDA_COPIES = 64


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Within this context, loops call ``progress(label, done, total)``."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def current_progress() -> Progress | None:
    """Who listens to progress in this context, if anyone does."""
    return _progress.get()


_NO_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")
"""What torch's allocators say on systems that know no exception of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def may_be_the_batch(error: BaseException) -> bool:
    """Whether an error may come from the number of cases in a batch, so that one case alone is worth a try.

    Programs are exported for the batch that they were traced with, and networks reshape to a batch of 1 by hand.
    """
    return isinstance(error, RowsError) or not isinstance(error, RegardError)


def auto_batch_size(example: Tensor, n_items: int, *, backward: bool = False) -> int:
    """How many copies of ``example`` (1, channel, \\*space) to evaluate at once on its device.

    On a processor two volumes at least, up to 128 voxels a side: of one alone torch takes a slow convolution, which
    costs some networks more than twice the time of a pair. It is a rule and no timing, so that two runs are equal.

    Parameters
    ----------
    example
        One input.
    n_items
        How many are to be evaluated.
    backward
        Whether gradients are taken, which keep what a forward pass lets go.
    """
    if example.is_cuda:
        free, _ = torch.cuda.mem_get_info(example.device)
        fitting = free // (max(1, example.numel() * example.element_size()) * _CUDA_COPIES * (4 if backward else 1))
    else:
        fitting = _CPU_VALUES // max(1, example.numel()) // (4 if backward else 1)
        if example.ndim == 5 and example.numel() <= _CPU_PAIR:
            fitting = max(2, fitting)
    return int(max(1, min(n_items, fitting, 256)))


def run(
    evaluate: Callable[[range], Result],
    n_items: int,
    reduce: Callable[[range, Result], object],
    *,
    batch_size: int,
    label: str = "",
) -> int:
    """Evaluate items in batches and hand each batch's result on, in order.

    Parameters
    ----------
    evaluate
        Called with a range of item numbers; returns their result.
    n_items
        Number of items.
    reduce
        Called with the same range and the result; may return True to stop early.
    batch_size
        Items a call at most; halved, down to 1, when memory runs out. Where several at once fail and one does not,
        the rest is done one by one: some networks take no other batch.
    label
        What progress is reported as.

    Returns
    -------
    int
        The batch size in force at the end.

    Raises
    ------
    torch.OutOfMemoryError
        If one item alone does not fit.
    """
    progress = _progress.get()
    size, start = max(1, min(batch_size, n_items)), 0
    while start < n_items:
        items = range(start, min(start + size, n_items))
        try:
            result = evaluate(items)
        except (RuntimeError, MemoryError, AssertionError, ValueError) as error:
            if len(items) > 1 and not is_out_of_memory(error) and may_be_the_batch(error):
                items = items[:1]
                result = _alone(evaluate, items, error)
                size = 1
                logger.info("the network fails at a batch of more than 1 (%s); going on one by one", _first_line(error))
            elif not is_out_of_memory(error) or size == 1:
                raise
            else:
                size //= 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                logger.warning("out of memory at %d items a batch; going on with %d", 2 * size, size)
                continue
        stop = reduce(items, result)
        del result  # what it holds is let go of before the next batch
        start = items.stop
        if progress is not None:
            progress(label, start, n_items)
        if stop is True:
            if progress is not None and start < n_items:
                progress(label, n_items, n_items)
            break
    return size


def _alone(evaluate: Callable[[range], Result], item: range, error: Exception) -> Result:
    """What one item alone gives; the error of the whole batch where that fails too and says no more."""
    try:
        return evaluate(item)
    except Exception as again:
        if is_out_of_memory(again) or isinstance(again, RegardError):
            raise
        raise error from again


def _first_line(error: BaseException) -> str:
    if isinstance(error, InputError):
        return error.got
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
