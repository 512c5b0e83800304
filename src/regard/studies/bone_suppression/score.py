"""How good the suppressors are: likeness to the truth, bone taken away, findings kept; networks beside baselines."""

import torch

from regard.studies.bone_suppression.baselines import BASELINES
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.measures import UNITS, contrast, kept, likenesses, suppression
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["group_of", "score_all", "values_of"]


def group_of(name: str) -> str:
    """Group of a suppressor in ``scores.json``."""
    return f"floor_{name}" if name in BASELINES else name


def values_of(material: Material, name: str) -> dict[str, list[float]]:
    """Every measure of one suppressor for each test radiograph."""
    test, section = material.test, material.config.score
    found = material.found(name)
    values = likenesses(found, test.soft, bins=section.bins, scales=material.config.train.scales)
    values |= suppression(found, test.soft, test.images)
    if material.phantoms:
        wanted = contrast(test.soft, test.finding, test.lung)
        values["contrast_kept"] = contrast(found.clamp(0, 1), test.finding, test.lung) / wanted
        plain = material.found(name, "plain")
        values["finding_kept"] = kept(found, plain, test.soft, test.plain_soft, test.finding)
        values["finding_kept_behind_bone"] = kept(found, plain, test.soft, test.plain_soft, test.finding & test.bone)
    return {k: v.tolist() for k, v in values.items()}


def score_all(material: Material) -> dict[str, dict[str, Score]]:
    """All scores by group: each network, ``floor_<baseline>``, and networks against baselines in pairs."""
    patients = list(material.test.patients)
    names = list(material.suppressors())
    values = {}
    for n, name in enumerate(names):
        material.run.stage(name, n, len(names))
        values[name] = material.run.record(f"score/{name}", lambda name=name: values_of(material, name))  # type: ignore[misc]
    scores: dict[str, dict[str, Score]] = {}
    for name, rows in values.items():
        group = {k: mean_score(_numbers(v), patients, UNITS.get(k, "1")) for k, v in rows.items()}
        if name not in BASELINES:
            for other in BASELINES:
                for measure in ("psnr", "ms_ssim", "mae"):
                    mine, theirs = (torch.tensor(_numbers(values[s][measure])) for s in (name, other))
                    group[f"{measure}_above_{other}"] = mean_score(
                        (mine - theirs).tolist(), patients, UNITS.get(measure, "1")
                    )
            loss = material.validation_loss(name)
            n_chosen = len(material.chosen)
            group["validation_loss"] = Score(
                loss, float("nan"), float("nan"), 0.95, n_chosen, len(set(material.chosen.patients)), "1"
            )
        scores[group_of(name)] = group
    return scores


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if v is None else float(v) for v in values]
