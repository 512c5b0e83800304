"""Verbs made of requests: the options are the fields, the help is the docstring, and the result is printed."""

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from regard.cli.options import Json, Quiet, Verbose, set_up_logging
from regard.runs.requests.fields import Option, Request, options_of, summary_of

__all__ = ["tell", "verb"]

_PRINTING = {"verbose": Verbose, "quiet": Quiet, "as_json": Json}


def verb(name: str, request: type[Request], home: str) -> Callable[..., int]:
    """A function for the parser that asks ``home`` with a request of what was given.

    Parameters
    ----------
    name
        Of the verb.
    request
        What it is asked.
    home
        ``"module:function"`` from a request to a result; it is imported when the verb runs.
    """
    options = options_of(request)

    def run(**given: Any) -> int:
        verbose, quiet, as_json = (given.pop(key) for key in _PRINTING)
        set_up_logging(verbose=verbose, quiet=quiet)
        asked = request(**given, quiet=quiet, argv=tuple(sys.argv[1:]))
        module, _, function = home.partition(":")
        return tell(getattr(importlib.import_module(module), function)(asked), as_json=as_json)

    hints = {o.name: _hint(o) for o in options} | _PRINTING
    defaults = {o.name: _default(o) for o in options} | dict.fromkeys(_PRINTING, False)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=defaults[n])
            for n, hint in hints.items()
        ],
        return_annotation=int,
    )
    run.__annotations__ = {**hints, "return": int}
    run.__name__, run.__doc__ = name, summary_of(request)
    return run


def tell(result: Any, *, as_json: bool) -> int:
    """Print a result, and return its exit code."""
    if as_json:
        from regard.io.atomic import plain

        typer.echo(json.dumps(plain(result.to_dict()), indent=2))
    elif text := str(result):
        typer.echo(text)
    return int(result.exit_code)


def _default(option: Option) -> Any:
    if option.default is ...:
        return inspect.Parameter.empty
    return None if option.many else option.default


def _hint(option: Option) -> Any:
    """A field as the parser knows it."""
    kind: Any = list[option.kind] if option.many else option.kind  # type: ignore[name-defined]
    if option.optional or (option.many and option.default is not ...):
        kind = kind | None
    flag = option.flag
    words: dict[str, Any] = {"metavar": flag.metavar, "help": option.about, "hidden": flag.hidden}
    if flag.argument:
        return Annotated[kind, typer.Argument(**words)]
    return Annotated[kind, typer.Option(*option.names, min=flag.least, max=flag.most, **words)]
