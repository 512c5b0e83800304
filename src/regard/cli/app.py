"""The program and its verbs; each verb imports what it needs when it runs."""

from typing import Annotated

import typer

from regard.cli.demo import demo
from regard.cli.explain import explain
from regard.cli.listing import doctor, measures, methods, models
from regard.cli.view import view

__all__ = ["app", "usage_error"]

app = typer.Typer(
    name="regard",
    help="Regard shows what a medical-imaging network looks at, and measures whether that picture is true.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from regard import __version__

        typer.echo(f"regard {__version__}")
        raise typer.Exit()


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Show what a medical-imaging network looks at, and measure whether that picture is true.

    Research use only; not a diagnostic device.

    Example: regard demo
    """


for verb in (demo, explain, view, models, methods, measures, doctor):
    app.command()(verb)


def usage_error(error: Exception) -> tuple[str, int] | None:
    """One sentence and the exit code for what the command-line parser refused; None for any other exception."""
    if not any(c.__name__ == "ClickException" for c in type(error).__mro__):
        return None
    said = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "regard"
    return f"{said.rstrip('.')}; expected what '{path} --help' shows; correct the command", 2
