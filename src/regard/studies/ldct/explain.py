"""Other scans that give the same output: searched for every network, and drawn from a sampler for one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.explainers.generative.invariances import Invariances, calibrate, find_invariances
from regard.explainers.generative.sampler import Form, draw_invariances
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.material import Material
from regard.studies.ldct.networks import function_of
from regard.studies.ldct.slices import Scene
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["CONTROLS", "FORMS", "THRESHOLDS", "Found", "drawn", "explain_cases", "scales_of", "searched"]

CONTROLS = ("identity", "gaussian")
FORMS: tuple[Form, ...] = ("published", "difference")
THRESHOLDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Multiples of the tolerance at which the sampler's rejections are counted."""


@dataclass(frozen=True, eq=False)
class Found:
    """Invariances as a run keeps them; fields as `Invariances`, and by name what controls and tolerances gave.

    Parameters
    ----------
    scene
        Whose.
    kept
        Tensors by name.
    """

    scene: Scene
    kept: Mapping[str, Tensor]

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.kept[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def inside(self) -> Tensor:
        """Whether each sample is within the tolerance (sample,)."""
        return self.kept["accepted"] > 0

    def chosen(self, kind: str) -> Tensor:
        """Numbers of the accepted samples that differ in ``"anatomy"``, or in ``"noise"``."""
        wanted = (self.kept["anatomy"] > 0) == (kind == "anatomy")
        return torch.nonzero(self.inside & wanted).flatten()

    @property
    def blobs(self) -> Tensor:
        """Accepted samples that were searched from blobs (number,)."""
        return torch.nonzero(self.inside & (self.kept["scales"] > 0)).flatten()


def _tensors(found: Invariances) -> dict[str, Tensor]:
    numbers = torch.tensor
    kept = {
        "image": found.image,
        "output": found.output,
        "samples": found.samples,
        "outputs": found.outputs,
        "distance": found.distance,
        "d_prime": found.d_prime,
        "leakage": found.leakage,
        "accepted": found.accepted.float(),
        "anatomy": numbers([float(k == "anatomy") for k in found.kinds]),
        "scales": numbers(found.scales),
        "noise": found.calibration.noise,
        "structure": found.calibration.structure,
        "spread": numbers([found.calibration.spread]),
    }
    kept |= {f"control {k}": v for k, v in found.controls.items()}
    kept |= {f"curve {k:g}": v for k, v in found.curve.items()}
    facts = {k: v for k, v in found.facts.items() if isinstance(v, float)}
    return {k: v.float() for k, v in {**kept, **{f"fact {k}": numbers([v]) for k, v in facts.items()}}.items()}


def searched(material: Material, name: str, scene: Scene) -> Found:
    """What the training-free search finds in a network at a patch: searched, or read if it has been."""
    plan = material.config.explain

    def make() -> dict[str, Tensor]:
        model = material.model(name)
        with recording.intact(model.network):
            found = find_invariances(
                function_of(model), scene.image, scene.noise, n=plan.n_samples, tolerance=plan.tolerance,
                limit=plan.limit, n_draws=n_draws(material), n_steps=plan.n_steps, n_control=plan.n_control,
                curve=plan.curve, seed=material.run.seed, case=scene.case,
            )  # fmt: skip
        return _tensors(found)

    return Found(scene, material.run.tensors(f"explain/{name}-{scene.case}", make))


def n_draws(material: Material) -> int:
    return max(4, min(16, material.config.data.n_draws - 1))


def drawn(material: Material, form: Form, scene: Scene) -> Found | None:
    """What the sampler draws at a patch; None without a sampler."""
    plan = material.config.explain
    if plan.sampler is None or plan.sampler not in material.config.train.networks:
        return None
    name = plan.sampler

    def make() -> dict[str, Tensor]:
        sampler, model = material.sampler(), material.model(name)
        assert sampler is not None
        with recording.intact(model.network):
            function = function_of(model)
            calibration = calibrate(
                function, scene.image, scene.noise, n_draws=n_draws(material), seed=material.run.seed, case=scene.case
            )
            found = draw_invariances(
                sampler, function, scene.image, calibration, n=plan.n_drawn, tolerance=plan.tolerance, form=form,
                seed=material.run.seed, case=scene.case,
            )  # fmt: skip
        return _tensors(found)

    return Found(scene, material.run.tensors(f"explain/sampler-{form}-{scene.case}", make))


def scales_of(found: Sequence[Found]) -> list[float]:
    """Scales of the blobs that were searched [pixel]."""
    return sorted({float(v) for f in found for v in f.scales if float(v) > 0})


def _median(values: Tensor) -> float:
    return float(values.double().median()) if len(values) else math.nan


def _search_scores(found: Sequence[Found]) -> dict[str, Score]:
    patients = [f.scene.patient for f in found]

    def score(values: Sequence[float], unit: str) -> Score:
        return mean_score(values, patients, unit)

    distance = [_median(f.distance[f.blobs]) for f in found]
    scores = {
        "distance": score(distance, "d'"),
        "largest_distance": score([float(f.distance.max()) for f in found], "d'"),
        "most_visible_noise": score([float(f.structure.max()) for f in found], "d'"),
        "rejected": score([1 - float(f.inside.double().mean()) for f in found], "1"),
        "anatomy": score([float((f.anatomy[f.scales > 0] > 0).double().mean()) for f in found], "1"),
        "leakage": score([_median(f.leakage[f.blobs]) for f in found], "1"),
        "noise_left": score([float(f.spread) / float(f.noise.std()) for f in found], "1"),
        "change": score([_rms((f.samples - f.image)[f.blobs]) for f in found], "HU"),
        "output_change": score([_rms((f.outputs - f.output)[f.blobs]) for f in found], "HU"),
    }
    for control in CONTROLS:
        key = f"control {control}"
        if key in found[0].kept:
            theirs = [_median(f.kept[key]) for f in found]
            scores[f"distance_{control}"] = score(theirs, "d'")
            excess = [a - b for a, b in zip(distance, theirs, strict=True)]
            scores[f"excess_over_{control}"] = score(excess, "d'")
    for scale in scales_of(found):
        name = f"blob_{scale:g}"
        ours = [_median(f.distance[f.blobs][f.scales[f.blobs] == scale]) for f in found]
        scores[f"distance_{name}"] = score(ours, "d'")
        for control in CONTROLS:
            if f"control {control}" not in found[0].kept:
                continue
            # The controls are searched with the first of the same blobs.
            theirs = []
            for f in found:
                values = f.kept[f"control {control}"]
                theirs.append(_median(values[f.scales[f.scales > 0][: len(values)] == scale]))
            scores[f"distance_{control}_{name}"] = score(theirs, "d'")
            excess = [a - b for a, b in zip(ours, theirs, strict=True)]
            scores[f"excess_over_{control}_{name}"] = score(excess, "d'")
    for key in found[0].kept:
        if key.startswith("curve "):
            at = float(key.removeprefix("curve "))
            scores[f"distance_at_{at:g}"] = score([_median(f.kept[key]) for f in found], "d'")
    return scores


def _rms(change: Tensor) -> float:
    return float(change.double().square().mean().sqrt()) if len(change) else math.nan


def _sampler_scores(found: Sequence[Found], tolerance: float) -> dict[str, Score]:
    patients = [f.scene.patient for f in found]

    def score(values: Sequence[float], unit: str) -> Score:
        return mean_score(values, patients, unit)

    scores = {
        "rejected": score([1 - float(f.inside.double().mean()) for f in found], "1"),
        "d_prime": score([_median(f.d_prime) for f in found], "d'"),
        "distance": score([_median(f.distance) for f in found], "d'"),
        "change": score([_rms(f.samples - f.image) for f in found], "HU"),
        "spread": score([float(f.samples.double().std(0).mean()) for f in found], "HU"),
        "floor_rms": score(
            [float(f.kept["fact floor: what the autoencoder loses, root mean square"]) for f in found], "HU"
        ),
        "floor_d_prime": score([float(f.kept["fact floor: d' of f(VAE(x)) - f(x)"]) for f in found], "d'"),
        "output_change": score([_rms(f.outputs - f.output) for f in found], "HU"),
    }
    for factor in THRESHOLDS:
        share = [float((f.d_prime > factor * tolerance).double().mean()) for f in found]
        scores[f"rejected_at_{factor * tolerance:g}"] = score(share, "1")
    return scores


def explain_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Scores by group: ``invariances_<network>``, and ``sampler_<form>`` for the one that has a sampler."""
    networks, scenes = material.config.train.networks, material.scenes
    tolerance = material.config.explain.tolerance
    total = len(networks) * len(scenes) + 2
    scores: dict[str, dict[str, Score]] = {}
    for n, name in enumerate(networks):
        found = []
        for k, scene in enumerate(scenes):
            material.run.stage(f"{NETWORKS[name]}, {scene.case}", n * len(scenes) + k, total)
            found.append(searched(material, name, scene))
        scores[f"invariances_{name}"] = _search_scores(found)
    for n, form in enumerate(FORMS):
        material.run.stage(f"drawing ({form})", total - 2 + n, total)
        draws = [d for scene in _fitting(material) if (d := drawn(material, form, scene)) is not None]
        if draws:
            scores[f"sampler_{form}"] = _sampler_scores(draws, tolerance)
    return scores


def _fitting(material: Material) -> list[Scene]:
    side = material.config.explain.sampler_patch
    return [s for s in material.scenes if s.image.shape[2:] == (side, side)]
