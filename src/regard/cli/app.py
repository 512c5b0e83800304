"""The program and its verbs; each verb imports what it needs when it runs."""

from collections.abc import Sequence
from typing import Annotated

import typer

from regard.bench.request import BenchRequest
from regard.cli.listing import measures, methods
from regard.cli.study import study
from regard.cli.verbs import verb
from regard.cli.view import view
from regard.demo.request import DemoRequest
from regard.runs.requests.attack import AttackRequest
from regard.runs.requests.check import CheckRequest
from regard.runs.requests.cohort import CohortRequest
from regard.runs.requests.doctor import DoctorRequest
from regard.runs.requests.explain import ExplainRequest
from regard.runs.requests.invariances import InvariancesRequest
from regard.runs.requests.retrain import RetrainRequest
from regard.runs.requests.weigh import WeighRequest

__all__ = ["app", "interrupted", "plain_arguments", "usage_error"]

app = typer.Typer(
    name="regard",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from regard import __version__

        typer.echo(f"regard {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    give_memory_back: Annotated[
        bool, typer.Option("--give-memory-back", help="Give freed memory back to the system at once; slower in 3D.")
    ] = False,
) -> None:
    """Show what a medical-imaging network looks at, and measure whether that picture is true.

    Research use only; not a diagnostic device.

    Example: regard demo
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    elif not give_memory_back:
        from regard.core.memory import keep_freed

        keep_freed()


_VERBS = (
    verb("demo", DemoRequest, "regard.demo.asked:demo"),
    verb("explain", ExplainRequest, "regard.runs.explaining:explain"),
    verb("weigh", WeighRequest, "regard.runs.weighing:weigh"),
    verb("bench", BenchRequest, "regard.bench.asked:bench"),
    verb("cohort", CohortRequest, "regard.runs.of_cohort:cohort"),
    verb("retrain", RetrainRequest, "regard.runs.retraining:retrain"),
    verb("invariances", InvariancesRequest, "regard.runs.searching:invariances"),
    verb("attack", AttackRequest, "regard.runs.attacking:attack"),
    view,
    verb("models", CheckRequest, "regard.runs.checking:check"),
    methods,
    measures,
    verb("doctor", DoctorRequest, "regard.runs.doctor:doctor"),
)
for _verb in _VERBS:
    app.command()(_verb)
app.add_typer(study)


def plain_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line with ``--dicom seg:THRESHOLD`` as an option of its own: the parser knows no optional values."""
    plain: list[str] = []
    for argument in arguments:
        if argument.startswith("--dicom=seg:"):
            plain += ["--dicom-seg", argument.removeprefix("--dicom=")]
        elif argument.startswith("seg:") and plain and plain[-1] == "--dicom":
            plain[-1:] = ["--dicom-seg", argument]
        else:
            plain.append(argument)
    return plain


def _is(error: Exception, name: str) -> bool:
    # By name, as the parser is a package of its own with some releases of typer, and a part of it with others.
    return any(c.__name__ == name for c in type(error).__mro__)


def usage_error(error: Exception) -> str | None:
    """One sentence for what the command-line parser refused; None for any other exception."""
    if not _is(error, "ClickException"):
        return None
    said = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "regard"
    return f"{said.rstrip('.')}; expected what '{path} --help' shows; correct the command"


def interrupted(error: Exception) -> bool:
    """Whether an exception is how the parser tells of Ctrl-C."""
    return _is(error, "Abort")
