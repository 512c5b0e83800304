"""Values of a MONAI configuration as plain data: references are followed, and expressions are read, never run.

An expression is taken apart by Python's own grammar. Constants, lists, ``not``, ``if``, sums and the names of number
types have a value; anything else, a call above all, has none and stays `Unread`.
"""

import ast
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from regard.core.errors import CardError

__all__ = ["Unread", "Values", "is_unread"]

_REFERENCE = re.compile(r"@([A-Za-z_]\w*(?:(?:#|::)\w+)*)")
_MOST_VALUES = 20_000
_DEEPEST = 60
_LONGEST = 2_000
_NUMPY_TYPES = ("float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")
_KEYS = ("IMAGE", "LABEL", "PRED")
_NUMBERS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@dataclass(frozen=True)
class Unread:
    """An expression that has no value without running it.

    Parameters
    ----------
    text
        As the file has it, shortened.
    """

    text: str


def is_unread(value: Any) -> str | None:
    """The first expression within ``value`` that would have to run, or None."""
    if isinstance(value, Unread):
        return value.text
    if isinstance(value, Mapping):
        return next((t for v in value.values() if (t := is_unread(v)) is not None), None)
    if isinstance(value, (list, tuple)):
        return next((t for v in value if (t := is_unread(v)) is not None), None)
    return None


class Values:
    """Reads values of a configuration.

    Parameters
    ----------
    configuration
        The whole file, for references such as ``"@sizes#out"``.
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.configuration = configuration
        self._following: list[str] = []
        self._left = _MOST_VALUES

    def read(self, node: Any) -> Any:
        """``node`` with its references followed and its expressions read.

        Raises
        ------
        CardError
            If a reference leads nowhere or to itself, or the whole grows beyond twenty thousand values.
        """
        self._left = _MOST_VALUES
        return self._read(node, 0)

    def _read(self, node: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise CardError(
                "a bundle whose references unfold without end",
                f"at most {_MOST_VALUES} values, {_DEEPEST} deep",
                "correct the bundle",
            )
        if isinstance(node, Mapping):
            return {k: self._read(v, depth + 1) for k, v in node.items()}
        if isinstance(node, list):
            return [self._read(v, depth + 1) for v in node]
        if isinstance(node, str) and node.startswith("$"):
            return self._expression(node, depth)
        if isinstance(node, str) and node.startswith(("@", "%")):
            return self._followed(node[1:], depth)
        return node

    def _followed(self, name: str, depth: int) -> Any:
        if name in self._following:
            raise CardError(f"'@{name:.60}' that refers to itself", "references that end", "correct the bundle")
        node: Any = self.configuration
        for part in name.replace("::", "#").split("#"):
            if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, Mapping) and part in node:
                node = node[part]
            else:
                raise CardError(f"a reference to '@{name:.60}'", "a key of the same file", "correct the bundle")
        self._following.append(name)
        try:
            return self._read(node, depth + 1)
        finally:
            self._following.pop()

    def _expression(self, text: str, depth: int) -> Any:
        unread = Unread(text[:60])
        if len(text) > _LONGEST:
            return unread
        names: list[str] = []

        def placed(match: re.Match[str]) -> str:
            names.append(match.group(1))
            return f"__reference_{len(names) - 1}"

        try:
            tree = ast.parse(_REFERENCE.sub(placed, text[1:]).strip(), mode="eval").body
            return self._value(tree, names, depth + 1)
        except (_NoValueError, SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
            return unread

    def _value(self, node: ast.AST, names: list[str], depth: int) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None))):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self._value(v, names, depth) for v in node.elts]
        if isinstance(node, ast.Name) and node.id.startswith("__reference_"):
            found = self._followed(names[int(node.id.removeprefix("__reference_"))], depth)
            if isinstance(found, Unread):
                raise _NoValueError
            return found
        if isinstance(node, ast.Attribute):
            return _constant(ast.unparse(node))
        if isinstance(node, ast.IfExp):
            chosen = node.body if self._value(node.test, names, depth) else node.orelse
            return self._value(chosen, names, depth)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, names, depth)
            if isinstance(node.op, ast.Not):
                return not value
            if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
                return -value
        if isinstance(node, ast.BinOp) and type(node.op) in _NUMBERS:
            left, right = self._value(node.left, names, depth), self._value(node.right, names, depth)
            lists = isinstance(left, list) and isinstance(right, list) and isinstance(node.op, ast.Add)
            if lists:
                # A list made of lists grows with each reference, so that it is paid for.
                self._left -= len(left) + len(right)
                if self._left < 0:
                    raise _NoValueError
            elif not all(isinstance(v, (int, float)) and abs(v) < 1e12 for v in (left, right)):
                raise _NoValueError
            return _NUMBERS[type(node.op)](left, right)
        raise _NoValueError


class _NoValueError(Exception):
    """Raised where an expression has no value without running it."""


def _constant(name: str) -> Any:
    """A number type of torch or NumPy, or one of MONAI's usual keys, by its full name; nothing is looked up in them."""
    home, _, last = name.rpartition(".")
    kind = vars(torch).get(last) if home == "torch" else None
    if isinstance(kind, torch.dtype):
        return kind
    if home in ("np", "numpy") and last in _NUMPY_TYPES:
        return np.dtype(last).type
    if home in ("monai.utils.CommonKeys", "monai.utils.enums.CommonKeys", "CommonKeys") and last in _KEYS:
        return last.lower()
    raise _NoValueError
