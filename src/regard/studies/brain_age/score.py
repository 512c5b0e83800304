"""How well age is read: every network beside what needs no network, a ceiling, and the age gap with its correction."""

import numpy as np
import torch

from regard.phantoms.brain.predictors import LinearPredictor
from regard.studies.brain_age.correction import Predicted, accuracy, corrected
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.networks import predicted
from regard.studies.brain_age.patches import patch_scores
from regard.studies.scoring.bootstrap import Score, scored
from regard.studies.scoring.regression import regression_statistics

__all__ = ["FLOORS", "floors", "score_all"]

FLOORS = {
    "mean age": "the mean age",
    "histogram": "ridge on the histogram of the image",
    "ventricle": "ridge on the size of the ventricles, read off the image",
    "hand": "ridge on three measurements by hand: ventricles, fluid about the hippocampi, brain",
}
"""What is known without a network."""

_CEILING = "ceiling"

_FEWEST = 3
"""Subjects that a line is fitted on, at least."""


def floors(material: Material) -> dict[str, np.ndarray]:
    """Ages [year] that predictors without a network say of the test subjects, by name; the ceiling among them."""
    found = {}
    for name, features in material.learn.features.items():
        fitted = LinearPredictor.fit(features, material.learn.ages, material.config.score.penalty)
        found[name] = fitted(material.test.features[name]).numpy()
    return found


def _below(ages: np.ndarray, ours: np.ndarray, theirs: np.ndarray, patients: list[str]) -> Score:
    """Paired: how far our mean absolute error is below another predictor's."""
    (a, _), (b, _) = (regression_statistics(list(ages), list(p))["mae"] for p in (ours, theirs))
    return scored(lambda w: b(w) - a(w), patients, "year")


def _gap(material: Material, kind: str, member: int) -> dict[str, Score]:
    """The age gap before and after the correction: its spread, and what is left of its dependence on age."""
    test, calibrate = material.test, material.calibrate
    plain = Predicted(material.predictions(test, kind, member))
    both = {"": plain}
    if len(calibrate) >= _FEWEST and np.ptp(calibrate.y) > 0:
        fitted = Predicted(material.predictions(calibrate, kind, member))
        both["_corrected"] = corrected(plain, test.y, fitted=fitted, fitted_ages=calibrate.y)
    found = {}
    for name, one in both.items():
        gap = one.gap(test.y)
        slope = regression_statistics(list(test.y), list(one.values))["slope"][0]

        def deviation(w: np.ndarray, gap: np.ndarray = gap) -> np.ndarray:
            mean = w @ gap / w.sum(1)
            spread: np.ndarray = np.sqrt(np.maximum(w @ gap**2 / w.sum(1) - mean**2, 0))
            return spread

        found[f"gap_deviation{name}"] = scored(deviation, list(test.patients), "year")
        found[f"gap_slope{name}"] = scored(lambda w, s=slope: s(w) - 1, list(test.patients), "year/year")  # type: ignore[misc]
    return found


def score_all(material: Material) -> dict[str, dict[str, Score]]:
    """Scores by group: ``test`` (the explained network), each network's name, ``floor_<name>``, ``ceiling``."""
    test = material.test
    patients = list(test.patients)
    lower = floors(material)
    scores: dict[str, dict[str, Score]] = {}
    for n, (kind, member) in enumerate(material.kinds):
        material.run.stage(f"{kind}, member {member + 1}", n, len(material.kinds))
        ours = material.predictions(test, kind, member)
        group = {**accuracy(Predicted(ours), test.y, patients), **_gap(material, kind, member)}
        for name, theirs in lower.items():
            if name != _CEILING:
                group[f"mae_below_{name.replace(' ', '_')}"] = _below(test.y, ours, theirs, patients)
        if n == 0:
            scores["test"] = group
        scores[f"{kind}-member{member}"] = group
    if material.config.train.n_members > 1:
        first = material.config.train.networks[0]
        members = range(material.config.train.n_members)
        mean = np.mean([material.predictions(test, first, m) for m in members], axis=0)
        scores[f"{first}-ensemble"] = accuracy(Predicted(mean), test.y, patients)
    for name, theirs in lower.items():
        group_name = _CEILING if name == _CEILING else f"floor_{name.replace(' ', '_')}"
        scores[group_name] = accuracy(Predicted(theirs), test.y, patients)
    return scores | patch_scores(material) | _nothing(material)


def _nothing(material: Material) -> dict[str, dict[str, Score]]:
    """The network of a cohort in which nothing ages: it can know nothing."""
    found = material.nothing()
    if found is None:
        return {}
    learn, test, model = found
    ours = predicted(model, test.images)
    mean = torch.full_like(test.ages, float(learn.ages.mean())).double().numpy()
    group = accuracy(Predicted(ours), test.y, list(test.patients))
    group["mae_below_mean_age"] = _below(test.y, ours, mean, list(test.patients))
    return {"nothing": group}
