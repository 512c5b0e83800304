"""Where a request is computed: device, threads, and limits of what files may become."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from regard.core.errors import InputError
from regard.io.limits import without_limits
from regard.report.display import convention
from regard.runs.requests.shared import OnDevice

__all__ = ["batch_size_of", "computing", "device_of"]


@contextmanager
def computing(request: OnDevice, *, threads: int | None = None) -> Iterator[str]:
    """Set what a request says of threads, limits and pictures, give its device, and set the threads back.

    Parameters
    ----------
    request
        What is asked.
    threads
        Those of a request that names none; None leaves them as they are.

    Raises
    ------
    InputError
        If the device does not exist on this machine.
    """
    import torch

    device, before = device_of(request.device), torch.get_num_threads()
    wanted = request.threads or threads
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        with (
            without_limits(getattr(request, "no_limits", False)),
            convention(getattr(request, "convention", "radiological")),
        ):
            yield device
    finally:
        torch.set_num_threads(before)


def device_of(text: str) -> str:
    """Read ``auto|cpu|cuda[:i]``.

    Raises
    ------
    InputError
        If the device does not exist on this machine.
    """
    import torch

    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = text.partition(":")
    n_cuda = torch.cuda.device_count()
    if kind == "cpu" and index in ("", "0"):
        return text
    if kind == "cuda" and (not index or index.isdecimal()):
        if int(index or 0) < n_cuda:
            return text
        raise InputError(f"the device '{text}' on a machine with {n_cuda} CUDA devices", "auto or cpu")
    raise InputError(f"the device '{text}'", "auto, cpu, cuda or cuda:I")


def batch_size_of(text: str) -> int | Literal["auto"]:
    """Read ``INT|auto``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f"the batch size '{text}'", "a whole number of at least 1, or auto")
