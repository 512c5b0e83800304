"""Names become objects in one visible place: a static table per layer, so that a listing loads nothing heavy."""

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from regard.core.errors import RegardError, UnknownNameError

__all__ = ["Registry"]


class Registry:
    """A table of name to ``"module:object"`` and one line each; third parties add to it by entry points.

    Parameters
    ----------
    kind
        What is registered, for messages.
    group
        Entry-point group of third parties.
    table
        Name to (``"module:object"``, one line), possibly followed by further facts.

    Raises
    ------
    RegardError
        If an entry point takes a name that is taken.
    """

    def __init__(self, kind: str, group: str, table: Mapping[str, tuple[Any, ...]]) -> None:
        self.kind, self.group = kind, group
        self._table = dict(table)
        self._found = False

    def _all(self) -> dict[str, tuple[Any, ...]]:
        if not self._found:
            self._found = True
            for point in entry_points(group=self.group):
                self.add(point.name, point.value, f"from {point.dist.name if point.dist else 'an entry point'}")
        return self._table

    def add(self, name: str, target: str, line: str) -> None:
        """Add one entry, named ``name``, at ``"module:object"``."""
        if name in self._table:
            raise RegardError(f"two entries for the {self.kind} '{name}': {self._table[name][0]} and {target}")
        self._table[name] = (target, line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __contains__(self, name: str) -> bool:
        return name in self._all()

    def names(self) -> list[str]:
        """All names, in the table's order."""
        return list(self._all())

    def entry(self, name: str) -> tuple[Any, ...]:
        """The table's row of ``name``: ``"module:object"``, one line, further facts.

        Raises
        ------
        UnknownNameError
            If there is no such name; the nearest are suggested.
        """
        table = self._all()
        if name not in table:
            raise UnknownNameError.suggest(self.kind, name, table)
        return table[name]

    def load(self, name: str) -> Any:
        """Import and return the object registered as ``name``."""
        module, _, attribute = str(self.entry(name)[0]).partition(":")
        return getattr(importlib.import_module(module), attribute)
