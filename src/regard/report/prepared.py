"""The scan as it is and as the network sees it, one above the other."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from regard.core.volume import Volume
from regard.io.atomic import atomic
from regard.models.case import PreparedCase
from regard.report.display import display_volume, grey, planes, slice_of, window

__all__ = ["draw_prepared", "prepared_volume"]


def prepared_volume(case: PreparedCase, which: int = 0) -> Volume:
    """What the network sees of one input, at its place in the patient."""
    part, tensor = case.parts[which], case.inputs.tensors[which]
    placed = part.to_space(tensor.detach().cpu())
    return Volume(placed.float(), part.grid.affine, "network units", has_geometry=part.scan.has_geometry)


def draw_prepared(case: PreparedCase, path: Path, *, which: int = 0) -> Path:
    """Write a PNG: planes through the middle of the scan above the same of the network's input.

    Both stand as the report shows them: the patient's right at the left.
    """
    scan, seen = case.parts[which].scan, prepared_volume(case, which)
    rows = [("the scan", scan), ("what the network sees", seen)]
    shown = [planes(display_volume(v)) for _, v in rows]
    figure = Figure(figsize=(3.2 * max(map(len, shown)) + 0.4, 6.6), layout="constrained")
    axes = figure.subplots(2, max(map(len, shown)), squeeze=False)
    for line, (name, volume), pictured in zip(axes, rows, shown, strict=True):
        display = display_volume(volume)
        values = grey(display)
        low, high = window(values, volume.unit)
        for axis in line[len(pictured) :]:
            axis.set_axis_off()
        for axis, plane in zip(line, pictured, strict=False):
            picture = slice_of(values, plane, display.shape[plane.through] // 2)
            sides = np.multiply(display.shape, display.spacing)
            axis.imshow(
                picture, cmap="gray", vmin=low, vmax=high, aspect="equal", interpolation="nearest",
                extent=(0, sides[plane.columns], sides[plane.rows], 0),
            )  # fmt: skip
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{name}, {plane.name}" if plane is pictured[0] else plane.name, fontsize=9)
            for letter, x in zip(plane.letters[:2] if plane.letters else (), (0.02, 0.98), strict=False):
                axis.text(
                    x, 0.5, letter, transform=axis.transAxes, color="white", weight="bold", fontsize=9,
                    ha="left" if x < 0.5 else "right", va="center",
                    bbox={"facecolor": "black", "alpha": 0.35, "edgecolor": "none", "pad": 1.2},
                )  # fmt: skip
        shape = " x ".join(map(str, volume.shape))
        spacing = " x ".join(f"{s:.3g}" for s in volume.spacing)
        unit = "mm" if volume.has_geometry else "pixels"
        line[0].set_xlabel(
            f"{shape} voxels of {spacing} {unit}, {low:.3g} to {high:.3g} {volume.unit}", fontsize=8, loc="left"
        )
    with atomic(path) as draft:
        figure.savefig(draft, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return path
