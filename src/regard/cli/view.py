"""``regard view``."""

import json
import sys
from collections.abc import Sequence
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
    scans: Annotated[
        bool | None,
        typer.Option("--scans/--no-scans", help="Show the scans of inputs.tsv under their maps; asked on a terminal."),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show a run folder in the browser.

    It is served on this machine only, until Ctrl-C. Scans that lie outside the folder are shown after a yes, for a
    folder from somebody else can name any file.

    Example: regard view run/
    """
    from regard.core.errors import FileError
    from regard.io import read_inputs
    from regard.report.view import serve

    def announce(address: str) -> None:
        typer.echo(json.dumps({"address": address}) if as_json else address)

    set_up_logging(verbose=verbose, quiet=quiet)
    try:
        images = {c.case: next(iter(c.inputs.values())) for c in read_inputs(folder)}
    except FileError:  # a private run tells no paths: the maps are shown without their scans
        images = {}
    there = {case: path for case, path in images.items() if path.exists()}
    outside = {c: p for c, p in there.items() if not p.resolve().is_relative_to(folder.resolve())}
    if outside and not _wanted(scans, list(outside.values())):
        there = {case: path for case, path in there.items() if case not in outside}
    shown = {case: path for case, path in there.items() if path.name.endswith((".nii", ".nii.gz"))}
    serve(folder, port=port, open_browser=not no_browser, scans=shown, images=there, announce=announce)


def _wanted(answer: bool | None, outside: Sequence[Path]) -> bool:
    """Whether scans outside the folder are to be shown: as the option says, or as the user answers."""
    if answer is not None:
        return answer
    files = f"{len(outside)} scans outside the folder, such as '{outside[0]}'"
    if sys.stdin.isatty():
        return typer.confirm(f"inputs.tsv names {files}. Show them under their maps?")
    typer.echo(f"regard: {files}, are not shown; expected a yes; give --scans to show them", err=True)
    return False
