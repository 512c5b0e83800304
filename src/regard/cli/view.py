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
    from regard.core.errors import FileError
    from regard.io import read_inputs
    from regard.report.view import serve

    try:
        scans = {c.case: next(iter(c.inputs.values())) for c in read_inputs(folder)}
    except FileError:
        scans = {}
    shown = {case: path for case, path in scans.items() if path.name.endswith((".nii", ".nii.gz")) and path.exists()}
    serve(folder, port=port, open_browser=not no_browser, scans=shown, announce=None if quiet else typer.echo)
