"""``regard study``: list, show and run."""

import json
from typing import Annotated

import typer

from regard.cli.options import Json
from regard.cli.verbs import verb
from regard.studies.request import StudyRequest

__all__ = ["study"]

study = typer.Typer(
    name="study",
    help="Rebuild a paper, end to end.\n\nData, networks, scores, explanations, evidence; a run can be resumed.\n\n"
    "Example: regard study run bmd -o runs/bmd",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study; see `regard study list`.")]


@study.command("list")
def list_studies(as_json: Json = False) -> int:
    """List the studies.

    Example: regard study list
    """
    from regard.studies import STUDIES

    rows = {name: str(STUDIES.entry(name)[1]) for name in STUDIES}
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return 0
    width = max(map(len, rows))
    for name, line in rows.items():
        typer.echo(f"{name.ljust(width)}  {line}")
    return 0


@study.command("show")
def show(name: Name, as_json: Json = False) -> int:
    """Tell all about one study.

    Its acts, its sizes with their numbers, and what is done, reduced and absent.

    Example: regard study show bmd
    """
    from regard.io.atomic import plain
    from regard.studies.showing import facts_of, in_words

    facts = facts_of(name)
    typer.echo(json.dumps(plain(facts), indent=2) if as_json else in_words(facts))
    return 0


study.command("run")(verb("run", StudyRequest, "regard.studies.asked:study"))
