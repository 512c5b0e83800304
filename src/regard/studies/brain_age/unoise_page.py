"""U-Noise in the report: the table, and a picture of what its noise leaves of the outlines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from regard.io.atomic import atomic
from regard.report.html import Chapter
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.slices import Slices
from regard.studies.brain_age.tables import told
from regard.studies.brain_age.unoise import has_unoise, noise_models, segmenter, settings_of, slices
from regard.studies.brain_age.unoise_scores import CONTROLS, NEAR_MM, controls_of, maps_of, outlined
from regard.studies.run import Scores
from regard.studies.trained import seed_of

__all__ = ["unoise_chapters", "unoise_rows"]

_PICTURED = 3
_TRUE, _FOUND = "#00e5ff", "#ff9500"


def unoise_rows(scores: Scores) -> list[dict[str, str]]:
    """Dice of the outlines under each noise model's noise and under that of its controls, and where its places lie."""
    plain, rows = scores.get("unoise", {}), []
    for group, own in scores.items():
        if not group.startswith("unoise_"):
            continue
        row = {
            "noise model": group.replace("_", "-"),
            "Dice without noise": told(plain.get("dice")),
            "under its noise": told(own.get("dice_noisy")),
        }
        row |= {f"under {said}": told(own.get(f"dice_noisy_{name}")) for name, said in CONTROLS.items()}
        row["strongest noise everywhere"] = told(plain.get("dice_strongest"))
        row["half of the brain shown"] = told(own.get("dice_shown"))
        for name, said in CONTROLS.items():
            if f"dice_shown_{name}" in own:
                row[f"half shown by {said}"] = told(own[f"dice_shown_{name}"])
        row["mean of B"] = told(own.get("mean_noise"))
        row["share of the brain with B < 0.5"] = told(own.get("share_important"))
        row[f"of these, at most {NEAR_MM:g} mm from the ventricles"] = told(own.get("share_near"))
        row["of the brain"] = told(own.get("brain_near"))
        rows.append(row)
    return rows


def unoise_chapters(material: Material, scores: Scores, picture: Path) -> list[Chapter]:
    """The chapter of U-Noise; where a user's table has no outlines, that it was left out."""
    title = "U-Noise: how much noise an outline bears"
    plan = material.config.train.unoise
    if plan.zoos and not material.phantoms:
        return [Chapter(title, ["Left out: your table has no outlines of the ventricles."])]
    rows = unoise_rows(scores)
    if not has_unoise(material) or not rows:
        return []
    zoo = plan.zoos[0]
    draw_unoise(material, zoo, picture)
    part = slices(material, "test")
    text = [
        f"A network outlines the ventricles on {len(part)} axial slices of {len(set(part.patients))} test subjects "
        f"({plan.spacing_mm:g} mm). A noise model that was trained on other subjects adds as much noise as the outline "
        "bears. It is noise tolerance, a score: it does not say what raises or lowers the output. Dice over "
        f"{plan.n_draws} fresh draws; the other maps add as much noise, at other places.",
        f"The picture is of {zoo}. Blue: the ventricles; orange: what the network outlines. Maps: one minus B, bright "
        "where no noise is borne.",
    ]
    return [Chapter(title, text, picture, rows)]


def draw_unoise(material: Material, zoo: str, path: Path) -> None:
    """A few slices: their map, the outline under its noise, under as much at random places, and of what is shown."""
    part, settings = slices(material, "test"), settings_of(material)
    some = _spread(part)
    noise, network = maps_of(material, zoo), segmenter(material).network
    inside = settings.inside(part.images)
    seed = seed_of(material.run, "unoise")
    columns: list[tuple[str, Tensor, bool]] = [("slice", part.images, True)]
    columns += [(f"1 - B, {name}", 1 - maps_of(material, name), False) for name in noise_models(material)]
    deviation = settings.deviation(part.images, inside)
    added = torch.cat([
        settings.disturbance(part.images[n : n + 1], deviation[n : n + 1], 0, seed, case, "dice/0")
        for n, case in enumerate(part.cases)
    ])  # fmt: skip
    elsewhere = controls_of(part, noise, inside, seed=seed)["surrogate"]
    for title, values in (("under its noise", noise), ("as much at\nrandom places", elsewhere)):
        columns.append((title, part.images + settings.sigma(values) * inside * added, True))
    middle = torch.where(inside, noise, torch.nan).flatten(1).nanmedian(1).values.reshape(-1, 1, 1, 1)
    columns.append(("half of the\nbrain shown", torch.where((noise <= middle) | ~inside, part.images, 0.0), True))
    figure = Figure(figsize=(1.7 * len(columns), 2.1 * len(some)), layout="constrained")
    axes = figure.subplots(len(some), len(columns), squeeze=False)
    for row, n in zip(axes, some, strict=True):
        for axis, (title, images, is_image) in zip(row, columns, strict=True):
            if is_image:
                found = outlined(network, images[n : n + 1])[0, 0]
                _draw(axis, images[n, 0], part.masks[n, 0], found)
            else:
                shown = np.where(_up(inside[n, 0]), _up(images[n, 0]), np.nan)
                axis.imshow(shown, cmap="inferno", vmin=0, vmax=1)
                axis.set_axis_off()
            if n == some[0]:
                axis.set_title(title, fontsize=8)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _spread(part: Slices) -> Sequence[int]:
    """A slice of each of a few subjects, with little, middling and much of the ventricles."""
    order = part.masks.flatten(1).sum(1).argsort().tolist()
    return [order[round(share * (len(order) - 1))] for share in np.linspace(0.05, 0.95, _PICTURED)]


def _up(plane: Tensor) -> np.ndarray:
    """A plane (i, j) with the front of the head up and the left side on the left."""
    turned: np.ndarray = plane.numpy().T[::-1]
    return turned


def _draw(axis: Axes, image: Tensor, mask: Tensor, found: Tensor) -> None:
    axis.imshow(_up(image), cmap="gray", vmin=-2.5, vmax=2.0)
    for plane, colour in ((mask, _TRUE), (found, _FOUND)):
        if plane.any():
            axis.contour(_up(plane.float()), levels=[0.5], colors=[colour], linewidths=0.8)
    axis.set_axis_off()
