"""``regard models``, ``methods`` and ``measures``: listings that load nothing heavy."""

import contextlib
import io
import json
from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Json, Quiet, Trust, Verbose, Weights
from regard.core.errors import InputError

__all__ = ["measures", "methods", "models", "print_rows"]


def print_rows(rows: list[dict[str, str]], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        return
    columns = list(rows[0])
    widths = [max(len(c), *(len(r[c]) for r in rows)) for c in columns]
    typer.echo("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    for row in rows:
        typer.echo("  ".join(row[c].ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())


def models(
    action: Annotated[
        str | None, typer.Argument(metavar="check", help="Write the card of a model that has none, or try one.")
    ] = None,
    source: Annotated[Path | None, typer.Argument(metavar="MODEL", help="Folder, exported program or bundle.")] = None,
    scan: Annotated[Path | None, typer.Argument(metavar="SCAN", help="A scan, to see what the network sees.")] = None,
    weights: Weights = None,
    trust: Trust = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PNG", help="Where the picture goes.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the networks that Regard brings, or check one of yours.

    Example: regard models check models/mine sub-01_T1w.nii.gz
    """
    if action is None:
        from regard.models.zoo import ZOO

        rows = [{"model": n, "output": str(ZOO.entry(n)[2]), "what it is": str(ZOO.entry(n)[1])} for n in ZOO]
        print_rows(rows, as_json)
        return
    if action != "check" or source is None:
        got = f"regard models {action}" + ("" if source is None else f" {source}")
        raise InputError(got, "nothing, or check MODEL [SCAN]", "regard models check FOLDER")
    from regard.cli.models_check import check

    with contextlib.redirect_stdout(io.StringIO()) if as_json else contextlib.nullcontext():
        facts = check(source, scan, weights=weights, trust=trust, output=output)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One method, to see its knobs and promises.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the methods, or tell all about one.

    Example: regard methods occlusion
    """
    from regard.explainers import METHODS

    if name is None:
        rows = [
            {"method": n, "quantity": str((*METHODS.entry(n), "score")[2]), "what it does": str(METHODS.entry(n)[1])}
            for n in METHODS
        ]
        print_rows(rows, as_json)
        return
    from regard.explainers.describe import describe

    facts = describe(name)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for knob, said in value.items():
                typer.echo(f"  {knob}: {said}")
        else:
            typer.echo(f"{key}: {value}")


def measures(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """List the measures of whether a map is true.

    Example: regard measures
    """
    from regard.evidence import MEASURES

    print_rows([{"measure": n, "what it says": str(MEASURES.entry(n)[1])} for n in MEASURES], as_json)
