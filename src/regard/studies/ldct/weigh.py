"""Noise or anatomy: what the found scans differ in, and lesions that vanish unseen.

Both ways to tell anatomy from noise are ours; those of the paper are unknown.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.core import recording
from regard.core.spatial import blur
from regard.explainers.generative.analysis import dice, principal_directions
from regard.explainers.generative.controls import equal_blur, gaussian_filter, identity
from regard.explainers.generative.detectability import Detectability, usable_scales
from regard.explainers.generative.invariances import OUTPUT_SCALES
from regard.explainers.generative.null_space import hidden_amplitude
from regard.phantoms.lowdose import Lesion
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.explain import Found, searched
from regard.studies.ldct.material import Material
from regard.studies.ldct.networks import function_of
from regard.studies.ldct.slices import Repeated
from regard.studies.ldct.truth import (
    contrast_left,
    found_structures,
    gaussian_truth,
    identity_hides,
    planted_images,
    train_ignoring,
)
from regard.studies.scoring.bootstrap import Score, mean_score, scored
from regard.studies.scoring.studentised import Measured, of_patients

__all__ = ["LINEAR_N", "MASKS", "weigh_cases"]

Function = Callable[[Tensor], Tensor]

MASKS = {"lung": (-2000.0, -400.0), "fat": (-200.0, -40.0), "soft_tissue": (-40.0, 150.0), "bone": (150.0, 5000.0)}
"""HU that a mask takes in, of the image blurred by two pixels."""

LINEAR_N = (50, 200, 800)
"""Samples of the linear truth test."""


def _masks(image: Tensor) -> dict[str, Tensor]:
    smooth = blur(image, 2.0)
    return {k: (smooth >= low) & (smooth < high) for k, (low, high) in MASKS.items()}


def _overlap(images: Tensor, reference: Tensor) -> float:
    """Mean Dice of the masks of images (n, 1, row, column) with those of a reference, over those it has."""
    wanted = {k: m for k, m in _masks(reference).items() if float(m.float().mean()) > 0.01}
    values = [dice(_masks(one[None])[k], m) for one in images for k, m in wanted.items()]
    return sum(values) / len(values) if values else math.nan


def _directions(found: Found) -> dict[str, float]:
    """Shares of changes outside the span of the noise draws, for samples and for noise that is not in it."""
    changes = (found.samples - found.image)[found.blobs]
    half = len(found.noise) // 2
    noise, held = found.noise[:half], found.noise[half:]
    said = {"share_outside_noise_of_noise": principal_directions(held, noise).share}
    if len(changes):
        structure = principal_directions(changes, noise)
        said["share_outside_noise"] = structure.share
        low = blur(structure.directions, 2.0).flatten(1).square().sum(1)
        said["smooth_share_of_directions"] = float((low * structure.variances).sum() / structure.variances.sum())
        kept = principal_directions(held, noise)
        low = blur(kept.directions, 2.0).flatten(1).square().sum(1)
        said["smooth_share_of_noise"] = float((low * kept.variances).sum() / kept.variances.sum())
    return said


def _split(found: Found) -> dict[str, float]:
    anatomy, noise = found.chosen("anatomy"), found.chosen("noise")
    said = {
        **_directions(found),
        "n_anatomy": float(len(anatomy)),
        "dice_noise": _overlap(found.image + found.noise, found.image),
    }
    if len(anatomy):
        said["dice_anatomy"] = _overlap(found.samples[anatomy], found.image)
    if len(noise):
        said["dice_noise_samples"] = _overlap(found.samples[noise], found.image)
    return said


def _lesions(material: Material, liver: Repeated, function: Function) -> dict[str, float]:
    """Hidden contrast of each radius, in a network and in its two controls, [HU]."""
    plan, data = material.config.weigh, material.config.data
    image, noise = liver.absent[:1], liver.noise()[1:]
    side = image.shape[-1]
    with torch.no_grad():
        before = function(image)
        left = torch.cat([function(image + n[None]) - before for n in noise])
    left = (left - left.mean(0)) * (len(left) / (len(left) - 1)) ** 0.5
    scales = usable_scales(OUTPUT_SCALES, (side, side))
    sigma = equal_blur(noise, float(left.std() / noise.std()))
    said = {}
    for name, f, drawn in (
        ("network", function, left),
        ("identity", identity, noise),
        ("gaussian", gaussian_filter(sigma), blur(noise, sigma)),
    ):
        outside = Detectability.of_noise(drawn, scales)
        for radius in plan.radii_mm:
            cover = Lesion(0.0, 0.0, radius, 1.0).cover(side, data.pixel_mm)
            far = hidden_amplitude(f, image, cover, outside, material.config.explain.tolerance, plan.largest_hu)
            said[f"{name}_{radius:g}"] = abs(far)
    return said


def _group(rows: Sequence[dict[str, float]], patients: Sequence[str], unit: str) -> dict[str, Score]:
    names = dict.fromkeys(k for row in rows for k in row)
    return {k: mean_score([row.get(k, math.nan) for row in rows], patients, unit) for k in names}


def weigh_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Scores by group: ``split_<network>`` and ``lesions_<network>``."""
    networks = material.config.train.networks
    scores: dict[str, dict[str, Score]] = {}
    for n, name in enumerate(networks):
        material.run.stage(NETWORKS[name], n, len(networks))
        found = [searched(material, name, scene) for scene in material.scenes]
        scores[f"split_{name}"] = _group([_split(f) for f in found], [f.scene.patient for f in found], "1")
        if not material.livers:
            continue
        model = material.model(name)
        rows = []
        for liver in material.livers:

            def make(liver: Repeated = liver) -> dict[str, float]:
                with recording.intact(model.network):  # noqa: B023 - called at once
                    return _lesions(material, liver, function_of(model))  # noqa: B023

            rows.append(material.run.record(f"weigh/lesions-{name}-{liver.patient}", make))
        patients = [liver.patient for liver in material.livers]
        group = _group(rows, patients, "HU")
        for control in ("identity", "gaussian"):
            for radius in material.config.weigh.radii_mm:
                excess = [row[f"network_{radius:g}"] - row[f"{control}_{radius:g}"] for row in rows]
                group[f"excess_over_{control}_{radius:g}"] = mean_score(excess, patients, "HU")
        scores[f"lesions_{name}"] = group
    return {**scores, **_truth(material)}


def _truth(material: Material) -> dict[str, dict[str, Score]]:
    """Where the answer is known: groups ``truth_linear``, ``truth_planted``, ``truth_identity``."""
    plan, run = material.config.weigh, material.run
    if not plan.n_planted:
        return {}
    run.stage("where the answer is known", len(material.config.train.networks), len(material.config.train.networks) + 1)

    def planted() -> dict[str, Any]:
        network = train_ignoring(n_steps=plan.planted_steps, seed=run.seed)
        images = planted_images(plan.n_planted, seed=run.seed, first=1000)
        ring, discs = found_structures(network, images, n_samples=plan.planted_samples, seed=run.seed)
        with torch.no_grad():
            left = contrast_left(network(images.noisy), images)
        return {
            "ring": ring,
            "discs": discs,
            "left": left,
            "identity": identity_hides(images.of(range(min(2, len(images.noisy))))),
        }

    said = run.record("weigh/planted", planted)
    n = plan.n_planted
    images = [f"planted-{k}" for k in range(n)]
    ring, discs = np.array(said["ring"]), np.array(said["discs"]).reshape(n, -1)
    pairs = (ring[:, None, None] > discs[None]).mean(2) + 0.5 * (ring[:, None, None] == discs[None]).mean(2)
    left = np.array(said["left"])
    scores = {
        "truth_planted": {
            "auc": scored(
                Measured(lambda w: ((w @ pairs) * w).sum(1) / w.sum(1) ** 2, "share", at_limit=of_patients), images
            ),
            "ring_changed": mean_score(list(ring), images, "1"),
            "discs_changed": mean_score(list(discs.mean(1)), images, "1"),
            "ring_in_output": mean_score(list(left[:, 0]), images, "1"),
            "discs_in_output": mean_score(list(left[:, 1:].mean(1)), images, "1"),
        },
        "truth_identity": {"largest_distance": plain_score(float(said["identity"]), min(2, n), "d'")},
    }
    for n_samples in LINEAR_N:
        for name, value in gaussian_truth(n_samples, seed=run.seed).items():
            unit = "rad" if name == "angle" else "1"
            scores.setdefault("truth_linear", {})[f"{name}_n{n_samples}"] = plain_score(value, n_samples, unit)
    return scores


def plain_score(value: float, n: int, unit: str) -> Score:
    """A figure without interval."""
    return Score(value, math.nan, math.nan, 0.95, n, 0, unit)
