"""What a verb is asked, as one typed record: name, type, default and words of an option stand in one place."""

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from regard.core.errors import InputError

__all__ = ["Flag", "Option", "Request", "options_of", "summary_of"]


@dataclass(frozen=True)
class Flag:
    """How a field of a request is written on a command line.

    Parameters
    ----------
    names
        Such as ``("--method", "-m")``; of the field itself by default.
    metavar
        What stands for the value.
    least, most
        Bounds of a number.
    argument
        The value stands by itself, in the order of the fields.
    hidden
        It is not told by ``--help``.
    """

    names: tuple[str, ...] = ()
    metavar: str | None = None
    least: float | None = None
    most: float | None = None
    argument: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Option:
    """A field of a request as an option.

    Parameters
    ----------
    name
        Of the field.
    kind
        Type of one value: ``str``, ``int``, ``float``, ``bool`` or ``Path``.
    many
        Whether it may be given several times.
    default
        What stands where it is not given; ``...`` where it must be.
    flag
        How it is written.
    about
        What it says.
    optional
        Whether the field may be None.
    """

    name: str
    kind: type
    many: bool
    default: Any
    flag: Flag
    about: str
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the option on a command line; none of an argument."""
        if self.flag.argument:
            return ()
        return self.flag.names or (f"--{self.name.replace('_', '-')}",)

    def given(self, value: Any) -> Any:
        """A value as the field takes it: paths from text, several from one or from any sequence.

        Raises
        ------
        InputError
            If it is of another kind.
        """
        if self.many:
            if value is None:
                return ()
            single = isinstance(value, (str, Path)) or not hasattr(value, "__iter__")
            return tuple(self._one(v) for v in ([value] if single else value))
        return None if value is None and self.optional else self._one(value)

    def _one(self, value: Any) -> Any:
        plain = {Path: (str, Path), str: (str, Path, int, float), float: (int, float)}.get(self.kind, (self.kind,))
        number = self.kind in (int, float, str)
        if not isinstance(value, plain) or (number and isinstance(value, bool)):
            written = self.names[0] if self.names else self.flag.metavar
            got = f"{self.name}={value!r}"
            raise InputError(got, f"{self.kind.__name__}, as {written} takes it", "correct it")
        return self.kind(value)

    def written(self, value: Any) -> list[str]:
        """A value as words of a command line."""
        values = list(value) if self.many else [value]
        if self.flag.argument:
            return [str(v) for v in values if v is not None]
        if self.kind is bool:
            return [self.names[0]] * bool(value)
        return [word for v in values if v is not None for word in (self.names[0], str(v))]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a verb is asked. Text becomes a path, and one value a tuple of one, where the field says so.

    Parameters
    ----------
    quiet
        No progress.
    argv
        The command line that it came from, recorded in ``run.yaml``; by default one that says the same.
    """

    quiet: bool = False
    argv: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in options_of(type(self)):
            object.__setattr__(self, option.name, option.given(getattr(self, option.name)))

    def words(self, verb: str) -> list[str]:
        """The command line: the one that it came from, or one that says the same."""
        if self.argv:
            return list(self.argv)
        options = options_of(type(self))
        places = [o for o in options if o.flag.argument]
        others = [o for o in options if not o.flag.argument and getattr(self, o.name) != o.default]
        return [*verb.split(), *(w for o in [*places, *others] for w in o.written(getattr(self, o.name)))]


def options_of(request: type[Request]) -> list[Option]:
    """The options of a request: what must be given first, then its own, then those that it shares with others."""
    hints, about = get_type_hints(request, include_extras=True), _about(request)
    by_name = {f.name: f for f in fields(request)}
    ordered = [by_name[n] for c in request.__mro__ for n in inspect.get_annotations(c) if n in by_name]
    found = [
        _option(field, hints[field.name], about.get(field.name, ""))
        for field in dict.fromkeys(ordered)
        if get_origin(hints[field.name]) is Annotated
    ]
    return sorted(found, key=lambda o: o.default is not ...)


def _option(field: "Field[Any]", hint: Any, about: str) -> Option:
    annotated, flag = get_args(hint)
    parts = get_args(annotated)
    union = get_origin(annotated) in (Union, types.UnionType)
    optional = union and type(None) in parts
    many = get_origin(annotated) is tuple
    kind = parts[0] if many or optional else annotated
    default = ... if field.default is MISSING else field.default
    return Option(field.name, kind, many, default, flag, about, optional)


def _about(request: type) -> dict[str, str]:
    """What the docstrings of a request and of its bases say of their parameters."""
    said: dict[str, str] = {}
    for kind in reversed(request.__mro__):
        for names, text in _parameters(inspect.cleandoc(kind.__doc__ or "")):
            said |= dict.fromkeys(names, text)
    return said


def _parameters(doc: str) -> Iterator[tuple[list[str], str]]:
    """The entries of a docstring's section of parameters."""
    _, _, section = doc.partition("Parameters\n----------\n")
    section = re.split(r"\n\n\w[\w ]*\n-+\n", section)[0]
    for entry in re.split(r"\n(?=\S)", section):
        head, _, text = entry.partition("\n")
        yield [n.strip() for n in head.split(":")[0].split(",")], " ".join(text.split())


def summary_of(request: type) -> str:
    """What a request says of itself, without its parameters."""
    return inspect.cleandoc(request.__doc__ or "").partition("Parameters\n----------\n")[0].strip()
