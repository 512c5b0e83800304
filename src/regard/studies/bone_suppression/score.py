"""How good the suppressors are: likeness to the truth, bone taken away, findings kept; networks beside baselines."""

import torch

from regard.phantoms.radiograph import FINDINGS
from regard.studies.bone_suppression.baselines import BASELINES
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.measures import UNITS, contrast, kept, likenesses, suppression
from regard.studies.bone_suppression.phantoms import planted
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["findings_kept", "group_of", "score_all", "values_of"]


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
        seen = contrast(found.clamp(0, 1), test.finding, test.lung)
        values["contrast_gained"] = seen - contrast(test.soft, test.finding, test.lung)
    return {k: v.tolist() for k, v in values.items()}


def findings_kept(material: Material, name: str) -> dict[str, list[float]]:
    """Share of a finding that one suppressor keeps, for each test chest: of each kind, of all, and behind bone."""
    values: dict[str, list[float]] = {}
    suppress = material.suppressors()[name]
    for patient, bone in zip(material.test.patients, material.test.bone, strict=True):
        made = planted(material.run, material.config, patient)
        n = len(made.images)
        found = suppress(torch.cat((made.images, made.plain))).detach()
        before, truth = found[n:].expand(n, -1, -1, -1), made.plain_soft.expand(n, -1, -1, -1)
        shares = kept(found[:n], before, made.soft, truth, made.masks)
        hidden = kept(found[:n], before, made.soft, truth, made.masks & bone)
        row = {f"finding_kept_{kind}": float(v) for kind, v in zip(FINDINGS, shares, strict=True)}
        row |= {"finding_kept": float(shares.nanmean()), "finding_kept_behind_bone": float(hidden.nanmean())}
        for key, value in row.items():
            values.setdefault(key, []).append(value)
    return values


def _kept_values(material: Material, name: str) -> dict[str, list[float | None]]:
    """Every measure of a suppressor, as pieces of the run."""
    found: dict[str, list[float | None]] = material.run.record(f"score/{name}", lambda: values_of(material, name))
    if material.phantoms:
        found |= material.run.record(f"score/findings-{name}", lambda: findings_kept(material, name))
    return found


def score_all(material: Material) -> dict[str, dict[str, Score]]:
    """All scores by group: each network, ``floor_<baseline>``, and networks against baselines in pairs."""
    patients = list(material.test.patients)
    names = list(material.suppressors())
    values = {}
    for n, name in enumerate(names):
        material.run.stage(name, n, len(names))
        values[name] = _kept_values(material, name)
    scores: dict[str, dict[str, Score]] = {}
    for name, rows in values.items():
        group = {
            k: mean_score(_numbers(v), patients, UNITS.get(k, "1"), within=(-1, 1) if k.endswith("ssim") else None)
            for k, v in rows.items()
        }
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
