"""Training the denoisers, and asking them."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from regard.core import randomness
from regard.core.errors import InputError
from regard.explainers.generative.fit_sampler import fit_sampler
from regard.explainers.generative.sampler import Sampler, SamplerSizes, read_sampler, write_sampler
from regard.io.atomic import atomic
from regard.models import Model, load_model, write_card
from regard.models.card import ModelCard
from regard.models.zoo.denoisers import CNN10, REDCNN
from regard.studies.ldct.config import NETWORKS, LDCTConfig
from regard.studies.ldct.slices import Slices
from regard.studies.run import StudyRun
from regard.training.restore import fit_restorer
from regard.training.resumable import seeded

__all__ = ["function_of", "train_denoiser", "train_sampler", "whole"]


def _card(name: str, zoo: str, kwargs: dict[str, Any], learn: Slices, config: LDCTConfig, real: bool) -> ModelCard:
    target = config.data.target if not real else "full dose"
    notes = f"{NETWORKS[name]}, trained to make the {target} scan of one at {100 * config.data.dose:g} % of its dose."
    said = {
        "name": f"ldct-{name}",
        "licence": "Apache-2.0",
        "zoo": zoo,
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {
                "name": "image",
                "channels": 1,
                "orientation": "PL",
                "spacing_mm": [learn.pixel_mm, learn.pixel_mm],
                "shape": None,
                "fit": "crop-pad",
                "unit": "HU",
                "window": None,
                "normalise": {"mean": kwargs["mean"], "std": kwargs["deviation"]},
            }
        ],
        "output": {"kind": "image", "names": ["denoised slice"], "units": ["HU"], "activation": "none", "grid": "input"},
        "trained_on": {
            "n": len(learn),
            "ranges": {
                "spacing_mm": [learn.pixel_mm, learn.pixel_mm],
                "intensity": [float(learn.low.min()), float(learn.low.max())],
            },
            "site": "user's scans" if real else "torso phantoms",
        },
        "notes": notes if real else f"{notes} Trained on phantoms: every patient is outside what it knows.",
    }
    return ModelCard.model_validate(said)


def train_denoiser(run: StudyRun, config: LDCTConfig, learn: Slices, name: str) -> Model:
    """One of the paper's denoisers: trained, or read if it has been.

    Raises
    ------
    InputError
        If its training is not known.
    """
    done = run.find(f"models/{name}/card.yaml")
    if done is not None:
        return load_model(done.parent, device=run.device)
    plan = config.train
    inputs, wanted = learn.low, learn.wanted(config.data.target)
    kwargs: dict[str, Any] = {"mean": float(inputs.mean()), "deviation": float(inputs.std())}
    folder, seed = run.path / "models" / name, randomness.generator(run.seed, name, "network").initial_seed() % 2**31
    with seeded(seed, "weights"):
        network: nn.Module
        if name == "cnn10":
            zoo, kwargs["width"] = "cnn10", plan.cnn10_width
            network = CNN10(plan.cnn10_width)
        elif name == "redcnn":
            zoo, kwargs["width"] = "redcnn", plan.redcnn_width
            network = REDCNN(plan.redcnn_width)
        else:
            raise InputError(f"the network '{name}'", f"one of {', '.join(NETWORKS)}")
    fit_restorer(
        network, inputs, wanted, n_steps=plan.n_steps, batch_size=plan.batch_size, patch=plan.patch,
        learning_rate=plan.learning_rate, seed=seed, folder=folder, device=run.device,
    )  # fmt: skip
    with atomic(folder / "weights.safetensors") as temporary:
        save_file({f"network.{k}": v.cpu().contiguous() for k, v in network.state_dict().items()}, temporary)
    write_card(_card(name, zoo, kwargs, learn, config, run.data is not None), folder / "card.yaml")
    (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return load_model(folder, device=run.device)


def train_sampler(run: StudyRun, config: LDCTConfig, learn: Slices, model: Model) -> Sampler:
    """The sampler of a denoiser's invariances: trained, or read if it has been.

    It lies where ``regard invariances --sampler`` looks for it in a run folder.
    """
    done = run.find("models/sampler/sampler.json")
    if done is None:
        plan, function = config.explain, function_of(model)
        sampler, facts = fit_sampler(
            [function] * len(learn),
            list(learn.low.split(1)),
            sizes=SamplerSizes.of_patch(plan.sampler_patch),
            n_patches=plan.sampler_patches,
            n_steps=plan.sampler_steps,
            batch_size=plan.sampler_batch,
            seed=run.seed,
            folder=run.path / "models" / "sampler",
        )
        write_sampler(run.path, sampler, {"weights_sha256": model.weights_sha256, "facts": facts})
        shutil.rmtree(run.path / "models" / "sampler" / "checkpoints", ignore_errors=True)
        done = run.path / "models/sampler/sampler.json"
    return read_sampler(done.parent.parent.parent, weights_sha256=model.weights_sha256)[0]


def function_of(model: Model) -> Callable[[Tensor], Tensor]:
    """A denoiser as a differentiable function of images (batch, 1, row, column) [HU]."""
    network: nn.Module = model.network  # type: ignore[assignment]
    spec = model.card.inputs[0].normalise
    return lambda x: network((x - spec.mean) / spec.std)  # type: ignore[union-attr, operator]


def whole(function: Callable[[Tensor], Tensor], *, batch: int = 2) -> Callable[[Tensor], Tensor]:
    """A function of images without gradients, a few images at a time."""

    def of(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([function(part) for part in images.split(batch)])

    return of
