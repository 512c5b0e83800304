"""``regard methods`` and ``measures``: listings that load nothing heavy."""

import json
from typing import Annotated

import typer

from regard.cli.options import Json, Quiet, Verbose
from regard.runs.result import columns_of_text

__all__ = ["measures", "methods", "print_rows"]


def print_rows(rows: list[dict[str, str]], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        typer.echo(columns_of_text(rows))


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
