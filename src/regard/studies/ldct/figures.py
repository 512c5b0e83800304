"""Pictures of the study: the denoisers side by side, noise power, galleries of invariances, curves, spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from regard.io.atomic import atomic
from regard.studies.ldct.explain import Found
from regard.studies.ldct.null_space import Free

__all__ = [
    "WINDOW",
    "draw_curve",
    "draw_denoised",
    "draw_free",
    "draw_gallery",
    "draw_lesions",
    "draw_rejections",
    "draw_spectra",
    "draw_spread",
]

WINDOW = (-160.0, 240.0)
"""HU that are shown, from black to white."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FREE = 4
"""Directions of the null space that are drawn, the least gain first."""
_TILDE = "x\N{COMBINING TILDE}"


def _save(figure: Figure, path: Path) -> Path:
    with atomic(path) as draft:
        figure.savefig(draft, format="png", dpi=100, facecolor="white", metadata={"Software": None})
    return path


def _show(axis: Axes, image: Tensor, title: str = "", *, full: float | None = None, colours: str = "RdBu_r") -> object:
    if full is None:
        kind = {"cmap": "gray", "vmin": WINDOW[0], "vmax": WINDOW[1]}
    else:
        kind = {"cmap": colours, "vmin": -full if colours == "RdBu_r" else 0.0, "vmax": full}
    shown = axis.imshow(image.squeeze().cpu().numpy(), interpolation="nearest", **kind)  # type: ignore[arg-type]
    axis.set_xticks([])
    axis.set_yticks([])
    if title:
        axis.set_title(title, fontsize=8)
    return shown


def draw_denoised(rows: Sequence[Mapping[str, Tensor]], path: Path) -> Path:
    """Slices by what made them, one row for each case, -160 to 240 HU."""
    n = len(rows[0])
    figure = Figure(figsize=(2.0 * n, 2.15 * len(rows) + 0.2), layout="constrained")
    axes = figure.subplots(len(rows), n, squeeze=False)
    for k, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for axis, (name, image) in zip(line, row.items(), strict=True):
            _show(axis, image, name if k == 0 else "")
    return _save(figure, path)


def draw_spectra(spectra: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path) -> Path:
    """Noise power over frequency, on a logarithmic axis as denoisers differ by orders of magnitude."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axis = figure.subplots()
    for k, (name, (frequency, power)) in enumerate(spectra.items()):
        style = "--" if k < 2 else "-"
        axis.plot(frequency, np.maximum(power, 1e-3), style, color=_COLOURS[k % len(_COLOURS)], label=name)
    axis.set_yscale("log")
    axis.set_xlabel("spatial frequency [1/mm]")
    axis.set_ylabel("noise power [HU² mm²]")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return _save(figure, path)


def draw_gallery(found: Found, numbers: Sequence[int], title: str, path: Path, *, words: Sequence[str] = ()) -> Path:
    """Rows of x, x~, x~ - x, f(x), f(x~) and f(x~) - f(x); both differences of a row share one scale."""
    names = ("x", _TILDE, f"{_TILDE} \N{MINUS SIGN} x", "f(x)", f"f({_TILDE})", f"f({_TILDE}) \N{MINUS SIGN} f(x)")
    figure = Figure(figsize=(12.6, 2.1 * len(numbers) + 0.6), layout="constrained")
    axes = figure.subplots(len(numbers), 6, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for row, (line, k) in enumerate(zip(axes, numbers, strict=True)):
        change, after = found.samples[k] - found.image[0], found.outputs[k] - found.output[0]
        full = max(float(change.abs().max()), 1e-6)
        for column, image in enumerate((found.image, found.samples[k], change, found.output, found.outputs[k], after)):
            shown = _show(
                line[column], image, names[column] if row == 0 else "", full=full if column in (2, 5) else None
            )
        bar = figure.colorbar(shown, ax=line[-1], fraction=0.05, pad=0.02)  # type: ignore[arg-type]
        bar.set_label("HU", fontsize=7)
        bar.ax.tick_params(labelsize=7)
        kind = "anatomy" if float(found.anatomy[k]) > 0 else "noise"
        accepted = "" if bool(found.inside[k]) else ", rejected"
        told = words[row] if words else f"{kind}{accepted}"
        line[0].set_ylabel(
            f"{told}\nd' {float(found.distance[k]):.2f} in x\n{float(found.d_prime[k]):.2f} in f", fontsize=7
        )
    return _save(figure, path)


def draw_free(free: Free, title: str, path: Path) -> Path:
    """Rows of x, a change along a direction of least gain as far as it hides, and what the output shows of it."""
    n = min(_FREE, len(free.changes))
    figure = Figure(figsize=(8.6, 2.1 * n + 0.6), layout="constrained")
    axes = figure.subplots(n, 4, squeeze=False)
    figure.suptitle(title, fontsize=10)
    names = ("x", f"{_TILDE} \N{MINUS SIGN} x", "f(x)", f"f({_TILDE}) \N{MINUS SIGN} f(x)")
    for k, line in enumerate(axes):
        full = max(float(free.changes[k].abs().max()), 1e-6)
        for column, image in enumerate((free.scene.image, free.changes[k], free.output, free.outputs[k])):
            shown = _show(line[column], image, names[column] if k == 0 else "", full=full if column % 2 else None)
        bar = figure.colorbar(shown, ax=line[-1], fraction=0.05, pad=0.02)  # type: ignore[arg-type]
        bar.set_label("HU", fontsize=7)
        bar.ax.tick_params(labelsize=7)
        line[0].set_ylabel(
            f"gain {float(free.gains[k]):.2f}\nd' {float(free.hidden[k]):.2f} in x\n{float(free.d_prime[k]):.2f} in f",
            fontsize=7,
        )
    return _save(figure, path)


def draw_curve(
    rows: Mapping[str, Mapping[float, float]], controls: Mapping[str, Mapping[str, float]], at: float, path: Path
) -> Path:
    """How visible what is hidden is, by the tolerance, for each network; the identity is the diagonal.

    Controls by their name and then by the network's, whose colour they have.
    """
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axis = figure.subplots()
    ends = sorted({t for row in rows.values() for t in row})
    axis.plot(ends, ends, color="0.6", lw=1, label="as visible in the output as in the scan")
    colours = dict(zip(rows, _COLOURS, strict=False))
    for name, row in rows.items():
        places = sorted(row)
        axis.plot(places, [row[t] for t in places], "o-", color=colours[name], label=name)
    for mark, (control, values) in zip(("s", "D"), controls.items(), strict=False):
        for name, value in values.items():
            axis.plot([at], [value], mark, ms=6, mfc="none", color=colours[name])
        axis.plot([], [], mark, ms=6, mfc="none", color="0.3", label=f"{control}, beside each network")
    axis.set_xlabel(f"tolerance: largest d' of f({_TILDE}) \N{MINUS SIGN} f(x)")
    axis.set_ylabel(f"d' of {_TILDE} \N{MINUS SIGN} x in the scan, median")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return _save(figure, path)


def draw_rejections(rows: Mapping[str, Mapping[float, float]], floor: float, path: Path) -> Path:
    """Share of the sampler's draws that are rejected, by the tolerance, and where its own floor lies."""
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axis = figure.subplots()
    for k, (name, row) in enumerate(rows.items()):
        places = sorted(row)
        axis.plot(places, [row[t] for t in places], "o-", color=_COLOURS[k], label=name)
    axis.axvline(floor, color="0.5", ls=":", label="floor: d' of f(VAE(x)) \N{MINUS SIGN} f(x)")
    axis.set_xscale("log")
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("tolerance: largest d' in the output")
    axis.set_ylabel("share of samples rejected")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return _save(figure, path)


def draw_spread(maps: Mapping[str, Tensor], path: Path) -> Path:
    """Standard deviation of the samples around x [HU], one scale for all."""
    figure = Figure(figsize=(2.4 * len(maps) + 0.6, 2.6), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    full = max(max(float(v.max()) for v in maps.values()), 1e-6)
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        shown = _show(axis, values, name, full=full, colours="magma")
    figure.colorbar(shown, ax=list(axes), fraction=0.05).set_label("HU", fontsize=8)  # type: ignore[arg-type]
    return _save(figure, path)


def draw_lesions(rows: Mapping[str, Mapping[float, tuple[float, float, float]]], path: Path) -> Path:
    """Largest contrast of a lesion that the output does not show, by its radius, with intervals."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axis = figure.subplots()
    for k, (name, row) in enumerate(rows.items()):
        radii = sorted(row)
        value = np.array([row[r] for r in radii]).T
        errors = np.nan_to_num(np.abs(value[1:] - value[:1]))
        moved = [r + 0.12 * (k - len(rows) / 2) for r in radii]
        style = "--" if name in ("identity", "Gaussian filter") else "-"
        axis.errorbar(moved, value[0], yerr=errors, fmt="o" + style, capsize=3, color=_COLOURS[k % 6], label=name)
    axis.set_xlabel("radius of the lesion [mm]")
    axis.set_ylabel("largest contrast that goes unnoticed [HU]")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return _save(figure, path)
