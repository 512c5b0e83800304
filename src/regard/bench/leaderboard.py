"""The pictures of a benchmark: a leaderboard, and what it takes for a shortcut to be seen."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.bench.plan import CONTROLS, BenchPlan
from regard.bench.statistics import resampled
from regard.bench.table import ALL, DETECTION, EFFECT, MODEL, Row, dose_of
from regard.io.atomic import atomic

__all__ = ["draw_leaderboard", "draw_shortcuts", "ranking"]

_TEXT, _QUIET, _GRID = "#1b2330", "#5a6473", "#dfe3e8"
_METHOD, _CONTROL = "#0b6b74", "#9aa3ad"
_LINES = ("#0b6b74", "#c2571a", "#5b4bb5", "#a32a5e", "#3f7d20", "#8a6d00")


def _found(rows: Sequence[Row], measure: str) -> dict[tuple[str, str], Row]:
    return {(r.method, r.phantom): r for r in rows if r.measure == measure and r.network == ALL}


def ranking(plan: BenchPlan, rows: Sequence[Row], measure: str) -> list[str]:
    """Methods from best to worst by their mean over phantoms, then controls likewise."""
    found = _found(rows, measure)
    columns = _columns(plan)
    way = next((-1.0 if r.direction == "higher" else 1.0 for r in found.values()), -1.0)

    def place(label: str) -> tuple[bool, float, str]:
        values = [found[label, c].value for c in columns if (label, c) in found]
        value = float(np.nanmean(values)) if np.isfinite(values).any() else np.inf
        return label in CONTROLS, way * value, label

    return sorted(plan.labels, key=place)


def _columns(plan: BenchPlan) -> list[str]:
    plain = [p for p in plan.phantoms if dose_of(p) is None]
    return plain or list(plan.phantoms)


def draw_leaderboard(plan: BenchPlan, rows: Sequence[Row], path: Path) -> None:
    """Write the leaderboard: mean over phantoms with its interval beside the value on each phantom.

    Parameters
    ----------
    plan
        What was compared.
    rows
        Rows of ``bench.tsv``.
    path
        The PNG.
    """
    measure = plan.measures[0]
    found, columns = _found(rows, measure), _columns(plan)
    order = ranking(plan, rows, measure)
    n = next(iter(found.values()))
    figure = Figure(figsize=(3.6 + 0.95 * len(columns) + 2.6, 1.5 + 0.36 * len(order)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2.6, 0.95 * len(columns)])
    _intervals(left, order, found, columns)
    _grid(right, order, found, columns)
    unit = "" if n.unit == "1" else f" [{n.unit}]"
    figure.suptitle(
        f"Which map shows what the network uses?  {measure} against model truth{unit}", x=0.01, ha="left", color=_TEXT
    )
    figure.text(
        0.01,
        0.0,
        f"{plan.kind}, size {plan.size}: {plan.n_networks} network(s) each, {plan.n_explained} patients; bars: 95 %, "
        f"{resampled(plan.n_networks)}; grey: controls",
        fontsize=8,
        color=_QUIET,
        va="top",
    )
    _save(figure, path)


def _intervals(axis: Axes, order: Sequence[str], found: dict[tuple[str, str], Row], columns: Sequence[str]) -> None:
    for y, label in enumerate(order):
        row = found.get((label, ALL)) or found[label, columns[0]]
        colour = _CONTROL if label in CONTROLS else _METHOD
        if np.isfinite(row.low):
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
        axis.plot(row.value, y, "o", color=colour, markersize=6)
    axis.set_yticks(range(len(order)), order)
    for tick, label in zip(axis.get_yticklabels(), order, strict=True):
        tick.set_color(_QUIET if label in CONTROLS else _TEXT)
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.set_title("mean over kinds of images" if len(columns) > 1 else columns[0], fontsize=9, color=_QUIET)
    _plain(axis)
    if all(0 <= r.value <= 1 for r in found.values() if np.isfinite(r.value)):
        axis.set_xlim(0, 1)


def _grid(axis: Axes, order: Sequence[str], found: dict[tuple[str, str], Row], columns: Sequence[str]) -> None:
    values = np.array([[found[m, c].value for c in columns] for m in order])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    bounded = low >= 0 and high <= 1
    axis.imshow(values, aspect="auto", cmap="Blues", vmin=0 if bounded else low, vmax=1 if bounded else high)
    for y, x in np.ndindex(*values.shape):
        dark = (values[y, x] - (0 if bounded else low)) > 0.6 * ((1 if bounded else high) - (0 if bounded else low))
        axis.text(x, y, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=8.5, color="white" if dark else _TEXT)
    axis.set_xticks(range(len(columns)), [c.replace("-", "\n", 1) for c in columns], fontsize=9)
    axis.tick_params(length=0, colors=_TEXT, labeltop=True, labelbottom=False, labelleft=False)
    for side in axis.spines.values():
        side.set_visible(False)


def draw_shortcuts(plan: BenchPlan, rows: Sequence[Row], path: Path) -> bool:
    """Write the rate at which each method's maps give the decoy away, by dose, under its true effect on the output.

    Returns
    -------
    bool
        False, and no picture, when the benchmark has no decoy of dose 0 or no other dose.
    """
    doses = {dose: p for p in plan.phantoms if (dose := dose_of(p)) is not None}
    if 0 not in doses or len(doses) < 2:
        return False
    x = sorted(doses)
    detected, effects = _found(rows, DETECTION), _found(rows, EFFECT)
    order = [m for m in ranking(plan, rows, plan.measures[0]) if (m, doses[0]) in detected]
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.4])
    row = [effects[MODEL, doses[d]] for d in x]
    above.plot(x, [r.value for r in row], "o-", color=_TEXT)
    bars = [(d, r) for d, r in zip(x, row, strict=True) if np.isfinite(r.low)]
    for d, r in bars:
        above.plot([d, d], [r.low, r.high], color=_TEXT, linewidth=1.2)
    above.set_ylim(bottom=0)
    above.set_title(
        f"true effect of the decoy on the output, least to most [{row[0].unit}]", fontsize=9, loc="left", color=_TEXT
    )
    best = sorted((m for m in order if m not in CONTROLS), key=lambda m: -_mean(detected[m, doses[d]].value for d in x))
    for label in order:
        lead = best.index(label) if label in best[: len(_LINES)] else None
        colour = "#cfd5dc" if lead is None else _LINES[lead]
        colour = _CONTROL if label in CONTROLS else colour
        style = "--" if label in CONTROLS else "-"
        below.plot(x, [detected[label, doses[d]].value for d in x], style, marker="o", markersize=4, color=colour)
    _name_lines(below, x, {m: [detected[m, doses[d]].value for d in x] for m in order}, best)
    below.axhline(0.05, color=_QUIET, linewidth=0.8, linestyle=":")
    below.set_ylim(-0.03, 1.03)
    below.set_xticks(x)
    below.set_xlabel("dose: correlation of the decoy with the label", fontsize=9, color=_TEXT)
    below.set_title(
        "share of cases whose map gives the decoy away (dotted: 5 % false alarms; dashed: controls)",
        fontsize=9,
        loc="left",
        color=_TEXT,
    )
    for axis in (above, below):
        _plain(axis)
    _save(figure, path)
    return True


def _mean(values: Iterable[float]) -> float:
    """Mean, with 0 for what is not defined."""
    known = [0.0 if np.isnan(v) else v for v in values]
    return sum(known) / len(known)


def _name_lines(axis: Axes, x: Sequence[float], lines: dict[str, list[float]], best: Sequence[str]) -> None:
    """Names beside the lines' ends, kept apart from one another."""
    ends = sorted((values[-1], label) for label, values in lines.items() if np.isfinite(values[-1]))
    step = 0.055
    places: list[float] = []
    for value, _ in ends:
        places.append(max(value, places[-1] + step) if places else value)
    over = max(0.0, places[-1] - 1.0) if places else 0.0
    for n in range(len(places) - 1, -1, -1):
        ceiling = 1.0 if n == len(places) - 1 else places[n + 1] - step
        places[n] = min(places[n], ceiling) if over else places[n]
    for (value, label), place in zip(ends, places, strict=True):
        lead = best.index(label) if label in best[: len(_LINES)] else None
        colour = _QUIET if lead is None else _LINES[lead]
        axis.annotate(
            f"{label}  {value:.2f}",
            (x[-1], place),
            xytext=(10, 0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _plain(axis: Axes) -> None:
    axis.grid(axis="x", color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, colors=_TEXT, labelsize=9)
    for side in axis.spines.values():
        side.set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        figure.savefig(
            draft, format="png", dpi=120, facecolor="white", bbox_inches="tight", metadata={"Software": None}
        )
