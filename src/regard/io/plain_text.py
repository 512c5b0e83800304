"""YAML and JSON as plain data, bounded: a short text cannot become a large or endless one.

A YAML alias repeats what it names; nine lines of aliases of aliases are a thousand million values. What a text would
hold with all aliases written out is counted before anything is built.
"""

import json
from typing import Any

import yaml

from regard.core.errors import CardError

__all__ = ["LARGEST_TEXT", "MOST_VALUES", "parse_json", "parse_yaml"]

LARGEST_TEXT = 64 * 2**20
"""Characters that are read at most, by default; run folders of large cohorts stay far below."""

MOST_VALUES = 200_000
"""Values that a YAML text may hold at most, with every alias written out."""

_DEEPEST = 60


def _check_size(text: str, largest: int) -> None:
    if len(text) > largest:
        raise CardError(f"a text of {len(text)} characters", f"at most {largest}", "shorten it")


def _first_line(error: BaseException) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    line = f" in line {mark.line + 1}" if mark is not None else ""
    return (str(problem or error).splitlines() or [type(error).__name__])[0][:200] + line


def parse_yaml(text: str, *, largest: int = LARGEST_TEXT) -> Any:
    """Read a YAML text as plain data.

    Parameters
    ----------
    text
        The text.
    largest
        Characters at most.

    Raises
    ------
    CardError
        If it is not YAML, holds tags, is nested too deeply, or would be too large with its aliases written out.
    """
    _check_size(text, largest)
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError, TypeError, AttributeError) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"a text that is not plain YAML ({_first_line(error)})", "plain YAML without tags") from error


def _count(node: yaml.Node, counted: dict[int, int], depth: int) -> int:
    """How many values a node holds with all aliases written out."""
    known = counted.get(id(node))
    if known is not None:
        if known < 0:
            raise CardError("YAML whose alias holds itself", "plain values", "write the values out")
        return known
    if depth > _DEEPEST:
        raise CardError(f"YAML that is nested more than {_DEEPEST} deep", "a few levels", "flatten it")
    counted[id(node)] = -1
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_count(child, counted, depth + 1) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_count(part, counted, depth + 1) for pair in node.value for part in pair)
    if size > MOST_VALUES:
        raise CardError(
            f"YAML that holds more than {MOST_VALUES} values once its aliases are written out",
            "at most as many",
            "leave the aliases out",
        )
    counted[id(node)] = size
    return size


def parse_json(text: str, *, largest: int = LARGEST_TEXT) -> Any:
    """Read a JSON text; parameters and errors as `parse_yaml`."""
    _check_size(text, largest)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(f"a text that is not JSON ({_first_line(error)})", "whole JSON") from error
