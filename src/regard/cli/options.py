"""Options that several verbs share, and what they set."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from regard.core.errors import InputError

__all__ = [
    "BatchSize",
    "ChosenSeries",
    "ChosenVolumes",
    "Device",
    "Json",
    "NoLimits",
    "Output",
    "Overwrite",
    "Private",
    "Quiet",
    "Reshape",
    "Seed",
    "Threads",
    "Trust",
    "Verbose",
    "Weights",
    "batch_size_of",
    "set_up",
    "set_up_logging",
]

Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all results.")]
Seed = Annotated[int, typer.Option(min=0, metavar="INT", help="Seed of every random draw.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:i]", help="Where the network runs.")]
Threads = Annotated[int | None, typer.Option(min=1, metavar="INT", help="CPU threads; all by default.")]
BatchSize = Annotated[str, typer.Option(metavar="INT|auto", help="Evaluations at once; auto fits the memory.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds another run.")]
NoLimits = Annotated[
    bool, typer.Option("--no-limits", help="Read files of any size, with decoders that take as long as they like.")
]
Private = Annotated[bool, typer.Option("--private", help="Write no path and no file name; case ids stay.")]
ChosenVolumes = Annotated[
    list[str] | None,
    typer.Option("--volume", metavar="N|INPUT=N", help="Which volume, from 0, of an image of several. Repeatable."),
]
ChosenSeries = Annotated[
    list[str] | None,
    typer.Option("--series", metavar="UID|NUMBER", help="Which series of a DICOM folder (or INPUT=...). Repeatable."),
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Weights, where the model does not bring its own.")]
Trust = Annotated[bool, typer.Option("--trust", help="Let code that comes with the model run, this time only.")]
Reshape = Annotated[
    str | None,
    typer.Option(metavar="GRID", help="How the layer lies: channels-last, tokens:14x14+1, slices:S, instances:S."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more, and tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings, results and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]


def set_up_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Set what is told on standard error; ``run.log`` takes everything from INFO on."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.getLogger("regard").setLevel(min(level, logging.INFO))
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)


def set_up(*, device: str = "auto", threads: int | None = None, verbose: bool = False, quiet: bool = False) -> str:
    """Set logging and threads, and resolve the device.

    Raises
    ------
    InputError
        If the device does not exist on this machine.
    """
    import torch

    set_up_logging(verbose=verbose, quiet=quiet)
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    n_cuda = torch.cuda.device_count()
    if kind == "cpu" and index in ("", "0"):
        return device
    if kind == "cuda" and (not index or index.isdecimal()):
        if int(index or 0) < n_cuda:
            return device
        raise InputError(f"the device '{device}' on a machine with {n_cuda} CUDA devices", "auto or cpu")
    raise InputError(f"the device '{device}'", "auto, cpu, cuda or cuda:I")


def batch_size_of(text: str) -> int | Literal["auto"]:
    """Read ``INT|auto``."""
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f"the batch size '{text}'", "a whole number of at least 1, or auto")
