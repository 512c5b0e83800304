"""What the command line writes, fit for a terminal: names and messages of other people steer nothing there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from regard.core.plain_text import without_controls

__all__ = ["plain_terminal"]


class _Plain:
    """A stream whose text is written without control characters; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        """Write text, with its control characters written out."""
        self.unfiltered.write(without_controls(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write lines as `write` does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextmanager
def plain_terminal() -> Iterator[None]:
    """Within this context nothing that is printed or logged steers the terminal."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Plain(s) for s in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
