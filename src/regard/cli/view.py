"""``regard view``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Json, Quiet, Verbose, set_up_logging

__all__ = ["view"]


def view(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="INT", help="Port on this machine; 0 takes a free one.")
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show a run folder in the browser.

    It is served on this machine only, until Ctrl-C.

    Example: regard view run/
    """
    from regard.core.errors import FileError
    from regard.io import read_inputs
    from regard.report.view import serve

    def announce(address: str) -> None:
        typer.echo(json.dumps({"address": address}) if as_json else address)

    set_up_logging(verbose=verbose, quiet=quiet)
    try:
        scans = {c.case: next(iter(c.inputs.values())) for c in read_inputs(folder)}
    except FileError:  # a private run tells no paths: the maps are shown without their scans
        scans = {}
    shown = {case: path for case, path in scans.items() if path.name.endswith((".nii", ".nii.gz")) and path.exists()}
    serve(folder, port=port, open_browser=not no_browser, scans=shown, announce=announce)
