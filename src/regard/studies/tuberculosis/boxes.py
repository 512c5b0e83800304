"""Boxes around what a map shows, against boxes around the findings; well cases count, as boxes there are false."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.core.recording import Network
from regard.explainers.cam.crm import CRM
from regard.explainers.cam.grad_cam import GradCAM
from regard.explainers.cam.random_cam import RandomCAM
from regard.studies.scoring.bootstrap import Score, mean_score, scored
from regard.studies.scoring.boxes import Box, boxes_of_map, boxes_of_mask, iou, precision_statistic
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.networks import EXPLAINED, TARGET, told

__all__ = ["BOXED", "box_scores", "case_boxes", "true_boxes"]

BOXED = ("crm", "crm-published", "grad-cam", "random-cam")
"""Whose maps become boxes: signed CRM (the part that raises the log-odds), the published one, Grad-CAM, a control."""

_GROW = 2
_FOLD = 0


def true_boxes(findings: Tensor) -> list[Box]:
    """Boxes around the connected parts of a mask (row, column) that are at least a few pixels large."""
    return [b for b in boxes_of_mask(findings.numpy() > 0.5, grow=_GROW) if b.size >= 4]


def _map(method: str, network: Network, x: Tensor, *, seed: int, case: str) -> np.ndarray:
    builders = {
        "crm": lambda: CRM(network, EXPLAINED),
        "crm-published": lambda: CRM(network, EXPLAINED, form="published"),
        "grad-cam": lambda: GradCAM(network, EXPLAINED),
        "random-cam": lambda: RandomCAM(network, EXPLAINED),
    }
    found: np.ndarray = builders[method]().attribute(x, TARGET, seed=seed, case=case)[0, 0].detach().numpy()
    return found


def case_boxes(material: Material, row: int, arm: str, method: str) -> list[Box]:
    """Boxes of one case's map, scored by the map's height times the probability of ill."""
    model = material.member(arm, _FOLD)
    x = material.seen(material.cohort, arm)[row : row + 1]
    probability = float(1 / (1 + np.exp(-told(model, x)[0])))
    relevance = _map(method, model.network, x, seed=material.run.seed, case=material.cohort.cases[row])
    return boxes_of_map(relevance, threshold=material.config.explain.box_threshold, score=probability)


def box_scores(
    material: Material, ill: Sequence[int] | np.ndarray, well: Sequence[int] | np.ndarray
) -> dict[str, dict[str, Score]]:
    """Groups ``boxes_<method>_<arm>``: mean average precision, best overlap with each finding, share of findings hit.

    Empty where no finding's place is known.

    Parameters
    ----------
    material
        The study.
    ill, well
        Rows of the cases.
    """
    cohort, rows = material.cohort, [int(r) for r in (*ill, *well)]
    rows = [r for r in rows if bool(torch.isfinite(cohort.findings[r]).all())]
    wanted = [true_boxes(cohort.findings[r]) for r in rows]
    if not any(wanted):
        return {}
    patients, overlaps = [cohort.patients[r] for r in rows], material.config.explain.overlaps
    scores: dict[str, dict[str, Score]] = {}
    for arm in material.arms:
        for method in BOXED:
            found = [case_boxes(material, r, arm, method) for r in rows]
            group = {"map": scored(precision_statistic(found, wanted, overlaps), patients)}
            for least in overlaps:
                group[f"ap_{least:g}"] = scored(precision_statistic(found, wanted, [least]), patients)
            best = [
                [max((iou(f, w) for f in own), default=0.0) for w in true]
                for own, true in zip(found, wanted, strict=True)
            ]
            whose = [p for p, own in zip(patients, best, strict=True) for _ in own]
            values = [v for own in best for v in own]
            group["best_iou"] = mean_score(values, whose, within=(0, 1))
            group[f"found_{overlaps[0]:g}"] = mean_score(
                [float(v >= overlaps[0]) for v in values], whose, within=(0, 1)
            )
            group["boxes_per_case"] = mean_score([float(len(own)) for own in found], patients, "boxes")
            scores[f"boxes_{method}_{arm}"] = group
    return scores
