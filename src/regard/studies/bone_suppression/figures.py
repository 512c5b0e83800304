"""Pictures of the study: radiograph, truth and what each suppressor makes of it; maps over the radiograph."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from regard.core.explanation import Explanation
from regard.io.atomic import atomic
from regard.report.colours import is_signed, paint, scale_of
from regard.studies.bone_suppression.baselines import BASELINES
from regard.studies.bone_suppression.explain import maps_of, region_of
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.pairs import Pairs

__all__ = ["draw_maps", "draw_removed", "draw_side_by_side", "draw_training"]


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def _shown(material: Material) -> list[str]:
    return [*material.config.train.networks, *(b for b in BASELINES if b in ("mean_bone", "linear_filter"))]


def _rows(material: Material, n: int = 3) -> list[int]:
    test = material.test
    order = sorted(range(len(test)), key=lambda k: (test.kinds[k] in ("", "miliary"), k))
    return order[: min(n, len(test))]


def draw_side_by_side(material: Material, path: Path) -> None:
    """Radiograph, truth and suppressed images of a few test cases, all in grey from 0 to 1."""
    test, names, rows = material.test, _shown(material), _rows(material)
    figure, axes = plt.subplots(
        len(rows), len(names) + 2, figsize=(2.1 * (len(names) + 2), 2.25 * len(rows)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis_row, n in zip(axes, rows, strict=True):
        columns = [("radiograph", test.images[n, 0]), ("truth without bone", test.soft[n, 0])]
        columns += [(name, material.found(name)[n, 0]) for name in names]
        for axis, (title, image) in zip(axis_row, columns, strict=True):
            axis.set_axis_off()
            axis.imshow(image.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title.replace("_", " "), fontsize=8)
        if bool(test.finding[n].any()) and test.kinds[n] != "miliary":
            axis_row[1].contour(test.finding[n].float().numpy(), levels=[0.5], colors="#e69f00", linewidths=0.8)
    _save(figure, path)


def draw_removed(material: Material, path: Path) -> None:
    """What should have been taken away, what was, and what was taken away wrongly, for the best network."""
    test, rows, best = material.test, _rows(material), material.best
    figure, axes = plt.subplots(len(rows), 4, figsize=(9, 2.35 * len(rows)), squeeze=False, layout="constrained")
    found = material.found(best).clamp(0, 1)
    for axis_row, n in zip(axes, rows, strict=True):
        bone, taken = test.removed[n, 0], (test.images - found)[n, 0]
        full = float(bone.abs().quantile(0.995)) or 1.0
        columns = (
            ("radiograph", test.images[n, 0], "gray", 0.0, 1.0),
            ("bone in truth", bone, "gray", 0.0, full),
            (f"taken away by {best}", taken, "gray", 0.0, full),
            ("taken too much (red), left (blue)", taken - bone, "RdBu_r", -full, full),
        )
        for axis, (title, image, colours, low, high) in zip(axis_row, columns, strict=True):
            axis.set_axis_off()
            axis.imshow(image.numpy(), cmap=colours, vmin=low, vmax=high)
            axis.set_title(title, fontsize=8)
        if bool(test.finding[n].any()) and test.kinds[n] != "miliary":
            axis_row[3].contour(test.finding[n].float().numpy(), levels=[0.5], colors="k", linewidths=0.8)
    _save(figure, path)


def draw_maps(material: Material, cohort: Pairs, numbers: Sequence[int], path: Path) -> None:
    """One row per case: the radiograph with the explained region, then each map over it, on its own scale."""
    rows: list[tuple[int, list[Explanation]]] = [(n, maps_of(material, cohort, n)) for n in numbers]
    n_maps = max(len(maps) for _, maps in rows)
    figure, axes = plt.subplots(
        len(rows), n_maps + 1, figsize=(2.5 * (n_maps + 1), 2.7 * len(rows)), squeeze=False, layout="constrained"
    )
    for axis_row, (n, maps) in zip(axes, rows, strict=True):
        region = region_of(material, cohort, n).float().numpy()
        for axis in axis_row:
            axis.set_axis_off()
            axis.imshow(cohort.images[n, 0].numpy(), cmap="gray", vmin=0, vmax=1.2)
            axis.contour(region, levels=[0.5], colors="#e69f00", linewidths=0.9)
        axis_row[0].set_title(f"{cohort.cases[n]}, {cohort.kinds[n] or 'no finding'}", fontsize=8)
        for axis, e in zip(axis_row[1:], maps, strict=False):
            values = e.relevance.tensor[0, :, :, 0].T.numpy()
            full = scale_of(e) or 1.0
            axis.imshow(paint(cohort.images[n, 0].numpy() / 1.2, values, full, signed=is_signed(e)))
            axis.set_title(e.name, fontsize=8)
    _save(figure, path)


def draw_training(material: Material, path: Path) -> None:
    """Validation loss of each network by epoch."""
    figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for name in material.config.train.networks:
        rows = material.run.record(f"train/{name}", lambda: {"epochs": []})["epochs"]
        points = [(r["epoch"] + 1, r["val_loss"]) for r in rows if r.get("val_loss") is not None]
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", label=name)
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation loss")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    _save(figure, path)
