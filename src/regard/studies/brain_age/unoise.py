"""U-Noise: a network that outlines the ventricles, and noise models that add as much noise as the outline bears.

Koker et al., ICIP 2021 (arXiv 2101.05791). Theirs outlines the pancreas on CT.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.models import Model, load_model
from regard.models.zoo import ZOO
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.slices import Slices, slices_of
from regard.studies.trained import kept_model, save_trained, seed_of, split
from regard.training.noise import fit_noise
from regard.training.noise_files import NoiseModel, read_noise_model
from regard.training.noising import NoiseSettings
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.supervised import Cosine, Supervised

__all__ = ["has_unoise", "noise_models", "segmenter", "slices", "train_unoise"]

_SEGMENTER = "ventricles"

_PUBLISHED = (1.0, 5.0)
"""Strengths of the paper's noise where B is 0 and where it is 1."""


def has_unoise(material: Material) -> bool:
    """Whether this run has U-Noise: a user's table has no outlines."""
    return bool(material.config.train.unoise.zoos) and material.phantoms


def slices(material: Material, part: str) -> Slices:
    """Slices of the subjects to ``"train"`` or to ``"test"`` on."""
    return material.once(f"slices {part}", lambda: slices_of(material.run, material.config, part))


def segmenter(material: Material) -> Model:
    """The network that outlines the ventricles, trained if it has not been."""
    return material.once("segmenter", lambda: _trained(material))


def noise_models(material: Material) -> dict[str, NoiseModel]:
    """The noise models by name, trained if they have not been.

    Their noise is white, in standard deviations of the slice's brain, and lies within the brain.
    """
    plan = material.config.train.unoise
    wanted: dict[str, tuple[str, NoiseSettings]] = {
        zoo: (zoo, NoiseSettings(s_min=plan.s_min, s_max=plan.s_max)) for zoo in plan.zoos
    }
    if plan.published:
        wanted[f"{plan.zoos[0]}-published"] = (plan.zoos[0], NoiseSettings(s_min=_PUBLISHED[0], s_max=_PUBLISHED[1]))

    def one(name: str) -> NoiseModel:
        return material.once(f"noise {name}", lambda: _noise_model(material, name, *wanted[name]))

    return {name: one(name) for name in wanted}


def train_unoise(material: Material) -> None:
    """Render the slices and train all networks, where the run has them."""
    if has_unoise(material):
        segmenter(material)
        noise_models(material)
        slices(material, "test")


def _loss(outputs: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, wanted)


def _trained(material: Material) -> Model:
    run, plan = material.run, material.config.train.unoise
    done = kept_model(run, _SEGMENTER)
    if done is not None:
        return done
    seed, learn = seed_of(run, _SEGMENTER), slices(material, "train")
    ours, held = split(learn.patients, material.config.train.validation, seed=run.seed, member=0)
    some, chosen = learn.of_patients(ours), learn.of_patients(held)

    def batch(part: Slices, cases: list[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        images, masks = part.images[cases], part.masks[cases].float()
        if epoch is not None and material.config.train.mirror:
            drawn = [float(randomness.uniform((1,), seed, part.cases[c], f"mirror {epoch}")) for c in cases]
            mirrored = torch.tensor([d < 0.5 for d in drawn]).reshape(-1, 1, 1, 1)
            images, masks = (torch.where(mirrored, v.flip(2), v) for v in (images, masks))
        return images, masks

    kwargs = {"spatial_dims": 2, "channels": int(learn.images.shape[1])}
    with seeded(seed, "weights"):
        network = ZOO.load(plan.segmenter)(**kwargs)
    fit_resumable(
        Supervised(network, _loss, learning_rate=plan.learning_rate, cosine=Cosine(plan.segmenter_epochs)),
        Epochs(lambda cases, epoch: batch(some, cases, epoch), len(some)),
        Epochs(lambda cases, _: batch(chosen, cases, None), len(chosen)),
        n_epochs=plan.segmenter_epochs,
        batch_size=plan.batch_size,
        seed=seed,
        folder=run.path / "models" / _SEGMENTER,
        device=run.device,
        label=f"{_SEGMENTER}, epoch",
    )
    save_trained(run.path / "models" / _SEGMENTER, network, _card(plan.segmenter, kwargs, learn))
    return load_model(run.path / "models" / _SEGMENTER, device=run.device)


def _card(zoo: str, kwargs: dict[str, Any], learn: Slices) -> dict[str, Any]:
    spacing = [learn.spacing_mm, learn.spacing_mm]
    return {
        "name": f"brain-age-{_SEGMENTER}",
        "licence": "Apache-2.0",
        "zoo": zoo,
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {
                "channels": kwargs["channels"],
                "orientation": "RA",
                "spacing_mm": spacing,
                "shape": list(learn.images.shape[2:]),
                "fit": "crop-pad",
                "normalise": "zscore-foreground",
            }
        ],
        "output": {"kind": "segmentation", "names": ["ventricles"], "units": ["logit"], "grid": "input"},
        "trained_on": {"n": len(learn), "ranges": {"spacing_mm": spacing}, "site": "brain phantoms", "simulated": True},
        "notes": "Axial slices of skull-stripped T1 images, affinely registered to MNI152 space.",
    }


def _noise_model(material: Material, name: str, zoo: str, settings: NoiseSettings) -> NoiseModel:
    run, plan = material.run, material.config.train.unoise
    done = run.find(f"models/{name}/noise.yaml")
    if done is not None:
        return read_noise_model(done.parent)
    folder, learn = run.path / "models" / name, slices(material, "train")
    folder.mkdir(parents=True, exist_ok=True)
    made = fit_noise(
        segmenter(material).network,
        learn.images,
        settings,
        zoo=zoo,
        loss="segmentation",
        wanted=learn.masks.float(),
        strength=plan.strength,
        n_epochs=plan.n_epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        cases=learn.cases,
        seed=seed_of(run, name),
        accelerator=run.device.partition(":")[0],
        checkpoint=folder / "checkpoint.ckpt",
    )
    made.save(folder, name=f"brain-age-{name}", licence="Apache-2.0")
    (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return made
