"""Forest, summary curve, funnel and quality of the studies."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.evidence.accuracy.bivariate import Fit
from regard.evidence.accuracy.checks import Deeks, naive
from regard.evidence.accuracy.curve import hsroc, moses_littenberg, region
from regard.evidence.accuracy.tables import QUADAS, Tables, wilson
from regard.evidence.statistics import exact_interval
from regard.report.invariances import save_figure
from regard.studies.diagnostic_meta_analysis.placing import Placed

__all__ = ["draw_forest", "draw_funnel", "draw_plane", "draw_quality"]

_COLOURS = ("#0b6e75", "#b4520a", "#5b4b8a", "#7a7a22", "#8a2f4b", "#3c6e3c")
_JUDGED = {"low": "#2a7f3f", "unclear": "#d9a91a", "high": "#b3261e"}


def draw_forest(tables: Tables, fit: Fit, path: Path) -> None:
    """Sensitivity and specificity of each study with Wilson's interval, and the pooled values."""
    n = len(tables)
    figure = Figure(figsize=(10, 1.4 + 0.22 * n), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    places = np.arange(n)[::-1]
    for axis, title, hit, missed in zip(axes, ("sensitivity", "specificity"), (0, 3), (1, 2), strict=True):
        found, of = tables.counts[:, hit], tables.counts[:, [hit, missed]].sum(1)
        low, high = wilson(found, of)
        axis.hlines(places, low, high, color="#667", linewidth=1)
        axis.scatter(found / of, places, s=8 + 40 * np.sqrt(of / of.max()), marker="s", color="#0b6e75", zorder=3)
        value, a, b = fit.rates()[0] if hit == 0 else 1 - fit.rates()[1][[0, 2, 1]]
        axis.fill([a, value, b, value], [-1.6, -1.2, -1.6, -2.0], color="#b4520a")
        axis.axvline(value, color="#b4520a", linewidth=0.7, linestyle=":")
        axis.set(xlim=(-0.02, 1.02), xlabel=f"{title} (95 %)", ylim=(-2.6, n - 0.4))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks([*places, -1.6], [*tables.names, f"pooled, {fit.n} studies"], fontsize=7)
    save_figure(figure, path)


def draw_plane(groups: Mapping[str, tuple[Tables, Fit | None]], networks: Sequence[Placed], path: Path) -> None:
    """The ROC plane: studies, pooled points with both regions, summary curves, and networks of one's own.

    A fit at a correlation of 1 or -1 has its point and no region; a group that is not pooled has its studies alone.
    """
    figure = Figure(figsize=(7.2, 6.6), layout="constrained")
    axis = figure.subplots()
    for k, (name, (tables, fit)) in enumerate(groups.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        rates, size = tables.rates, tables.counts.sum(1)
        axis.scatter(rates[:, 1], rates[:, 0], s=6 + 60 * np.sqrt(size / size.max()), facecolors="none",
                     edgecolors=colour, linewidths=0.8, label=f"{name}: {len(tables)} studies")  # fmt: skip
        if fit is not None:
            _draw_fit(axis, tables, fit, colour, whole=len(groups) == 1)
    for k, one in enumerate(networks):
        tp, fn, fp, tn = one.counts
        x, y = fp / (fp + tn), tp / (tp + fn)
        (x0, x1), (y0, y1) = exact_interval(fp, fp + tn), exact_interval(tp, tp + fn)
        axis.errorbar(x, y, xerr=[[x - x0], [x1 - x]], yerr=[[y - y0], [y1 - y]], marker="D", markersize=6,
                      color="black", mfc=_COLOURS[-1 - k % len(_COLOURS)], linewidth=1, label=one.name)  # fmt: skip
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positive rate (1 - specificity)",
             ylabel="sensitivity", aspect="equal")  # fmt: skip
    axis.plot([0, 1], [0, 1], color="#ccc", linewidth=0.8, zorder=0)
    axis.legend(fontsize=7, loc="lower right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _draw_fit(axis: Axes, tables: Tables, fit: Fit, colour: str, *, whole: bool) -> None:
    point = fit.rates()[:, 0]
    label = f"pooled (correlation {fit.correlation:.2f}: no region)" if fit.at_boundary else "pooled, 95 % region"
    axis.plot(point[1], point[0], marker="o", color=colour, markersize=7, linestyle="none", label=label)
    if fit.at_boundary:
        return
    axis.plot(*region(fit).T, color=colour, linewidth=1.4)
    axis.plot(*region(fit, of_new_study=True).T, color=colour, linewidth=1, linestyle=":", label="a new study, 95 %")
    seen = np.linspace(max(1e-3, tables.rates[:, 1].min()), min(1 - 1e-3, tables.rates[:, 1].max()), 200)
    axis.plot(seen, hsroc(fit).sensitivity(seen), color=colour, linewidth=0.9, alpha=0.7, label="summary curve")
    if whole:
        intercept, slope = moses_littenberg(tables)
        at = np.log(seen / (1 - seen))
        axis.plot(seen, 1 / (1 + np.exp(-(intercept + (1 + slope) * at) / (1 - slope))), color="#999", linewidth=0.9,
                  linestyle="--", label="Moses and Littenberg (no spread, no weights)")  # fmt: skip
        rough = naive(tables)
        axis.plot(rough[1], rough[0], marker="x", color="#999", linestyle="none", label="all counts added up (wrong)")


def draw_funnel(found: Deeks, path: Path) -> None:
    """Odds ratios against the effective size, with the line of Deeks' test."""
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axis = figure.subplots()
    x = found.sizes**-0.5
    axis.scatter(found.effects, x, s=18, color="#0b6e75")
    ends = np.array([x.min(), x.max()])
    axis.plot(found.intercept + found.slope * ends, ends, color="#b4520a", linewidth=1)
    axis.set(xlabel="logarithm of the diagnostic odds ratio", ylabel="1 / root of the effective size")
    axis.set_title(f"p = {found.p:.2g} that small studies differ (Deeks)", fontsize=9)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_quality(tables: Tables, path: Path) -> bool:
    """Share of the studies judged low, unclear and high in each domain of QUADAS-2; False where none is judged."""
    given = {k.lower(): v for k, v in tables.columns.items()}
    domains = [d for d in QUADAS if d in given]
    if not domains:
        return False
    figure = Figure(figsize=(7.5, 0.9 + 0.4 * len(domains)), layout="constrained")
    axis = figure.subplots()
    for row, domain in enumerate(reversed(domains)):
        start = 0.0
        for word, colour in _JUDGED.items():
            share = float(np.mean([v.lower() == word for v in given[domain]]))
            axis.barh(row, share, left=start, color=colour, label=word if row == 0 else None)
            start += share
    axis.set_yticks(range(len(domains)), list(reversed(domains)), fontsize=8)
    axis.set(xlim=(0, 1), xlabel="share of studies")
    axis.legend(ncols=3, fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True
