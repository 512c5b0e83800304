"""Training the denoisers, and asking them."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from regard.core import randomness
from regard.core.devices import sent
from regard.explainers.generative.fit_sampler import fit_sampler
from regard.explainers.generative.sampler import Sampler, SamplerSizes, read_sampler, write_sampler
from regard.io.atomic import atomic
from regard.models import Model, load_model, write_card
from regard.models.card import ModelCard
from regard.models.zoo.denoisers import CNN10, REDCNN, WGANGenerator, start_at_identity
from regard.models.zoo.vgg import VGG16
from regard.studies.ldct.config import NETWORKS, LDCTConfig
from regard.studies.ldct.slices import Slices
from regard.studies.run import StudyRun
from regard.training.adversarial import fit_du_gan, fit_wgan_vgg
from regard.training.perceptual import fit_features, perceptual_distance
from regard.training.restore import Patches, fit_restorer
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
        "output": {
            "kind": "image",
            "names": ["denoised slice"],
            "units": ["HU"],
            "activation": "none",
            "grid": "input",
        },
        "trained_on": {
            "n": len(learn),
            "ranges": {
                "spacing_mm": [learn.pixel_mm, learn.pixel_mm],
                "intensity": [float(learn.low.min()), float(learn.low.max())],
            },
            "site": "user's scans" if real else "torso phantoms",
            "simulated": not real,
        },
        "notes": notes,
    }
    return ModelCard.model_validate(said)


def _seed(run: StudyRun, name: str) -> int:
    return randomness.generator(run.seed, name, "network").initial_seed() % 2**31


def own_features(run: StudyRun, config: LDCTConfig, learn: Slices) -> VGG16:
    """Our own VGG-16 for perceptual losses: trained to tell doses, and of phantoms abdomen from chest; kept.

    It stands for the published one of ImageNet, whose weights are not here.
    """
    plan = config.train
    mean, deviation = float(learn.low.mean()), float(learn.low.std())

    def make() -> dict[str, Tensor]:
        kind = torch.tensor([int(run.data is None and not c.endswith("-0")) for c in learn.cases])
        images, labels = torch.cat([learn.low, learn.full]), torch.cat([2 * kind, 2 * kind + 1])
        network = fit_features(
            (images - mean) / deviation, labels, width=plan.vgg_width, patch=min(32, images.shape[-1]),
            n_steps=plan.vgg_steps, seed=_seed(run, "features"), folder=run.path / "checkpoints" / "vgg16",
            device=run.device,
        )  # fmt: skip
        with torch.no_grad():
            said = network(((images - mean) / deviation)[:, :, :64, :64]).argmax(1)
        return {**network.state_dict(), "accuracy": (said == labels).float().mean()[None]}

    state = run.tensors("train/vgg16", make)
    state.pop("accuracy")
    network = VGG16(1, len(state["classifier.bias"]), plan.vgg_width, dropout=0.0)
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def train_denoiser(run: StudyRun, config: LDCTConfig, learn: Slices, name: str) -> Model:
    """One of the paper's denoisers: trained, or read if it has been."""
    done = run.find(f"models/{name}/card.yaml")
    if done is not None:
        return load_model(done.parent, device=run.device)
    plan = config.train
    inputs, wanted = learn.low, learn.wanted(config.data.target)
    mean, deviation = float(inputs.mean()), float(inputs.std())
    folder, seed = run.path / "models" / name, _seed(run, name)
    zoo, builder, width = {
        "cnn10": ("cnn10", CNN10, plan.cnn10_width),
        "redcnn": ("redcnn", REDCNN, plan.redcnn_width),
        "wgan-vgg": ("wgan-generator", WGANGenerator, plan.wgan_width),
        "du-gan": ("redcnn", REDCNN, plan.redcnn_width),
    }[name]
    kwargs: dict[str, Any] = {"width": width, "mean": mean, "deviation": deviation}
    with seeded(seed, "weights"):
        network = builder(width)
    if plan.identity_start:
        start_at_identity(network)
    if name in ("cnn10", "redcnn"):
        fit_restorer(
            network, inputs, wanted, n_steps=plan.n_steps, batch_size=plan.batch_size, patch=plan.patch,
            learning_rate=plan.learning_rate, seed=seed, folder=folder, device=run.device,
        )  # fmt: skip
    else:
        pairs = Patches((inputs - mean) / deviation, (wanted - mean) / deviation, plan.patch, 1, seed)
        options: dict[str, Any] = {
            "n_steps": plan.n_adversarial, "batch_size": plan.adversarial_batch,
            "learning_rate": plan.adversarial_rate, "seed": seed, "folder": folder, "device": run.device,
        }  # fmt: skip
        if name == "wgan-vgg":
            fit_wgan_vgg(network, pairs, own_features(run, config, learn), **options)
        else:
            fit_du_gan(network, pairs, **options)
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
        perceptual = None
        if plan.perceptual:
            features = own_features(run, config, learn)

            def perceptual(found: Tensor, wanted: Tensor) -> Tensor:
                return plan.perceptual * perceptual_distance(features, found, wanted)

        sampler, facts = fit_sampler(
            [function] * len(learn),
            list(learn.low.split(1)),
            sizes=SamplerSizes.of_patch(plan.sampler_patch),
            n_patches=plan.sampler_patches,
            n_steps=plan.sampler_steps,
            batch_size=plan.sampler_batch,
            perceptual=perceptual,
            seed=run.seed,
            folder=run.path / "models" / "sampler",
        )
        write_sampler(run.path, sampler, {"weights_sha256": model.weights_sha256, "facts": facts})
        shutil.rmtree(run.path / "models" / "sampler" / "checkpoints", ignore_errors=True)
        done = run.path / "models/sampler/sampler.json"
    return read_sampler(done.parent.parent.parent, weights_sha256=model.weights_sha256)[0]


def function_of(model: Model) -> Callable[[Tensor], Tensor]:
    """A denoiser as a differentiable function of images (batch, 1, row, column) [HU], which may lie anywhere."""
    network: nn.Module = model.network  # type: ignore[assignment]
    spec = model.card.inputs[0].normalise
    return lambda x: network(sent((x - spec.mean) / spec.std, network)).to(x.device)  # type: ignore[union-attr, operator]


def whole(function: Callable[[Tensor], Tensor], *, batch: int = 2) -> Callable[[Tensor], Tensor]:
    """A function of images without gradients, a few images at a time."""

    def of(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([function(part) for part in images.split(batch)])

    return of
