"""Small tables with a header, of tabs or commas: regions, boxes, records of a run."""

import csv
import io
from pathlib import Path

from regard.core.errors import FileError
from regard.io.guard import parsing, read_text

__all__ = ["MOST_CELL", "read_cells", "read_rows"]

MOST_CELL = 131_072
"""Characters that one cell may hold."""


def read_cells(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """The rows of a table that are not empty, each with its line number.

    Parameters
    ----------
    path
        ``.csv`` is divided by commas, any other by tabs.
    what
        What it should be, for the message.

    Raises
    ------
    FileError
        If it is missing, no file, no text in UTF-8, or no table.
    """
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    text = read_text(path, what)
    if "\0" in text:
        raise FileError(f"'{path}', which holds bytes of 0", f"a {what} as text", "save it again as text")
    with parsing(path, what, do="save it again"):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [(reader.line_num, cells) for row in reader if any(cells := [cell.strip() for cell in row])]


def read_rows(path: Path, what: str) -> list[dict[str, str]]:
    """The rows of a table by its header's columns; a cell that a row lacks is empty, one too many is left out.

    Parameters and errors as `read_cells`.
    """
    rows = [row for _, row in read_cells(path, what)]
    if not rows:
        return []
    header = rows[0]
    return [dict(zip(header, row + [""] * (len(header) - len(row)), strict=False)) for row in rows[1:]]
