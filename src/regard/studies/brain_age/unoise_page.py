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
from regard.studies.brain_age.unoise import has_unoise, noise_models, segmenter, slices
from regard.studies.brain_age.unoise_scores import CONTROLS, NEAR_MM, controls_of, maps_of, noised, outlined
from regard.studies.run import Scores
from regard.studies.trained import seed_of

__all__ = ["unoise_chapters", "unoise_rows"]

_PICTURED = 3
_NOISY, _SHOWN = "Dice under the noise", "Dice with half of the brain shown"
_NEAR = f"least noise: at most {NEAR_MM:g} mm from the ventricles"
_KINDS = {_NOISY: "dice_noisy", _SHOWN: "dice_shown", _NEAR: "share_near"}
_TRUE, _FOUND = "#00e5ff", "#ff9500"


def unoise_rows(scores: Scores) -> list[dict[str, str]]:
    """Dice of the outlines under each noise model's noise and under that of its controls, and where its places lie."""
    groups = {name: own for name, own in scores.items() if name.startswith("unoise_")}
    if not groups:
        return []
    rows = [{"": "without noise", _NOISY: told(scores["unoise"].get("dice"))}]
    for group, own in groups.items():
        name = group.replace("_", "-")
        rows.append(
            {
                "": name,
                _NOISY: told(own.get("dice_noisy")),
                _SHOWN: told(own.get("dice_shown")),
                _NEAR: told(own.get("share_near")),
                "mean of B": told(own.get("mean_noise")),
                "in the ventricles": told(own.get("mean_noise_inside")),
            }
        )
        for control, said in CONTROLS.items():
            figures = {shown: own.get(f"{kind}_{control}") for shown, kind in _KINDS.items()}
            rows.append({"": f"{name}: {said}"} | {k: told(s) for k, s in figures.items() if s is not None})
        for level, said in (("least", "B = 0 everywhere"), ("strongest", "B = 1 everywhere")):
            rows.append({"": f"{name}: {said}", _NOISY: told(own.get(f"dice_{level}"))})
    first = next(iter(groups.values()))
    return [*rows, {"": "the brain", _NEAR: told(first.get("brain_near"))}]


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
    measured = (
        f"A network outlines the ventricles on {len(part)} axial slices of {len(set(part.patients))} test subjects, "
        f"pixels of {plan.spacing_mm:g} mm. A noise model that was trained on other subjects adds as much noise as the "
        "outline bears. It is noise tolerance, a score. The other maps add as much noise at other places; Dice under "
        f"noise is the mean of {plan.n_draws} fresh draws. Least noise: of the tenth of the brain that bears "
        "least."
    )
    drawn = (
        f"Blue: the ventricles; orange: what the network outlines, under the noise of {zoo}. Maps: one minus B, bright "
        "where no noise is borne, each on its own scale."
    )
    said = [measured, drawn]
    if plan.published:
        said.append(
            "Published: noise of at least one standard deviation everywhere, and of at most five. Where more noise "
            "than that of B = 0 raises Dice, the noise itself drives the outline: that is no tolerance."
        )
    return [Chapter(title, said, picture, rows)]


def draw_unoise(material: Material, name: str, path: Path) -> None:
    """A few slices: the maps, the outline under one map's noise, under as much at random places, and of what is shown.

    Parameters
    ----------
    material
        The study, with maps of the test slices.
    name
        Of the noise model whose noise is drawn.
    path
        PNG file.
    """
    whole, settings = slices(material, "test"), noise_models(material)[name].settings
    kept = _spread(whole)
    part, noise = whole.of(kept), maps_of(material, name)[kept]
    network, seed = segmenter(material).network, seed_of(material.run, "unoise")
    inside = settings.inside(part.images)
    elsewhere = controls_of(part, noise, inside, seed=seed)["surrogate"]
    middle = torch.where(inside, noise, torch.nan).flatten(1).nanmedian(1).values.reshape(-1, 1, 1, 1)
    maps = {f"1 - B\n{other}": 1 - maps_of(material, other)[kept] for other in noise_models(material)}
    images = {
        "slice": part.images,
        "under its noise": noised(part, noise, settings, draw=0, seed=seed),
        "as much at\nrandom places": noised(part, elsewhere, settings, draw=0, seed=seed),
        "half of the\nbrain shown": torch.where((noise <= middle) | ~inside, part.images, 0.0),
    }
    columns = ["slice", *maps, *list(images)[1:]]
    figure = Figure(figsize=(1.7 * len(columns), 2.1 * len(part)), layout="constrained")
    axes = figure.subplots(len(part), len(columns), squeeze=False)
    for column, title in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=8)
        for n, axis in enumerate(column):
            if title in maps:
                _draw_map(axis, maps[title], inside, n)
            else:
                found = outlined(network, images[title][n : n + 1])[0, 0]
                _draw_outlines(axis, images[title][n, 0], part.masks[n, 0], found)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_map(axis: Axes, values: Tensor, inside: Tensor, n: int) -> None:
    """One of the maps, on the scale of those beside it."""
    low, high = (float(v) for v in values[inside].aminmax())
    shown = np.where(_up(inside[n, 0]), _up(values[n, 0]), np.nan)
    axis.imshow(shown, cmap="inferno", vmin=low, vmax=high)
    axis.set_axis_off()


def _spread(part: Slices) -> Sequence[int]:
    """A few slices, with little, middling and much of the ventricles."""
    order = part.masks.flatten(1).sum(1).argsort().tolist()
    return [order[round(share * (len(order) - 1))] for share in np.linspace(0.05, 0.95, _PICTURED)]


def _up(plane: Tensor) -> np.ndarray:
    """A plane (i, j) with the front of the head up and the left side on the left."""
    turned: np.ndarray = plane.numpy().T[::-1]
    return turned


def _draw_outlines(axis: Axes, image: Tensor, mask: Tensor, found: Tensor) -> None:
    axis.imshow(_up(image), cmap="gray", vmin=-2.5, vmax=2.0)
    for plane, colour in ((mask, _TRUE), (found, _FOUND)):
        if plane.any():
            axis.contour(_up(plane.float()), levels=[0.5], colors=[colour], linewidths=0.8)
    axis.set_axis_off()
