"""Progress on standard error: a bar on a terminal, nothing otherwise."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from regard.cli.terminal import unfiltered
from regard.core.plain_text import without_controls

__all__ = ["shown"]


class _Shown:
    """One bar over all cases or stages, and one for the loop that runs inside."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._outer = bars.add_task("", total=None, visible=False) if bars else None
        self._inner = bars.add_task("", total=None, visible=False) if bars else None

    def stage(self, label: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` cases are done and what comes next."""
        if self._bars is not None and self._outer is not None and self._inner is not None:
            self._bars.update(
                self._outer, description=without_controls(label), completed=done, total=total, visible=True
            )
            self._bars.update(self._inner, visible=False)

    def step(self, label: str, done: int, total: int) -> None:
        """Tell the progress of the loop inside; called by `regard.core.batching.run`."""
        if self._bars is not None and self._inner is not None:
            self._bars.update(self._inner, description=f"  {label}", completed=done, total=total, visible=done < total)


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[_Shown]:
    """Show progress within this context, when standard error is a terminal."""
    from regard.core.batching import reporting

    console = Console(file=unfiltered(sys.stderr))
    if quiet or not console.is_terminal:
        silent = _Shown(None)
        with reporting(silent.step):
            yield silent
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        both = _Shown(bars)
        with reporting(both.step):
            yield both
