"""The figure of a noise map's extent against lambda."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from regard.explainers.learned.extent import ExtentRow
from regard.io.atomic import atomic

__all__ = ["draw_extent_curve"]


def draw_extent_curve(rows: Sequence[ExtentRow], path: str | Path, *, unit: str) -> Path:
    """Write a PNG of mean noise and extent, and of the prediction's change, against lambda.

    Parameters
    ----------
    rows
        Of `regard.explainers.learned.extent.extent_curve`.
    path
        The file.
    unit
        Of the output.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(path)
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    strengths = [r.strength for r in rows]
    left.semilogx(strengths, [r.mean_noise for r in rows], "o-", color="#1f5fa8", label="mean noise B")
    left.semilogx(
        strengths, [r.share_important for r in rows], "s--", color="#b3541e", label="share of places with B < 0.5"
    )
    left.set_ylim(0, 1)
    left.set_ylabel("over the foreground")
    left.legend(frameon=False)
    right.loglog(strengths, [r.prediction_change for r in rows], "o-", color="#1f5fa8", label="under the map's noise")
    strongest = [r.strongest_change for r in rows]
    right.loglog(strengths, strongest, ":", color="#5a6473", label="under the strongest noise")
    right.set_ylabel(f"change of the prediction, rms [{unit}]")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xlabel("lambda / spread²")
        axis.spines[["top", "right"]].set_visible(False)
    n_cases = rows[0].n_cases if rows else 0
    figure.suptitle(f"How far the map reaches depends on lambda ({n_cases} case{'s' * (n_cases != 1)})", fontsize=10)
    with atomic(path) as draft:
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path
