"""``regard view``."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Quiet, Verbose

__all__ = ["view"]


def view(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show a run folder in the browser, on this machine only.

    Example: regard view run/
    """
    from regard.cli.view_server import run_server

    run_server(folder, port=port, open_browser=not no_browser)
