"""The demo: a phantom cohort with known truth, a regressor trained on it, five methods, and what they are worth.

Everything is made here, on this machine, in a few minutes; nothing is downloaded.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from regard.case.explaining import explain_case
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.evidence.intervals import mean_interval
from regard.evidence.localisation import LOCALISATION
from regard.models.card import ModelCard
from regard.models.model import Model
from regard.models.zoo.small import SmallRegressor
from regard.phantoms.density import DensityPhantom, Subject
from regard.training.measure import fit, fold_scale

__all__ = ["METHODS", "Case", "Demo", "control_maps", "explain_held_out", "score", "train", "what_it_depends_on"]

METHODS = ("grad-ram", "grad-ramp", "integrated-gradients", "smoothgrad", "occlusion:window=6,stride=3")
"""The five methods of the demo, one of each kind."""

Stage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """How large the demo is.

    Parameters
    ----------
    n_train, n_test
        Subjects to train on, and held out.
    n_explained
        Held-out subjects that are explained.
    n_epochs
        Of the training.
    seed
        Of everything.
    phantom
        What the subjects look like.
    """

    n_train: int = 160
    n_test: int = 40
    n_explained: int = 12
    n_epochs: int = 16
    seed: int = 0
    phantom: DensityPhantom = field(default_factory=DensityPhantom)

    @property
    def explained(self) -> list[str]:
        """Names of the subjects that are explained."""
        return [self.phantom.name(self.n_train + n) for n in range(self.n_explained)]

    def subjects(self, part: str) -> list[Subject]:
        """Render the ``"train"`` or ``"test"`` subjects."""
        numbers = range(self.n_train) if part == "train" else range(self.n_train, self.n_train + self.n_test)
        return [self.phantom.subject(n, seed=self.seed) for n in numbers]


@dataclass(frozen=True)
class Case:
    """A held-out subject with its explanations."""

    subject: Subject
    prediction: float
    explanations: tuple[Explanation, ...]


def _card(demo: Demo, labels: Tensor) -> ModelCard:
    low, high = float(labels.min()), float(labels.max())
    return ModelCard.model_validate(
        {
            "name": "phantom-density",
            "licence": "Apache-2.0",
            "zoo": "small-regressor",
            "kwargs": {"spatial_dims": 3, "head": "flatten", "cells": 3},
            "weights": "weights.safetensors",
            "layer": "features.block1",
            "inputs": [
                {
                    "name": "image",
                    "channels": 1,
                    "orientation": "LPS",
                    "spacing_mm": list(demo.phantom.spacing),
                    "shape": list(demo.phantom.shape),
                    "fit": "crop-pad",
                    "unit": "HU",
                    "window": [-200.0, 400.0],
                    "normalise": {"low": 0.0, "high": 1.0},
                }
            ],
            "output": {"kind": "regression", "names": ["density"], "units": ["mg/cm3"], "activation": "none"},
            "trained_on": {
                "n": demo.n_train,
                "ranges": {"output": [low, high]},
                "site": "phantoms made by regard demo",
                "simulated": True,
            },
            "notes": "Trained by regard demo on phantoms; it measures nothing in patients.",
        }
    )


def train(demo: Demo, subjects: Sequence[Subject]) -> Model:
    """Train the regressor on phantoms: CT-like volume in, density of the bone [mg/cm3] out."""
    labels = torch.tensor([s.density for s in subjects])
    card = _card(demo, labels)
    low, high = card.inputs[0].window or (0.0, 1.0)
    images = torch.stack([(s.image.tensor.clamp(low, high) - low) / (high - low) for s in subjects])
    mean, deviation = float(labels.mean()), float(labels.std())
    with torch.random.fork_rng():
        torch.manual_seed(demo.seed)
        network = SmallRegressor(3, head="flatten", cells=3)
    fit(network, images, (labels - mean) / deviation, n_epochs=demo.n_epochs, batch_size=8, seed=demo.seed)
    fold_scale(network.head, mean, deviation)
    return Model(network, card)


def predict(model: Model, subjects: Sequence[Subject]) -> np.ndarray:
    """Predicted density of each subject [mg/cm3]."""
    return np.array([explain_case(model, s.image, [], case=s.name).prediction for s in subjects])


def what_it_depends_on(demo: Demo, model: Model, subjects: Sequence[Subject]) -> list[dict[str, str]]:
    """Model truth: the change of the prediction when one factor is rendered anew and all else stays, noise too."""
    numbers = {s.name: int(s.name.rsplit("-", 1)[1]) for s in subjects}
    rows = []
    for factor, said in (
        ("density", "bone density, lowest to highest"),
        ("hips", "density of the hips, lowest to highest"),
        ("calcification", "calcification, none to full"),
        ("habitus", "body size, smallest to largest"),
        ("forward", "bone moved from front to back"),
    ):
        ends = []
        for value in (0.0, 1.0):
            changed = [demo.phantom.subject(numbers[s.name], seed=demo.seed, factors={factor: value}) for s in subjects]
            ends.append(predict(model, changed))
        interval = mean_interval(list(ends[1] - ends[0]), seed=demo.seed)
        rows.append(
            {"what was changed": said, "change of the prediction [mg/cm3]": str(interval), "n": str(interval.n)}
        )
    return rows


def control_maps(example: Explanation) -> dict[str, Explanation]:
    """Maps that know nothing of the network: the image's edges, and the image itself."""
    image = example.scan.tensor[0].double()
    edges = torch.stack([g.square() for g in torch.gradient(image)]).sum(0).sqrt()
    made = {"edges of the image": edges, "the image": image - image.min()}
    return {
        name: replace(example, relevance=example.relevance.with_tensor(values.float()[None]), method=name, label=name)
        for name, values in made.items()
    }


def explain_held_out(demo: Demo, model: Model, subjects: Sequence[Subject], stage: Stage) -> list[Case]:
    """Explain held-out subjects with the five methods and a random control."""
    cases = []
    for n, subject in enumerate(subjects[: demo.n_explained]):
        stage(f"explaining {subject.name}", n, demo.n_explained)
        found = explain_case(model, subject.image, [*METHODS, "random-cam"], seed=demo.seed, case=subject.name)
        cases.append(Case(subject, found.prediction, found.explanations))
    return cases


def _on_scan(volume: Volume) -> Tensor:
    return volume.tensor[0]


def score(cases: Sequence[Case], *, seed: int = 0) -> list[dict[str, str]]:
    """How much of each map lies in the bone, over the held-out subjects, beside maps that know nothing.

    Returns
    -------
    list of dict
        One row per method: mean over subjects with its 95 % interval for each measure.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        controls = control_maps(case.explanations[0])
        maps = {e.name: e for e in case.explanations} | controls
        truth = _on_scan(case.subject.truth)
        for name, explanation in maps.items():
            kept = found.setdefault(name, {measure: [] for measure in LOCALISATION})
            for measure, function in LOCALISATION.items():
                kept[measure].append(function(_on_scan(explanation.relevance), truth))
    chance = float(np.mean([float(_on_scan(c.subject.truth).mean()) for c in cases]))
    rows: list[dict[str, str]] = []
    for name, measures in found.items():
        kind = "control" if name in ("random-cam", "edges of the image", "the image") else "method"
        row = {"map": name, "kind": kind}
        row |= {m: str(mean_interval(values, seed=seed)) for m, values in measures.items()}
        rows.append(row | {"n": str(len(cases))})
    by_chance = dict.fromkeys(LOCALISATION, f"{chance:.2f}")
    rows.append({"map": "by chance", "kind": "control"} | by_chance | {"n": str(len(cases))})
    return sorted(rows, key=lambda r: (r["kind"] == "control", -_leading(r["average precision"])))


def _leading(text: str) -> float:
    value = float(text.split(" ")[0])
    return -1.0 if math.isnan(value) else value
