"""Pictures of signals: each lead as a trace over time, all at one scale, with its map in colours behind it."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.report import words
from regard.report.colours import is_signed, paint
from regard.report.display import extreme

__all__ = ["draw_signal", "window_shown"]

_INK, _QUIET = "#1b2330", "#5a6473"
LONGEST_S = 12.0
"""Seconds of a recording that are drawn; of a longer one those around the map's largest value."""

MOST_LEADS = 16
"""Leads that are drawn; of more, those whose map is strongest."""


def window_shown(explanation: Explanation, longest_s: float = LONGEST_S) -> tuple[int, int]:
    """First sample that is drawn, and the one after the last."""
    facts = explanation.scan.signal
    if facts is None:
        raise InputError("a map of an image", "one of a signal", "draw it with regard.report.figures")
    n = explanation.scan.shape[0]
    wide = min(n, max(2, round(longest_s * facts.rate_hz)))
    first = min(max(0, extreme(explanation)[0] - wide // 2), n - wide)
    return first, first + wide


def draw_signal(
    explanation: Explanation,
    full: float,
    captions: Callable[[Figure, bool], None],
    colour_bar: Callable[[Axes], None],
    new: Callable[..., Figure] = Figure,
) -> Figure:
    """The figure of a signal and its map.

    Parameters
    ----------
    explanation
        Of a signal.
    full
        Value in full colour.
    captions
        Writes the words around a figure; told whether places are there that the network did not see.
    colour_bar
        Draws the bar into axes.
    new
        Makes the figure.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes per lead, all over the same time and the same span of values, and the bar last.
    """
    scan, facts = explanation.scan, explanation.scan.signal
    first, end = window_shown(explanation)
    assert facts is not None
    start, step = float(scan.affine[0, 3]), 1 / facts.rate_hz
    times = start + step * np.arange(first, end)
    traces = scan.tensor[:, first:end, 0, 0].detach().cpu().float().numpy()
    maps = _maps(explanation, first, end)
    shown = _leads_shown(traces, maps)
    resolved = explanation.resolved()
    sure = None if resolved is None else resolved[first:end, 0, 0].cpu().numpy()
    middles = np.nanmedian(traces, axis=1)
    half = float(np.nanmax(np.abs(traces[shown] - middles[shown, None]))) * 1.1 or 1.0
    height = 1.0 if len(shown) < 4 else max(0.55, 6.4 / len(shown))
    inches = height * len(shown) + 2.05
    figure = new(figsize=(10.0, inches))
    for row, lead in enumerate(shown):
        box = (0.11, (1.35 + height * (len(shown) - 1 - row)) / inches, 0.85, 0.94 * height / inches)
        axis = figure.add_axes(box)
        low, high = float(middles[lead] - half), float(middles[lead] + half)
        strip = np.repeat(maps[lead][None] if len(maps) > 1 else maps, 16, 0)
        unsure = None if sure is None else np.repeat(sure[None], 16, 0)
        picture = paint(np.ones(strip.shape), strip, full, signed=is_signed(explanation), resolved=unsure)
        edges = (times[0] - step / 2, times[-1] + step / 2, low, high)
        axis.imshow(picture, extent=edges, aspect="auto", interpolation="nearest", zorder=0)
        axis.plot(times, traces[lead], color=_INK, linewidth=0.8, zorder=2)
        axis.set_xlim(edges[0], edges[1])
        axis.set_ylim(low, high)
        axis.set_ylabel(words.in_figure(facts.leads[lead]), rotation=0, ha="right", va="center", fontsize=9, color=_INK)
        axis.tick_params(labelsize=7, colors=_QUIET, labelbottom=row == len(shown) - 1, length=2)
        axis.locator_params(axis="y", nbins=3)
        for spine in axis.spines.values():
            spine.set_color("#d5dae1")
    unit = words.in_figure(scan.unit)
    seconds = (end - first) * step
    part = (
        "" if end - first == scan.shape[0] else f"; {seconds:.4g} of {scan.shape[0] * step:.4g} s, at the largest value"
    )
    lead_words = "" if len(shown) == len(traces) else f"; {len(shown)} of {len(traces)} leads"
    alike = "" if len(maps) > 1 or len(traces) == 1 else "; the map takes all leads together"
    figure.axes[-1].set_xlabel(
        f"time [s]; values [{unit}], one scale for all leads{part}{lead_words}{alike}", fontsize=8, color=_QUIET
    )
    bar = figure.add_axes((0.32, 0.72 / inches, 0.36, 0.14 / inches))
    colour_bar(bar)
    captions(figure, bool(np.isnan(maps[shown] if len(maps) > 1 else maps).any()))
    return figure


def _maps(explanation: Explanation, first: int, end: int) -> np.ndarray:
    """Map of each lead of the scan (lead, sample), or of all leads (1, sample); NaN for a lead the network lacks."""
    if explanation.by_lead is None:
        array: np.ndarray = explanation.relevance.tensor[:, first:end, 0, 0].detach().cpu().float().numpy()
        return array
    facts = explanation.scan.signal
    assert facts is not None
    values = explanation.by_lead.tensor[:, first:end, 0, 0].detach().cpu().float().numpy()
    rows = {name: values[n] for n, name in enumerate(explanation.leads)}
    blank = np.full(end - first, np.nan, dtype=np.float32)
    return np.stack([rows.get(name, blank) for name in facts.leads])


def _leads_shown(traces: np.ndarray, maps: np.ndarray) -> Sequence[int]:
    """Numbers of the leads that are drawn: those the network sees, at most `MOST_LEADS`, in the recording's order."""
    if len(maps) != len(traces):
        return list(range(min(len(traces), MOST_LEADS)))
    size = np.nan_to_num(np.abs(maps)).sum(1)
    seen = [n for n in range(len(maps)) if np.isfinite(maps[n]).any()] or list(range(len(maps)))
    strongest = sorted(seen, key=lambda n: -size[n])[:MOST_LEADS]
    return sorted(strongest)
