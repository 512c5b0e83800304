"""What the noise maps of U-Noise are worth: the outline under their noise, and beside maps that know less."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from regard.cohort.null import masked_surrogate
from regard.explainers.learned.visibility import dice_at_visibility
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.slices import Slices
from regard.studies.brain_age.unoise import has_unoise, noise_models, segmenter, settings_of, slices
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.scoring.segmentation import dice
from regard.studies.trained import seed_of
from regard.training.noising import NoiseSettings

__all__ = [
    "CONTROLS",
    "NEAR_MM",
    "controls_of",
    "maps_of",
    "outlined",
    "tolerance",
    "unoise_explained",
    "unoise_weighed",
]

CONTROLS = {
    "other_subject": "the map of another subject",
    "surrogate": "its values at random places, as smooth",
    "even": "its mean everywhere",
}
"""Maps with as much noise as the learned one, and what they are."""

NEAR_MM = 6.0
"""How far from the ventricles a place still lies at them [mm]."""

_SHOWN = 0.5


@torch.no_grad()
def outlined(network: Any, images: Tensor, *, batch: int = 16) -> Tensor:
    """What a network outlines on slices (slice, 3, i, j): (slice, 1, i, j) of bool."""
    return torch.cat([network(part) > 0 for part in images.split(batch)])


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
    inside = settings.inside(part.images)
    sigma = settings.sigma(noise) * inside
    deviation = settings.deviation(part.images, inside)
    found = torch.zeros(len(part), dtype=torch.float64)
    for draw in range(n_draws):
        added = [
            settings.disturbance(part.images[n : n + 1], deviation[n : n + 1], draw, seed, case, f"dice/{draw}")
            for n, case in enumerate(part.cases)
        ]
        made = outlined(network, part.images + sigma * torch.cat(added))
        found += torch.tensor(_dice(made, part.masks))
    return (found / n_draws).tolist()


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
        "even": mean.expand_as(noise),
    }
    return {name: torch.where(inside, values.to(noise), 0.0) for name, values in found.items()}


def _shown(network: Any, part: Slices, noise: Tensor, inside: Tensor) -> list[float]:
    """Dice of each slice with half of its brain shown, that of least noise; what is around the brain stays."""
    found = []
    for n in range(len(part)):
        share = 1 - (1 - _SHOWN) * float(inside[n].double().mean())
        one = slice(n, n + 1)
        rows = dice_at_visibility(network, part.images[one], part.masks[one], noise[one], shares=(share,))
        found.append(rows[0].dice)
    return found


def _places(part: Slices, noise: Tensor, inside: Tensor) -> list[dict[str, float]]:
    """Where each slice's important places lie, those that bear less than half of the strongest noise."""
    rows = []
    for b, brain, mask in zip(noise[:, 0].numpy(), inside[:, 0].numpy(), part.masks[:, 0].numpy(), strict=True):
        near = (ndimage.distance_transform_edt(~mask) * part.spacing_mm <= NEAR_MM) & brain
        important = (b < 0.5) & brain
        nowhere = not important.any()
        rows.append(
            {
                "mean_noise": float(b[brain].mean()),
                "share_important": float(important[brain].mean()),
                "share_inside": float("nan") if nowhere else float(mask[important].mean()),
                "share_near": float("nan") if nowhere else float(near[important].mean()),
                "brain_inside": float(mask[brain].mean()),
                "brain_near": float(near[brain].mean()),
                "found_near": float((important & near).sum() / near.sum()) if near.any() else float("nan"),
            }
        )
    return rows


def maps_of(material: Material, zoo: str) -> Tensor:
    """B of every test slice by one noise model, (slice, 1, i, j)."""

    def make() -> dict[str, Tensor]:
        model, images = noise_models(material)[zoo], slices(material, "test").images
        return {"noise": torch.cat([model.noise(part) for part in images.split(16)])}

    return material.run.tensors(f"explain/unoise-{zoo}", make)["noise"]


def _scored(rows: Mapping[str, list[float | None]], part: Slices) -> dict[str, Score]:
    return {
        name: mean_score([float("nan") if v is None else v for v in values], part.patients)
        for name, values in rows.items()
    }


def unoise_explained(material: Material) -> dict[str, dict[str, Score]]:
    """Outlines without noise, under that of the maps, and under the strongest; where the important places lie."""
    if not has_unoise(material):
        return {}
    run, part, settings = material.run, slices(material, "test"), settings_of(material)
    network, plan = segmenter(material).network, material.config.train.unoise
    how: dict[str, Any] = {"n_draws": plan.n_draws, "seed": seed_of(run, "unoise")}
    inside = settings.inside(part.images)
    ones = torch.ones_like(part.images[:, :1])

    def plain() -> dict[str, list[float]]:
        return {
            "dice": _dice(outlined(network, part.images), part.masks),
            "dice_least": tolerance(network, part, 0 * ones, settings, **how),
            "dice_strongest": tolerance(network, part, ones, settings, **how),
        }

    scores = {"unoise": _scored(run.record("explain/unoise", plain), part)}
    for zoo in noise_models(material):
        noise = maps_of(material, zoo)

        def own(noise: Tensor = noise) -> dict[str, list[float]]:
            rows = _places(part, noise, inside)
            return {
                "dice_noisy": tolerance(network, part, noise, settings, **how),
                "dice_shown": _shown(network, part, noise, inside),
                **{name: [row[name] for row in rows] for name in rows[0]},
            }

        scores[zoo.replace("-", "_")] = _scored(run.record(f"explain/scores-{zoo}", own), part)
    return scores


def unoise_weighed(material: Material) -> dict[str, dict[str, Score]]:
    """Outlines under the noise of maps that know less, and by how much those of the learned maps are above them."""
    if not has_unoise(material):
        return {}
    run, part, settings = material.run, slices(material, "test"), settings_of(material)
    network, plan = segmenter(material).network, material.config.train.unoise
    seed, inside = seed_of(run, "unoise"), settings.inside(part.images)
    scores = {}
    for zoo in noise_models(material):
        noise = maps_of(material, zoo)

        def make(noise: Tensor = noise) -> dict[str, list[float]]:
            rows = {}
            for name, values in controls_of(part, noise, inside, seed=seed).items():
                rows[f"dice_noisy_{name}"] = tolerance(network, part, values, settings, n_draws=plan.n_draws, seed=seed)
                if name != "even":
                    rows[f"dice_shown_{name}"] = _shown(network, part, values, inside)
            return rows

        rows = run.record(f"weigh/unoise-{zoo}", make)
        ours = run.record(f"explain/scores-{zoo}", dict)
        above = {}
        for name, values in rows.items():
            kind = "dice_shown" if name.startswith("dice_shown") else "dice_noisy"
            pairs = zip(ours[kind], values, strict=True)
            above[name.replace(kind, f"{kind}_above")] = [None if None in p else p[0] - p[1] for p in pairs]
        scores[zoo.replace("-", "_")] = _scored(rows | above, part)
    return scores
