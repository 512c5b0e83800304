"""The decoy's dose-response: what the networks use as a shortcut grows, which maps show it, whether masking helps."""

from functools import partial

import numpy as np
from torch import Tensor, nn

from regard.core.target import Output
from regard.explainers.spec import parse_methods
from regard.models import Model
from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.config import CASES, DECOY_CASES
from regard.studies.bmd.material import Material
from regard.studies.bmd.networks import HOOKED, predicted, train_member
from regard.studies.bmd.phantoms import phantom_cohort
from regard.studies.bmd.score import UNIT
from regard.studies.bmd.truth import Rendered, rendered
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.scoring.regression import regression_scores

__all__ = ["decoy_scores", "group_name", "train_decoys"]

_FALSE_ALARMS = 0.05


def group_name(dose: float, case: int) -> str:
    """Group of the scores of one dose."""
    return f"decoy_{dose:g}_case{case}"


def _cohort(material: Material, part: str, dose: float, case: int) -> Cohort:
    data = material.config.data
    n = data.n_train if part == "train" else data.n_test
    return material.seen(phantom_cohort(material.run, material.config, part, n, dose=dose), case)


def _members(material: Material, dose: float, case: int) -> list[Model]:
    plan = material.config.train
    cases = partial(_cohort, material, "train", dose, case)
    return [
        train_member(
            material.run,
            material.config,
            cases,
            material.scale,
            case,
            k,
            dose=dose,
            start=partial(material.member, case, k),
            n_epochs=plan.n_decoy_epochs,
        )
        for k in range(plan.n_decoy_members)
    ]


def train_decoys(material: Material) -> None:
    """Train the networks of every dose; all start from the same network of their case."""
    plan = material.config.train
    done = 1 + len(CASES) * plan.n_members + plan.n_second_members
    for dose in material.config.data.doses:
        for case in DECOY_CASES:
            material.trains(f"decoy {dose:g}, case {case}", done)
            _members(material, dose, case)
            done += plan.n_decoy_members


def _module(model: Model) -> nn.Module:
    network: nn.Module = model.network  # type: ignore[assignment]
    return network


def _mark(made: Rendered, decoy: str) -> Tensor:
    """Pixels that the decoy changes by more than noise would be seen, (row, column) of bool."""
    ends = made.ends[made.factors.index(decoy)]
    return (ends[1, 0] - ends[0, 0]).abs() > 30


def _share(relevance: Tensor, inside: Tensor) -> float:
    size = relevance[0].sum(0).double().abs()
    whole = float(size.sum())
    return float(size[inside].sum()) / whole if whole > 0 else float("nan")


def _shares(material: Material, model: Model, cohort: Cohort, made: list[Rendered]) -> dict[str, list[float]]:
    """Share of each method's relevance that lies on the decoy, for each patient."""
    found: dict[str, list[float]] = {}
    for n in range(len(made)):
        x = material.scale(cohort.images[n : n + 1])
        mark = _mark(made[n], material.config.data.decoy)
        for spec in parse_methods(material.config.weigh.methods):
            explainer = spec.build(_module(model), layer=HOOKED)
            relevance = explainer.attribute(x, Output(0), seed=material.run.seed, case=cohort.cases[n])
            found.setdefault(spec.label, []).append(_share(relevance, mark))
    return found


def _dose(material: Material, dose: float, case: int, n_truth: int) -> dict[str, object]:
    """Figures of one dose and case, as plain values."""
    config, run = material.config, material.run
    models = _members(material, dose, case)
    test, clean = (_cohort(material, "test", d, case) for d in (dose, 0.0))
    guess, without = (predicted(models, c.images, material.scale).mean(0) for c in (test, clean))
    patients = list(test.patients)[:n_truth]
    made = [rendered(run, config, p, (config.data.decoy,), dose=dose) for p in patients]
    effect = []
    for one in made:
        ends = material.as_seen(one.ends[0], case)
        low, high = predicted(models, ends, material.scale).mean(0)
        effect.append(float(high - low))
    shares = _shares(material, models[0], test, made) if case == 1 else {}
    return {
        "guess": list(guess),
        "without": list(without),
        "labels": list(test.y),
        "patients": list(test.patients),
        "effect": effect,
        "shares": shares,
    }


def decoy_scores(material: Material) -> dict[str, dict[str, Score]]:
    """Scores of every dose: errors, what moving the decoy does, and how often each method gives it away.

    A method *sees* the decoy in a patient when more of its relevance lies on the decoy than in 95 % of the patients of
    dose 0, whose networks have no reason to use it.
    """
    config, scores = material.config, {}
    null: dict[str, list[float]] = {}
    weighed = min(config.explain.n_cases, config.weigh.n_truth)
    for k, dose in enumerate(config.data.doses):
        material.run.stage(f"decoy {dose:g}", weighed + k, weighed + len(config.data.doses))
        for case in DECOY_CASES:
            name = f"weigh/decoy{dose:g}-case{case}"
            n_truth = min(config.weigh.n_truth, config.data.n_test)
            said = material.run.record(name, lambda d=dose, c=case, n=n_truth: _dose(material, d, c, n))  # type: ignore[misc]
            patients, effect = said["patients"], np.array(said["effect"])
            own = regression_scores(said["labels"], said["guess"], patients, unit=UNIT)
            other = regression_scores(said["labels"], said["without"], patients, unit=UNIT)
            group = {
                "pearson_r": own["pearson_r"],
                "mae": own["mae"],
                "pearson_r_decoy_at_random": other["pearson_r"],
                "mae_decoy_at_random": other["mae"],
                "effect_of_decoy": mean_score(list(effect), patients[: len(effect)], UNIT),
            }
            for method, values in said["shares"].items():
                kept = np.array([np.nan if v is None else v for v in values], dtype=float)
                if dose == 0:
                    null[method] = list(kept)
                group[f"share_on_decoy_{method}"] = mean_score(list(kept), patients[: len(kept)])
                if dose > 0 and method in null:
                    limit = np.nanquantile(null[method], 1 - _FALSE_ALARMS)
                    seen = (kept > limit).astype(float)
                    group[f"seen_by_{method}"] = mean_score(list(seen), patients[: len(seen)])
            scores[group_name(dose, case)] = group
    return scores
