"""What the noise maps of U-Noise are worth: the outline under their noise, and beside maps that know less."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from regard.cohort.null import masked_surrogate
from regard.core.devices import answers
from regard.explainers.learned.visibility import dice_at_visibility
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.slices import Slices
from regard.studies.brain_age.unoise import has_unoise, noise_models, segmenter, slices
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.scoring.segmentation import dice
from regard.studies.trained import seed_of
from regard.training.noising import NoiseSettings

__all__ = [
    "CONTROLS",
    "NEAR_MM",
    "controls_of",
    "maps_of",
    "noised",
    "outlined",
    "tolerance",
    "unoise_explained",
    "unoise_weighed",
]

CONTROLS = {
    "other_subject": "the map of another subject",
    "surrogate": "its values at random places, as smooth",
    "image": "its values, the darkest places first",
    "even": "its mean everywhere",
}
"""Maps with as much noise as the learned one, and what they are."""

NEAR_MM = 6.0
"""How far from the ventricles a place still lies at them [mm]."""

_AT_ONCE = 64
_SHOWN = 0.5
_IMPORTANT = 0.1


@torch.no_grad()
def outlined(network: Any, images: Tensor, *, batch: int = 16) -> Tensor:
    """What a network outlines on slices (slice, 3, i, j): (slice, 1, i, j) of bool."""
    return answers(network, images, batch=batch, read=lambda output: output > 0)


def noised(part: Slices, noise: Tensor, settings: NoiseSettings, *, draw: int, seed: int) -> Tensor:
    """Slices under one draw of noise as strong as a map B says, (slice, 3, i, j); draws do not depend on the map."""
    inside = settings.inside(part.images)
    deviation = settings.deviation(part.images, inside)
    added = [
        settings.disturbance(part.images[n : n + 1], deviation[n : n + 1], draw, seed, case, f"dice/{draw}")
        for n, case in enumerate(part.cases)
    ]
    return part.images + settings.sigma(noise) * inside * torch.cat(added)


def tolerance(
    network: Any, part: Slices, noise: Tensor, settings: NoiseSettings, *, n_draws: int, seed: int
) -> list[float]:
    """Mean Dice of each slice over draws of noise as strong as a map says; the draws are the same for every map.

    Parameters
    ----------
    network
        That outlines.
    part
        The slices.
    noise
        B, (slice, 1, i, j).
    settings
        The noise.
    n_draws, seed
        Draws, and their seed.
    """
    found: list[float] = []
    for rows in torch.arange(len(part)).split(_AT_ONCE):
        some = part.of(rows.tolist())
        draws = [
            _dice(outlined(network, noised(some, noise[rows], settings, draw=draw, seed=seed)), some.masks)
            for draw in range(n_draws)
        ]
        found += np.mean(draws, axis=0).tolist()
    return found


def _dice(made: Tensor, masks: Tensor) -> list[float]:
    return [dice(a.numpy(), b.numpy()) for a, b in zip(made, masks, strict=True)]


def controls_of(part: Slices, noise: Tensor, inside: Tensor, *, seed: int) -> dict[str, Tensor]:
    """Maps with as much noise as each slice's own, by the names of `CONTROLS`.

    Parameters
    ----------
    part
        The slices.
    noise
        B of each, (slice, 1, i, j).
    inside
        The brain, of bool.
    seed
        Of the places.
    """
    own = torch.where(inside, noise, torch.nan)
    mean = own.nanmean((1, 2, 3), keepdim=True)
    # The next subject's slice at the same height.
    other = own.roll(-part.n_planes, 0)
    places = [masked_surrogate(b[0].numpy(), seed=seed, case=case) for b, case in zip(own, part.cases, strict=True)]
    found = {
        "other_subject": torch.where(other.isnan(), other.nanmean((1, 2, 3), keepdim=True), other),
        "surrogate": torch.from_numpy(np.stack(places))[:, None],
        "image": _by_darkness(part, own),
        "even": mean.expand_as(noise),
    }
    return {name: torch.where(inside, values.to(noise), 0.0) for name, values in found.items()}


def _by_darkness(part: Slices, own: Tensor) -> Tensor:
    """Each slice's values handed out again, the smallest to the darkest place; NaN stays."""
    found = own.clone()
    for values, image in zip(found[:, 0], part.images[:, 0], strict=True):
        inside = ~values.isnan()
        values[inside] = values[inside].sort().values[image[inside].argsort(stable=True).argsort()]
    return found


def _shown(network: Any, part: Slices, noise: Tensor, inside: Tensor) -> list[float]:
    """Dice of each slice with half of its brain shown, that of least noise; what is around the brain stays."""
    found = []
    for n in range(len(part)):
        share = 1 - (1 - _SHOWN) * float(inside[n].double().mean())
        one = slice(n, n + 1)
        rows = dice_at_visibility(network, part.images[one], part.masks[one], noise[one], shares=(share,))
        found.append(rows[0].dice)
    return found


def _least(noise: Tensor, inside: Tensor) -> Tensor:
    """The tenth of each slice's brain that bears least noise, (slice, 1, i, j) of bool."""
    found = torch.zeros_like(inside)
    for n in range(len(noise)):
        places = inside[n].nonzero(as_tuple=True)
        kept = noise[n][places].argsort(stable=True)[: max(1, round(_IMPORTANT * len(places[0])))]
        found[n][tuple(axis[kept] for axis in places)] = True
    return found


def _share(part: Slices, places: Tensor, *, within_mm: float) -> list[float]:
    """Share of each slice's places that lies in the ventricles or so near to them; NaN without ventricles."""
    found = []
    for own, mask in zip(places[:, 0].numpy(), part.masks[:, 0].numpy(), strict=True):
        near = ndimage.distance_transform_edt(~mask) * part.spacing_mm <= within_mm
        found.append(float(near[own].mean()) if mask.any() and own.any() else float("nan"))
    return found


def maps_of(material: Material, name: str) -> Tensor:
    """B of every test slice by one noise model, (slice, 1, i, j)."""

    def make() -> dict[str, Tensor]:
        model, images = noise_models(material)[name], slices(material, "test").images
        return {"noise": torch.cat([model.noise(part) for part in images.split(16)])}

    return material.run.tensors(f"explain/unoise-{name}", make)["noise"]


def _scored(rows: Mapping[str, list[float | None]], part: Slices) -> dict[str, Score]:
    return {
        name: mean_score([float("nan") if v is None else v for v in values], part.patients)
        for name, values in rows.items()
    }


def _own(material: Material, name: str) -> dict[str, list[float | None]]:
    """Figures of each test slice under the noise of a learned map, of the least and of the strongest noise."""
    part, settings = slices(material, "test"), noise_models(material)[name].settings
    network, inside = segmenter(material).network, settings.inside(part.images)
    noise, ones = maps_of(material, name), torch.ones_like(part.images[:, :1])
    seed, n_draws = seed_of(material.run, "unoise"), material.config.train.unoise.n_draws

    def make() -> dict[str, list[float]]:
        levels = {"noisy": noise, "least": 0 * ones, "strongest": ones}
        rows = {
            f"dice_{k}": tolerance(network, part, b, settings, n_draws=n_draws, seed=seed) for k, b in levels.items()
        }
        rows["dice_shown"] = _shown(network, part, noise, inside)
        for word, places in (("mean_noise", inside), ("mean_noise_inside", part.masks & inside)):
            rows[word] = [float(b[k].mean()) for b, k in zip(noise, places, strict=True)]
        for word, reach in (("inside", 0.0), ("near", NEAR_MM)):
            rows[f"share_{word}"] = _share(part, _least(noise, inside), within_mm=reach)
            rows[f"brain_{word}"] = _share(part, inside, within_mm=reach)
        return rows

    return material.run.record(f"explain/scores-{name}", make)


def unoise_explained(material: Material) -> dict[str, dict[str, Score]]:
    """Outlines without noise and under that of the maps; where the places lie that bear least."""
    if not has_unoise(material):
        return {}
    part, network = slices(material, "test"), segmenter(material).network
    rows = material.run.record("explain/unoise", lambda: {"dice": _dice(outlined(network, part.images), part.masks)})
    scores = {"unoise": _scored(rows, part)}
    for name in noise_models(material):
        scores[_group(name)] = _scored(_own(material, name), part)
    return scores


def _group(name: str) -> str:
    return name.replace("-", "_")


def _beside(material: Material, name: str) -> dict[str, list[float | None]]:
    """Figures of each test slice under the noise of maps that know less."""
    part, settings = slices(material, "test"), noise_models(material)[name].settings
    network, inside = segmenter(material).network, settings.inside(part.images)
    seed, n_draws = seed_of(material.run, "unoise"), material.config.train.unoise.n_draws

    def make() -> dict[str, list[float]]:
        rows = {}
        for control, noise in controls_of(part, maps_of(material, name), inside, seed=seed).items():
            rows[f"dice_noisy_{control}"] = tolerance(network, part, noise, settings, n_draws=n_draws, seed=seed)
            if control != "even":
                rows[f"dice_shown_{control}"] = _shown(network, part, noise, inside)
                rows[f"share_near_{control}"] = _share(part, _least(noise, inside), within_mm=NEAR_MM)
        return rows

    return material.run.record(f"weigh/unoise-{name}", make)


def unoise_weighed(material: Material) -> dict[str, dict[str, Score]]:
    """Figures of maps that know less, and by how much those of the learned maps are above them, slice by slice."""
    if not has_unoise(material):
        return {}
    scores, part = {}, slices(material, "test")
    for name in noise_models(material):
        ours, theirs = _own(material, name), _beside(material, name)
        above: dict[str, list[float | None]] = {}
        for key, values in theirs.items():
            kind = "_".join(key.split("_")[:2])
            pairs = zip(ours[kind], values, strict=True)
            above[key.replace(kind, f"{kind}_above")] = [None if a is None or b is None else a - b for a, b in pairs]
        scores[_group(name)] = _scored({**theirs, **above}, part)
    return scores
