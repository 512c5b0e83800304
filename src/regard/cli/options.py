"""Options that steer what is printed, and what they set."""

import logging
from typing import Annotated

import typer

__all__ = ["Json", "Quiet", "Verbose", "set_up_logging"]

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more, and tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings, results and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]


def set_up_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Set what is told on standard error; ``run.log`` takes everything from INFO on."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.getLogger("regard").setLevel(min(level, logging.INFO))
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)
