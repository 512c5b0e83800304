"""Options that several verbs share, and what they set."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from regard.core.errors import InputError

__all__ = [
    "BatchSize",
    "Device",
    "Json",
    "Output",
    "Overwrite",
    "Private",
    "Quiet",
    "Seed",
    "Threads",
    "Trust",
    "Verbose",
    "Weights",
    "batch_size_of",
    "set_up",
]

Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all results.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:i]", help="Where the network runs.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all by default.")]
BatchSize = Annotated[str, typer.Option(metavar="INT|auto", help="Evaluations at once; auto fits the memory.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds another run.")]
Private = Annotated[bool, typer.Option("--private", help="Write no paths of inputs.")]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Weights, where the model does not bring its own.")]
Trust = Annotated[bool, typer.Option("--trust", help="Let code that comes with the model run, this time only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more; show tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]


def set_up(*, device: str = "auto", threads: int | None = None, verbose: bool = False, quiet: bool = False) -> str:
    """Set logging and threads, and resolve the device.

    Raises
    ------
    InputError
        If the device does not exist on this machine.
    """
    import torch

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.getLogger("regard").setLevel(min(level, logging.INFO))
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    n_cuda = torch.cuda.device_count()
    if kind == "cpu" and not index:
        return device
    if kind == "cuda" and (not index or index.isdigit()):
        if int(index or 0) < n_cuda:
            return device
        raise InputError(f"the device '{device}' on a machine with {n_cuda} CUDA devices", "auto or cpu")
    raise InputError(f"the device '{device}'", "auto, cpu, cuda or cuda:I")


def batch_size_of(text: str) -> int | str:
    """Read ``INT|auto``."""
    if text == "auto" or (text.isdigit() and int(text) > 0):
        return text if text == "auto" else int(text)
    raise InputError(f"the batch size '{text}'", "a whole number of at least 1, or auto")
