"""How good the denoisers are: errors, likeness, noise and its spectrum, and lesions that an observer still sees.

Each stands beside the input itself and beside non-local means, and has to beat both, patients paired.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.evidence.restoration import Observer, mean_square, observe, peak_ratio, similarity, visual_information
from regard.explainers.generative.noise import estimate_noise
from regard.models.zoo.classical import non_local_means
from regard.phantoms.lowdose.spectrum import noise_power_spectrum, radial
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.material import Material
from regard.studies.ldct.networks import function_of, whole
from regard.studies.ldct.slices import Repeated
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["FLOORS", "candidates", "noise_level", "score_all", "spectra"]

FLOORS = {"floor_input": "the low-dose scan itself", "floor_nlm": "non-local means"}
"""What every denoiser has to beat."""

_BETTER = {"rmse": -1, "rmse_truth": -1, "psnr": 1, "ssim": 1, "vif": 1, "observer_auc": 1}
_UNITS = {"rmse": "HU", "rmse_truth": "HU", "psnr": "dB", "ssim": "1", "vif": "1", "observer_auc": "1",
          "observer_d_prime": "d'", "noise": "HU", "noise_frequency": "1/mm", "lesion_contrast": "HU"}  # fmt: skip
_BINS = 12


def noise_level(material: Material) -> float:
    """Standard deviation of the low-dose scans' noise [HU]: over repeated scans, or of real scans from the slices."""
    if material.livers:
        return float(torch.stack([v.noise().double().var() for v in material.livers]).mean().sqrt())
    levels = [estimate_noise(x[None]).deviation for x in material.test.low[:8]]
    return float(np.median(levels))


def candidates(material: Material) -> dict[str, Callable[[Tensor], Tensor]]:
    """Everything that is scored, by group: the floors, then the networks."""
    level, strength = noise_level(material), material.config.score.nlm_strength
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "floor_input": lambda x: x,
        "floor_nlm": non_local_means(level, strength=strength),
    }
    for name in material.config.train.networks:
        found[name] = whole(function_of(material.model(name)))
    return found


def _images(material: Material, found: Tensor) -> dict[str, list[float]]:
    """Measures of each slice."""
    test, (low, high) = material.test, material.config.score.window
    wanted = test.wanted(material.config.data.target)
    a, b = found.clamp(low, high), wanted.clamp(low, high)
    span = high - low
    values = {
        "rmse": mean_square(found, wanted),
        "psnr": peak_ratio(a, b, span),
        "ssim": similarity(a, b, span),
        "vif": visual_information((a - low) * (255 / span), (b - low) * (255 / span)),
    }
    if test.clean is not None:
        values["rmse_truth"] = mean_square(found, test.clean)
    return {k: v.tolist() for k, v in values.items()}


def _liver(material: Material, liver: Repeated, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """What a model observer, and the noise, say of one liver."""
    data = material.config.data
    absent, present = function(liver.absent), function(liver.present)
    side = absent.shape[-1]
    middle = (side - 1) / 2
    width = 2 * data.lesion_mm / data.pixel_mm
    auc, d_prime = observe(Observer((side, side), (middle, middle), width), present, absent)
    n = len(absent)
    noise = (absent - absent.mean(0, keepdim=True)) * math.sqrt(n / (n - 1))
    # Edges of the crop are edges for the network too.
    inner = noise[..., side // 4 : side - side // 4, side // 4 : side - side // 4]
    f, power = radial(noise_power_spectrum(inner, data.pixel_mm), data.pixel_mm, _BINS)
    ring = f * power
    radius = data.lesion_mm / data.pixel_mm
    far = torch.hypot(*torch.meshgrid(*[torch.arange(side) - middle] * 2, indexing="ij"))
    core = far < 0.7 * radius
    return {
        "observer_auc": auc,
        "observer_d_prime": d_prime,
        "noise": float(inner.double().std()),
        "noise_frequency": float((ring * f).sum() / ring.sum().clamp_min(1e-30)),
        "lesion_contrast": float((present - absent).mean(0)[0][core].mean()),
        "frequencies": f.tolist(),
        "power": power.tolist(),
    }


def spectra(material: Material) -> dict[str, tuple[list[float], list[float]]]:
    """Noise power over frequency of each candidate, mean over patients: [1/mm] and [HU2 mm2]."""
    found = {}
    for name in (*FLOORS, *material.config.train.networks):
        rows = _measured(material, name, None)["livers"]
        if rows:
            found[name] = (rows[0]["frequencies"], np.mean([r["power"] for r in rows], 0).tolist())
    return found


def _measured(material: Material, name: str, function: Callable[[Tensor], Tensor] | None) -> dict[str, Any]:
    def make() -> Mapping[str, Any]:
        assert function is not None
        return {
            "images": _images(material, material.denoised(name, function)),
            "livers": [_liver(material, one, function) for one in material.livers],
        }

    return material.run.record(f"score/{name}", make)


def _known(values: Sequence[float | None]) -> list[float]:
    return [math.nan if v is None else float(v) for v in values]


def score_all(material: Material) -> dict[str, dict[str, Score]]:
    """Scores by group: ``floor_input``, ``floor_nlm``, and each network's name."""
    tested = candidates(material)
    values: dict[str, dict[str, tuple[list[float], list[str]]]] = {}
    for n, (name, function) in enumerate(tested.items()):
        material.run.stage(NETWORKS.get(name, FLOORS.get(name, name)), n, len(tested))
        said = _measured(material, name, function)
        rows = {k: (_known(v), list(material.test.patients)) for k, v in said["images"].items()}
        if said["livers"]:
            patients = [one.patient for one in material.livers]
            for k in _UNITS:
                if k in said["livers"][0]:
                    rows[k] = (_known([r[k] for r in said["livers"]]), patients)
        values[name] = rows
    scores: dict[str, dict[str, Score]] = {}
    for name, rows in values.items():
        scores[name] = {
            k: mean_score(v, p, _UNITS[k], within=(-1, 1) if k.endswith("ssim") else None) for k, (v, p) in rows.items()
        }
        if name in FLOORS:
            continue
        for floor in FLOORS:
            for k, sign in _BETTER.items():
                if k not in rows:
                    continue
                gain = [sign * (a - b) for a, b in zip(rows[k][0], values[floor][k][0], strict=True)]
                scores[name][f"{k}_better_than_{floor}"] = mean_score(gain, rows[k][1], _UNITS[k])
    return scores
