"""What a paper did and what is done here, written once: a table beside the study, from which all else is made."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, get_args

from regard.core.errors import CardError

__all__ = ["BEGIN", "END", "Item", "items_table", "read_items", "with_items"]

State = Literal["done", "reduced", "absent"]

COLUMNS = ("in the paper", "state", "here")
"""Of the table of items."""

BEGIN, END = "<!-- items: made by docs/study_items.py -->", "<!-- items end -->"
"""What the table of a page in Markdown stands between."""


@dataclass(frozen=True)
class Item:
    """One thing that the paper did.

    Parameters
    ----------
    what
        In the paper.
    state
        Whether it is done here.
    how
        What is done here; of a reduced item from what to what.
    """

    what: str
    state: State
    how: str


def read_items(package: str, name: str = "items.tsv") -> tuple[Item, ...]:
    """Read a study's items from a table with the columns ``in the paper``, ``state`` and ``here``.

    Parameters
    ----------
    package
        Where the table lies, such as ``"regard.studies.ldct"``.
    name
        Of the file.

    Raises
    ------
    CardError
        If a column, a state or a text is missing.
    """
    text = files(package).joinpath(name).read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines(), dialect="excel-tab", quoting=csv.QUOTE_NONE))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise CardError(f"{name} of {package} with {rows[0] if rows else 'no line'}", f"the columns {COLUMNS}", "name")
    items = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS) or row[1] not in get_args(State) or not all(cell.strip() for cell in row):
            states = ", ".join(get_args(State))
            raise CardError(
                f"line {number} of {name} of {package}: {row}", f"three texts, the second of {states}", "correct it"
            )
        items.append(Item(row[0], row[1], row[2]))  # type: ignore[arg-type]
    return tuple(items)


def items_table(items: Sequence[Item]) -> str:
    """The items as a table in Markdown."""
    rows = [("in the paper", "here", "how"), ("---",) * 3, *((i.what, i.state, i.how) for i in items)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def with_items(page: str, items: Sequence[Item]) -> str:
    """A page in Markdown, its table of items made anew.

    Raises
    ------
    CardError
        If the page does not say where the table goes.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise CardError("a page without a place for its items", f"'{BEGIN}' and '{END}', once each", "add them")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{items_table(items)}\n\n{END}{after}"
