"""How good the networks are: three cases, floors, ceiling, classes by T-score, prediction intervals, outlines."""

import math
from dataclasses import replace

import numpy as np
from torch import Tensor

from regard.studies.bmd.config import CASES, ScoreSection
from regard.studies.bmd.material import Material
from regard.studies.bmd.networks import predicted
from regard.studies.bmd.outlines import outline_scores
from regard.studies.bmd.predictors import floors
from regard.studies.scoring.bootstrap import Score, scored
from regard.studies.scoring.classification import classification_scores, share_score
from regard.studies.scoring.prediction_intervals import conformal_margin, ensemble_margin
from regard.studies.scoring.regression import regression_scores, regression_statistics

__all__ = ["UNIT", "margin_of", "score_all", "t_score"]

UNIT = "g/cm2"


def t_score(density: np.ndarray, section: ScoreSection) -> np.ndarray:
    """Standard deviations from young adults' mean: T = (density - 0.9747) / 0.1185 (Kang et al. 2023)."""
    found: np.ndarray = (np.asarray(density, dtype=float) - section.t_mean) / section.t_deviation
    return found


def _of(labels: np.ndarray, predicted: np.ndarray, patients: list[str], section: ScoreSection) -> dict[str, Score]:
    low, said = (t_score(v, section) < section.threshold for v in (labels, predicted))
    return {
        **regression_scores(list(labels), list(predicted), patients, unit=UNIT),
        **classification_scores(list(low), list(said), patients),
    }


def _beyond(
    labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, patients: list[str], name: str
) -> dict[str, Score]:
    """Paired: correlation above and error below another predictor's."""
    a, b = (regression_statistics(list(labels), list(p)) for p in (ours, theirs))
    (ra, _), (rb, _) = a["pearson_r"], b["pearson_r"]
    (ma, _), (mb, _) = a["mae"], b["mae"]
    found = {f"mae_below_{name}": scored(lambda w: mb(w) - ma(w), patients, UNIT)}
    if np.ptp(theirs) > 0:
        found[f"r_above_{name}"] = scored(lambda w: ra(w) - rb(w), patients)
    return found


def margin_of(material: Material, case: int) -> float:
    """Half width of the conformal prediction interval [g/cm2]; infinite without enough patients to calibrate on."""
    cohort = material.calibrate
    if cohort is None or len(cohort) == 0:
        return math.inf
    errors = material.predictions(cohort, case).mean(0) - cohort.y
    return conformal_margin(list(errors), cohort.patients, level=material.config.score.level)


def _intervals(material: Material, case: int) -> dict[str, Score]:
    test, level = material.test, material.config.score.level
    patients, members = list(test.patients), material.predictions(test, case)
    error = np.abs(members.mean(0) - test.y)
    found = {}
    margin = margin_of(material, case)
    if math.isfinite(margin):
        found["conformal_coverage"] = share_score(list(error <= margin), patients)
        n = len(set(material.calibrate.patients)) if material.calibrate is not None else 0
        n_cases = len(material.calibrate) if material.calibrate is not None else 0
        found["conformal_margin"] = Score(margin, math.nan, math.nan, level, n_cases, n, UNIT)
    if len(members) > 1:
        widths = ensemble_margin(members, level=level)
        found["ensemble_coverage"] = share_score(list(error <= widths), patients)
        found["ensemble_margin"] = scored(lambda w: w @ widths / w.sum(1), patients, UNIT)
    return found


def _second(material: Material, bodies: tuple[Tensor, Tensor]) -> dict[str, dict[str, Score]]:
    """The second target, trabecular density, of each patient's middle slice; its floor is the hand measurement."""
    test, unit = material.test.one_each(), "mg/cm3"
    labels, patients = list(test.second.double().numpy()), list(test.patients)
    read = predicted(material.second_members(), test.images, material.scale).mean(0)
    learn = replace(material.learn, labels=material.learn.second)
    hand = floors(learn, material.test, bodies)["region_hu"]
    at = {name: n for n, name in enumerate(material.test.cases)}
    by_hand = hand[[at[name] for name in test.cases]]
    return {
        "trabecular": regression_scores(labels, list(read), patients, unit=unit),
        "trabecular_floor_region_hu": regression_scores(labels, list(by_hand), patients, unit=unit),
    }


def score_all(material: Material) -> dict[str, dict[str, Score]]:
    """All scores of the test cases by group: ``case1`` to ``case3``, ``floor_<name>``, ``ceiling``, outlines."""
    config, test = material.config, material.test
    labels, patients = test.y, list(test.patients)
    bodies = (material.probabilities(material.learn)[:, 0], material.probabilities(test)[:, 0])
    lower = floors(material.learn, test, bodies)
    truth = test.truth.double().numpy()
    known = bool(np.isfinite(truth).all())
    scores: dict[str, dict[str, Score]] = {}
    for case in CASES:
        material.run.stage(f"case {case}", case - 1, len(CASES) + 1)
        ours = material.predictions(test, case).mean(0)
        group = {**_of(labels, ours, patients, config.score), **_intervals(material, case)}
        for name, theirs in lower.items():
            group |= _beyond(labels, ours, theirs, patients, name)
        if known:
            (ra, _), (rc, _) = (regression_statistics(list(labels), list(p))["pearson_r"] for p in (ours, truth))
            group["r_of_ceiling"] = scored(lambda w, ra=ra, rc=rc: ra(w) / rc(w), patients)  # type: ignore[misc]
        if case > 1:
            group |= _beyond(labels, ours, material.predictions(test, 1).mean(0), patients, "case1")
        if bool(np.isfinite(test.second.double().numpy()).all()):
            second = regression_statistics(list(test.second.double().numpy()), list(ours))["pearson_r"][0]
            group["pearson_r_trabecular"] = scored(second, patients)
        scores[f"case{case}"] = group
    for name, theirs in lower.items():
        scores[f"floor_{name}"] = _of(labels, theirs, patients, config.score)
    if known:
        scores["ceiling"] = _of(labels, truth, patients, config.score)
    if material.phantoms and material.second_members():
        scores |= _second(material, bodies)
    if material.phantoms:
        material.run.stage("outlines", len(CASES), len(CASES) + 1)
        scores |= outline_scores(material)
    return scores
