"""Every YAML and JSON of Regard starts with ``schema: regard.<kind>/<major>``; this reads and checks it."""

import re
from pathlib import Path
from typing import Any

from regard.core.errors import CardError, FileError
from regard.io.plain_text import parse_json, parse_yaml

__all__ = ["MAJOR", "check_schema", "read_json", "read_yaml"]

MAJOR = 1
"""The newest major of every kind that this version writes and reads."""


def check_schema(content: Any, kind: str, path: str | Path) -> dict[str, Any]:
    """Return ``content`` if it says that it is a file of ``kind`` that this version can read.

    Parameters
    ----------
    content
        What was read.
    kind
        Kind of file, such as ``"run"``.
    path
        For the message.

    Raises
    ------
    CardError
        If there is no schema, it is of another kind, or its major is newer.
    """
    wanted = f"regard.{kind}/{MAJOR}"
    if not isinstance(content, dict) or "schema" not in content:
        raise CardError(f"'{path}' without a schema", f"a first key 'schema: {wanted}'", "give a file of Regard")
    found = re.fullmatch(r"regard\.([a-z_-]+)/(\d+)", str(content["schema"]))
    if found is None or found[1] != kind:
        raise CardError(f"schema '{content['schema']}' in '{path}'", wanted, "give another file")
    if int(found[2]) > MAJOR:
        raise CardError(
            f"schema '{content['schema']}' in '{path}', of a newer Regard", f"at most {wanted}", "install that version"
        )
    return content


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise FileError(f"'{path}', which is no file", "a text file in UTF-8", "check the path")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileError(f"no file '{path}'", "an existing file", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read '{path}'", "a text file in UTF-8", "check the file") from error


def read_json(path: str | Path, kind: str) -> dict[str, Any]:
    """Read a JSON file of Regard.

    Raises
    ------
    FileError
        If it is missing or not JSON.
    CardError
        If its schema is missing, of another kind or newer.
    """
    text = _text(Path(path))
    try:
        content = parse_json(text)
    except CardError as error:
        raise FileError(f"'{path}' is not JSON, or was cut off", "a whole JSON file", "write it again") from error
    return check_schema(content, kind, path)


def read_yaml(path: str | Path, kind: str) -> dict[str, Any]:
    """Read a YAML file of Regard, as data only; raises as `read_json`."""
    text = _text(Path(path))
    try:
        content = parse_yaml(text)
    except CardError as error:
        raise FileError(f"'{path}' is not YAML, or was cut off", "a whole YAML file", "write it again") from error
    return check_schema(content, kind, path)
