"""Progress on standard error: a bar on a terminal, a line now and then otherwise; and how long a thing takes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from regard.core.plain_text import without_controls

__all__ = ["BETWEEN_LINES", "Shown", "shown", "span", "unfiltered"]

BETWEEN_LINES = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def span(seconds: float) -> str:
    """A length of time in words, such as ``"40 s"``, ``"3 min"``, ``"1 h 20 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def unfiltered(stream: TextIO) -> TextIO:
    """The stream behind one that takes control characters out of text: a progress bar moves the cursor by itself."""
    behind: TextIO = getattr(stream, "unfiltered", stream)
    return behind


class Shown:
    """One bar over all cases or stages, and one for the loop that runs inside.

    Parameters
    ----------
    bars
        Where they are drawn; None draws nothing.
    quiet
        Say nothing either.
    """

    def __init__(self, bars: Progress | None, *, quiet: bool = False) -> None:
        self._bars, self._quiet = bars, quiet
        self._begun = self._told = time.monotonic()
        self._place = ("", 0, 1)
        self._outer = bars.add_task("", total=None, visible=False) if bars else None
        self._inner = bars.add_task("", total=None, visible=False) if bars else None

    def _line(self, share: float) -> None:
        """Where there is no terminal, a line now and then, with how long the rest takes as far as that is known."""
        now = time.monotonic()
        if self._bars is not None or self._quiet or now - self._told < BETWEEN_LINES:
            return
        self._told = now
        label, done, total = self._place
        gone = now - self._begun
        left = f", about {span(gone * (1 - share) / share)} to go" if done else ""
        self.say(f"{without_controls(label)}: {done} of {total} done, {span(gone)} gone{left}")

    def say(self, sentence: str) -> None:
        """Tell one sentence on standard error."""
        if self._quiet:
            return
        if self._bars is not None:
            self._bars.console.print(without_controls(sentence), markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{sentence}\n")

    def stage(self, label: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` cases are done and what comes next."""
        self._place = (label, done, total)
        self._line(done / max(total, 1))
        if self._bars is not None and self._outer is not None and self._inner is not None:
            self._bars.update(
                self._outer, description=without_controls(label), completed=done, total=total, visible=True
            )
            self._bars.update(self._inner, visible=False)

    def step(self, label: str, done: int, total: int) -> None:
        """Tell the progress of the loop inside; called by `regard.core.batching.run`."""
        _, outer, of = self._place
        self._line((outer + done / max(total, 1) / 2) / max(of, 1))
        if self._bars is not None and self._inner is not None:
            self._bars.update(self._inner, description=f"  {label}", completed=done, total=total, visible=done < total)


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Shown]:
    """Show progress within this context, when standard error is a terminal."""
    from regard.core.batching import reporting

    console = Console(file=unfiltered(sys.stderr))
    if quiet or not console.is_terminal:
        silent = Shown(None, quiet=quiet)
        with reporting(silent.step):
            yield silent
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bars:
        both = Shown(bars)
        with reporting(both.step):
            yield both
