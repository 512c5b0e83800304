"""``regard study``: list, show and run."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Device, Json, Output, Overwrite, Private, Quiet, Seed, Threads, Verbose

__all__ = ["study"]

study = typer.Typer(
    name="study",
    help="Rebuild a paper end to end: data, networks, scores, explanations, evidence.\n\n"
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
    import json

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
    """Show a study: its acts, its sizes with their numbers, and what is done, reduced and absent.

    Example: regard study show bmd
    """
    from regard.cli.study_run import show_study

    return show_study(name, as_json=as_json)


@study.command("run")
def run(
    name: Name,
    output: Output,
    size: Annotated[
        str, typer.Option(metavar="smoke|default|reference|paper", help="How much is made, trained and explained.")
    ] = "default",
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML with any of the settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as train.n_members=3.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="TABLE|DIR", help="Your own cases instead of phantoms.")
    ] = None,
    acts: Annotated[
        str | None, typer.Option(metavar="ACT,...", help="Of data,train,score,explain,weigh; all by default.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Run whose acts are used where they are not run here.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    private: Private = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Run a study. A run that was cut off goes on where it stopped, and ends the same.

    Example: regard study run bmd --size default -o runs/bmd
    """
    from regard.cli.study_run import StudyRequest, run_request

    request = StudyRequest(
        name=name,
        output=output,
        size=size,
        config=config,
        settings=tuple(settings or ()),
        data=data,
        acts=acts,
        source=source,
        seed=seed,
        device=device,
        threads=threads,
        private=private,
        overwrite=overwrite,
        verbose=verbose,
        quiet=quiet,
        as_json=as_json,
    )
    return run_request(request)
