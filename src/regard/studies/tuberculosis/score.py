"""How good the classifiers are: each arm, arms paired within folds, floors, and how far features lie apart."""

import math

import numpy as np

from regard.studies.scoring.bootstrap import Score, mean_score, scored
from regard.studies.scoring.classification import decision_scores
from regard.studies.scoring.paired import area_permutation_p, delong, mcnemar
from regard.studies.scoring.ranking import area, area_statistic
from regard.studies.scoring.separation import neighbours_right, silhouettes, standardised_features
from regard.studies.tuberculosis.floors import FLOORS
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.networks import told

__all__ = ["PAIRED", "probabilities", "score_all"]

PAIRED = "suppressed_minus_plain"
"""Group of the paired differences."""

Group = dict[str, Score]


def probabilities(log_odds: np.ndarray) -> np.ndarray:
    """Of ill, from log-odds."""
    found: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return found


def _alone(value: float, n: int, n_patients: int) -> Score:
    """A figure that has no interval."""
    return Score(value, math.nan, math.nan, 0.95, n, n_patients, "1")


def _decisions(material: Material, log_odds: np.ndarray) -> Group:
    cohort, patients = material.cohort, list(material.cohort.patients)
    said = probabilities(log_odds) >= material.config.score.threshold
    found = {"auc": scored(area_statistic(list(cohort.ill), list(log_odds), list(material.folds)), patients)}
    return {**found, **decision_scores(list(cohort.ill), list(said), patients)}


def _pretraining(material: Material, arm: str) -> Group:
    cohort = material.pretraining
    rows = material.pretrain_split[1]
    held = cohort.of(rows)
    values = told(material.pretrained(arm), material.seen(cohort, arm)[rows])
    found = {"auc": scored(area_statistic(list(held.ill), list(values)), list(held.patients))}
    return {**found, **decision_scores(list(held.ill), list(values > 0), list(held.patients))}


def _floor(material: Material, name: str) -> Group:
    cohort = material.cohort
    values = np.zeros(len(cohort))
    for fold in range(material.config.train.n_folds):
        rest, tested = np.flatnonzero(material.folds != fold), material.tested(fold)
        images = material.seen(cohort, "plain")
        values[tested] = FLOORS[name](images[rest], cohort.ill[rest], images[tested])
    found = scored(area_statistic(list(cohort.ill), list(values), list(material.folds)), list(cohort.patients))
    return {"auc": found}


def _paired(material: Material) -> Group:
    """Suppressed against plain on the same test cases, each told by the networks of its own fold."""
    cohort, folds = material.cohort, material.folds
    ill, patients = cohort.ill, list(cohort.patients)
    plain, bare = material.told("plain"), material.told("suppressed")
    one_each = len(set(patients)) == len(patients)
    n, k = len(cohort), len(set(patients))
    without, with_ = (area_statistic(list(ill), list(v), list(folds)) for v in (plain, bare))
    found = {"auc_difference": scored(lambda w: with_(w) - without(w), patients)}
    p = area_permutation_p(list(ill), list(plain), list(bare), list(folds), patients, seed=material.run.seed)
    found["auc_permutation_p"] = _alone(p, n, k)
    right = [(probabilities(v) >= material.config.score.threshold) == ill for v in (plain, bare)]
    found["accuracy_difference"] = scored(
        lambda w: w @ (right[1].astype(float) - right[0].astype(float)) / w.sum(1), patients
    )
    if one_each:
        table = mcnemar(list(right[0]), list(right[1]))
        found["only_plain_right"] = Score(table.first, math.nan, math.nan, 0.95, n, k, "cases")
        found["only_suppressed_right"] = Score(table.second, math.nan, math.nan, 0.95, n, k, "cases")
        found["mcnemar_p"] = _alone(table.p, n, k)
    for fold in range(material.config.train.n_folds):
        rows = material.tested(fold)
        own = [patients[r] for r in rows]
        a, b = list(plain[rows]), list(bare[rows])
        if len(set(own)) == len(own) and min(ill[rows].sum(), (~ill[rows]).sum()) >= 2:
            test = delong(list(ill[rows]), a, b, own)
            found[f"fold{fold}_auc_difference"] = Score(
                test.difference, test.low, test.high, 0.95, len(rows), len(own), "1"
            )
            found[f"fold{fold}_delong_p"] = _alone(test.p, len(rows), len(own))
        else:
            difference = area(list(ill[rows]), b) - area(list(ill[rows]), a)
            found[f"fold{fold}_auc_difference"] = _alone(difference, len(rows), len(set(own)))
    return found


def _separation(material: Material, arm: str) -> Group:
    """How far ill and well lie apart in all pooled features of cases that the network did not learn from."""
    cohort, k = material.cohort, material.config.score.neighbours
    values, near = np.full(len(cohort), np.nan), np.full(len(cohort), np.nan)
    for fold in range(material.config.train.n_folds):
        rows = material.tested(fold)
        features = standardised_features(material.features(arm, fold))
        values[rows] = silhouettes(features, list(cohort.ill[rows]))
        near[rows] = neighbours_right(features, list(cohort.ill[rows]), n_neighbours=k)
    patients = list(cohort.patients)
    return {
        "silhouette": mean_score(list(values), patients),
        "neighbours_right": mean_score(list(near), patients, within=(0, 1)),
    }


def score_all(material: Material) -> dict[str, Group]:
    """All scores by group: each arm, ``pretrain_<arm>``, ``separation_<arm>``, the paired ones, ``floor_<name>``."""
    scores: dict[str, Group] = {}
    for n, arm in enumerate(material.arms):
        material.run.stage(arm, n, len(material.arms) + 1)
        scores[arm] = _decisions(material, material.told(arm))
        for fold in range(material.config.train.n_folds):
            rows = material.tested(fold)
            ill, patients = list(material.cohort.ill[rows]), [material.cohort.patients[r] for r in rows]
            scores[arm][f"fold{fold}_auc"] = scored(area_statistic(ill, list(material.told(arm)[rows])), patients)
        scores[f"pretrain_{arm}"] = _pretraining(material, arm)
        scores[f"separation_{arm}"] = _separation(material, arm)
    material.run.stage("floors", len(material.arms), len(material.arms) + 1)
    if "suppressed" in material.arms:
        scores[PAIRED] = _paired(material)
    for name in FLOORS:
        scores[f"floor_{name}"] = _floor(material, name)
    return scores
