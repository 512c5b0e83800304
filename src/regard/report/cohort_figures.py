"""Pictures of a cohort: population maps, regions with their intervals, predictions beside labels."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from regard.core.errors import MissingDependencyError
from regard.core.explanation import Explanation
from regard.core.optional import need
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.io.maps import nifti_bytes
from regard.report.colours import scale_of
from regard.report.figures import overlay

__all__ = ["draw_population", "draw_predictions", "draw_regions"]

_TEXT, _QUIET, _POINT, _CLEAR = "#1b2330", "#5a6473", "#a9b1bd", "#c45410"


def draw_population(
    mean: Volume,
    t: Volume,
    base: Volume,
    stem: Path,
    *,
    title: str,
    facts: Mapping[str, Any],
    space: str,
    n_cases: int,
    against: str,
) -> list[Path]:
    """Write pictures of a population map: its mean and its t over what it is drawn on.

    Parameters
    ----------
    mean, t
        On the cohort's grid.
    base
        What they are drawn on: the template, or the mean image.
    stem
        Start of the files' names.
    title
        Name of the map.
    facts
        Its quantity, unit, sign, method, target, mean prediction and output unit.
    space
        Maps in an MNI space are also drawn as a glass brain, where nilearn is installed.
    n_cases
        Of the cohort.
    against
        What the t-map compares with.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    files = []
    shown = {
        "mean": _explanation(mean, base, facts, f"mean of {n_cases} cases", title, str(facts["unit"])),
        "t": _explanation(t, base, {**facts, "quantity": "score", "sign": None}, f"t over {n_cases} cases", title, "t"),
    }
    for word, explanation in shown.items():
        if bool(np.isfinite(explanation.numpy()).any()):
            files.append(overlay(explanation, stem.with_name(f"{stem.name}_{word}.png")))
    if space.startswith("MNI") and min(mean.shape) > 1 and files:
        try:
            files += _brains(shown, stem, against)
        except MissingDependencyError:
            return files
    return files


def _explanation(
    values: Volume, base: Volume, facts: Mapping[str, Any], case: str, title: str, unit: str
) -> Explanation:
    """A population map as figures take maps."""
    signed = facts.get("sign")
    return Explanation(
        relevance=values,
        scan=base,
        case=case,
        method=str(facts.get("method", title)),
        quantity=Quantity(facts["quantity"]),
        # A t-map has both signs, whatever its map's.
        sign=Sign.RAISED if signed is None else Sign(signed),
        unit=unit,
        prediction=float(facts["prediction"]),
        target=f"mean of {facts['target']}",
        output_unit=str(facts["output_unit"]),
        label=title,
    )


def _brains(shown: Mapping[str, Explanation], stem: Path, against: str) -> list[Path]:
    plotting = need("nilearn.plotting", extra="studies", purpose="a glass brain")
    nibabel = need("nibabel", extra="studies", purpose="a glass brain")
    files = []
    for word, explanation in shown.items():
        volume = explanation.relevance
        values = volume.with_tensor(volume.tensor.nan_to_num(0.0))
        image = nibabel.Nifti1Image.from_bytes(nifti_bytes(values, word, packed=False))
        path = stem.with_name(f"{stem.name}_{word}_glass.png")
        signed = bool((values.tensor < 0).any())
        full = scale_of(explanation)
        figure = Figure(figsize=(9.5, 3.6))
        with atomic(path) as draft, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plotting.plot_glass_brain(
                image,
                figure=figure,
                display_mode="lyrz",
                colorbar=True,
                plot_abs=False,
                symmetric_cbar=signed,
                cmap="RdBu_r" if signed else "inferno",
                vmin=-full if signed else 0.0,
                vmax=full,
                threshold=0.1 * full,
            )
            what = f"{explanation.name}, {explanation.case} [{explanation.unit}]"
            figure.suptitle(what if word == "mean" else f"{what}: {against}", fontsize=9, color=_TEXT, y=0.99)
            figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
        files.append(path)
    return files


def draw_regions(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> Path:
    """Write a picture of regions by density, with their intervals; those with p below 0.05 stand out.

    Parameters
    ----------
    rows
        Of ``regions.tsv``, in the order to draw.
    path
        The file.
    title
        Name of the map.
    """
    figure = Figure(figsize=(7.2, 1.3 + 0.24 * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    tested = any(not np.isnan(r["p_maxT"]) for r in rows)
    for n, row in enumerate(rows):
        clear = not np.isnan(row["p_maxT"]) and row["p_maxT"] < 0.05
        colour = _CLEAR if clear else _QUIET
        if not np.isnan(row["low"]):
            axis.plot([row["low"], row["high"]], [n, n], color=colour, linewidth=2.2, solid_capstyle="butt")
        axis.plot(row["density"], n, "o", color=colour, markersize=4.5)
    axis.axvline(1.0, color=_POINT, linewidth=1, zorder=0)
    axis.set_yticks(range(len(rows)), [_plain(str(r["region"])) for r in rows], fontsize=8, color=_TEXT)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    label = "density: share of relevance over share of volume"
    axis.set_xlabel(label + ("; orange: p < 0.05 against the null map" if tested else ""), fontsize=8, color=_TEXT)
    axis.set_title(_plain(f"{title}, n = {rows[0]['n']} patients"), fontsize=10, color=_TEXT, weight="bold")
    axis.tick_params(axis="x", labelsize=8, colors=_TEXT)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return _save(figure, path)


def draw_predictions(pairs: np.ndarray, path: Path, *, unit: str) -> Path:
    """Write a picture of predictions over labels.

    Parameters
    ----------
    pairs
        (case, 2): prediction and label.
    path
        The file.
    unit
        Of both.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axis = figure.add_subplot()
    low, high = float(pairs.min()), float(pairs.max())
    reach = 0.04 * (high - low or 1.0)
    axis.plot([low, high], [low, high], color=_POINT, linewidth=1)
    axis.plot(pairs[:, 1], pairs[:, 0], "o", color=_CLEAR, markersize=4, alpha=0.6, markeredgewidth=0)
    axis.set_xlim(low - reach, high + reach)
    axis.set_ylim(low - reach, high + reach)
    axis.set_aspect("equal")
    axis.set_xlabel(_plain(f"label [{unit}]"), fontsize=8, color=_TEXT)
    axis.set_ylabel(_plain(f"prediction [{unit}]"), fontsize=8, color=_TEXT)
    axis.tick_params(labelsize=8, colors=_TEXT)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    with atomic(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
