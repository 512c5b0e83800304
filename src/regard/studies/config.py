"""A study's configuration: a section for each act, resolved from a size, a file and single settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from regard.core.errors import CardError, FileError, InputError, UnknownNameError
from regard.explainers.spec import parse_methods
from regard.io.plain_text import parse_yaml
from regard.studies import ACTS, SIZES

__all__ = ["Count", "Methods", "Positive", "Section", "Share", "StudyConfig", "resolve"]

Count: TypeAlias = Annotated[int, Field(ge=1)]
"""At least one."""

Positive: TypeAlias = Annotated[float, Field(gt=0)]
"""Above 0."""

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""


def _readable(methods: tuple[str, ...]) -> tuple[str, ...]:
    try:
        parse_methods(methods)
    except InputError as error:
        raise ValueError(str(error)) from error
    return methods


Methods: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_readable)]
"""Methods with their knobs, as on the command line."""


class Section(BaseModel):
    """What one act needs to know; unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyConfig(Section):
    """Base of a study's configuration; a subclass adds a `Section` for each act, named as the act is.

    Parameters
    ----------
    size
        Which size it started from.
    """

    size: str = "default"

    sections: ClassVar[tuple[str, ...]] = ACTS

    def section(self, act: str) -> dict[str, Any]:
        """The settings of one act, in plain values."""
        found = getattr(self, act, None)
        return {} if found is None else found.model_dump(mode="json")


Config = TypeVar("Config", bound=StudyConfig)


def _merged(base: dict[str, Any], over: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in found:
            raise UnknownNameError.suggest("setting", name, [f"{where}.{k}" if where else k for k in found])
        nested = isinstance(found[key], dict) and isinstance(value, Mapping)
        found[key] = _merged(found[key], value, name) if nested else value
    return found


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), largest=2**20)
    except FileNotFoundError as error:
        raise FileError(f"no file '{path}'", "a YAML file of settings", "check the path") from error
    except (OSError, UnicodeDecodeError, CardError) as error:
        raise FileError(f"'{path}' cannot be read", "a YAML file of settings", "correct it") from error
    if not isinstance(content, Mapping):
        raise CardError(f"'{path}' with {type(content).__name__}", "settings by name", "see `regard study show`")
    return content


def _from_text(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise CardError(f"the setting '{text}'", "KEY=VALUE, such as train.n_members=3", "correct it")
    found: Any = parse_yaml(value, largest=10_000)
    for part in reversed(key.strip().split(".")):
        found = {part: found}
    return dict(found)


def resolve(
    sizes: Mapping[str, Config], size: str, *, file: Path | None = None, settings: Sequence[str] = ()
) -> Config:
    """The configuration of a size, changed by a file and then by single settings.

    Parameters
    ----------
    sizes
        Configurations by the name of their size.
    size
        Where to start.
    file
        YAML with any of the settings.
    settings
        ``KEY=VALUE`` with a dotted key, such as ``train.n_members=3``; the value is read as YAML.

    Raises
    ------
    UnknownNameError
        If there is no such size or setting.
    CardError
        If a value is not of the right kind.
    """
    if size not in sizes:
        raise UnknownNameError.suggest("size", size, [s for s in SIZES if s in sizes])
    start = sizes[size]
    found = start.model_dump(mode="json")
    if file is not None:
        found = _merged(found, _from_file(file), "")
    for text in settings:
        found = _merged(found, _from_text(text), "")
    try:
        return type(start).model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise CardError(f"{name} = {first['input']!r}", first["msg"], "see `regard study show`") from error
