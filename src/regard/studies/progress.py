"""Progress of a study on standard error, with a forecast: bars on a terminal, a line now and then otherwise."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from regard.runs.progress import span, unfiltered

__all__ = ["Forecast", "shown_study"]

_BETWEEN_LINES = 15.0


class Forecast:
    """How much of a study is done, and how long the rest takes.

    Parameters
    ----------
    shares
        Share of the time of each act.
    acts
        The acts that are still to be run.
    """

    def __init__(self, shares: Mapping[str, float], acts: Sequence[str]) -> None:
        whole = sum(shares[a] for a in acts) or 1.0
        self.shares = {a: shares[a] / whole for a in acts}
        self.begun = time.monotonic()
        self.fraction = 0.0
        self._skipped: float | None = None

    def update(self, act: str, done: float, total: float) -> None:
        """Tell that ``done`` of ``total`` pieces of an act are done."""
        acts = list(self.shares)
        if act not in self.shares:
            return
        before = sum(self.shares[a] for a in acts[: acts.index(act)])
        now = before + self.shares[act] * min(done / max(total, 1e-9), 1.0)
        self.fraction = max(self.fraction, now)

    @property
    def left(self) -> float | None:
        """Seconds to go, or None while too little is known."""
        gone = time.monotonic() - self.begun
        if self.fraction < 0.02 or gone < 3:
            return None
        return gone * (1 - self.fraction) / self.fraction

    def __str__(self) -> str:
        gone = span(time.monotonic() - self.begun)
        left = self.left
        return f"{gone} gone" + ("" if left is None else f", about {span(left)} to go")


class _Shown:
    def __init__(self, forecast: Forecast, bars: Progress | None, quiet: bool) -> None:
        self.forecast, self._bars, self._quiet = forecast, bars, quiet
        self._outer = bars.add_task("", total=1.0) if bars else None
        self._told, self._act = -_BETWEEN_LINES, ""
        self._place = ("", "", 0, 1)

    def stage(self, act: str, label: str, done: int, total: int) -> None:
        """Tell what comes next in an act."""
        self._place = (act, label, done, total)
        self.forecast.update(act, done, total)
        self._tell(f"{act} {done}/{total}: {label}", anew=act != self._act)
        self._act = act

    def step(self, label: str, done: int, total: int) -> None:
        """Tell the progress of the loop inside."""
        act, outer, n, of = self._place
        self.forecast.update(act, n + min(done / max(total, 1), 1.0), of)
        self._tell(f"{act} {n}/{of}: {outer}, {label} {done}/{total}", anew=False)

    def _tell(self, text: str, *, anew: bool) -> None:
        if self._bars is not None and self._outer is not None:
            said = f"{text}; {self.forecast}"
            self._bars.update(self._outer, description=said, completed=self.forecast.fraction)
            return
        now = time.monotonic()
        if self._quiet or (not anew and now - self._told < _BETWEEN_LINES):
            return
        self._told = now
        sys.stderr.write(f"{text}; {self.forecast}\n")


@contextmanager
def shown_study(shares: Mapping[str, float], acts: Sequence[str], *, quiet: bool = False) -> Iterator[_Shown]:
    """Show the progress of a study within this context."""
    from regard.core.batching import reporting

    forecast = Forecast(shares, acts)
    console = Console(file=unfiltered(sys.stderr))
    if quiet or not console.is_terminal:
        plain = _Shown(forecast, None, quiet)
        with reporting(plain.step):
            yield plain
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bars:
        both = _Shown(forecast, bars, quiet)
        with reporting(both.step):
            yield both
