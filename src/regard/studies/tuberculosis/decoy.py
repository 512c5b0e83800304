"""The shortcut, a letter that follows the label: whether networks use it, maps show it and suppression helps."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.core.devices import answers
from regard.evidence.shortcut import AbstractMark, Answer, detection_rates, dose_response
from regard.explainers.spec import parse_methods
from regard.models import Model
from regard.studies.scoring.bootstrap import Score, scored
from regard.studies.scoring.ranking import area_statistic
from regard.studies.tuberculosis.cohort import Cohort
from regard.studies.tuberculosis.explain import FOLD
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.networks import EXPLAINED, TARGET, log_odds, told
from regard.studies.tuberculosis.phantoms import phantom_cohort, with_letter

__all__ = ["decoy_scores", "group_name", "train_decoys"]


def group_name(dose: float, arm: str) -> str:
    """Group of the scores of one dose."""
    return f"decoy_{dose:g}_{arm}"


@dataclass(frozen=True, eq=False)
class Letter(AbstractMark):
    """A letter that is in one of two pictures of a patient and not in the other.

    Parameters
    ----------
    without, with_it
        (1, row, column).
    """

    without: Tensor
    with_it: Tensor

    def on(self, image: Tensor, dose: float) -> Tensor:
        return self.without + dose * (self.with_it - self.without)

    def region(self, image: Tensor, dose: float) -> Tensor:
        """Where the two differ by a tenth of the most."""
        apart = (self.with_it - self.without).abs().amax(0)
        return apart > 0.1 * apart.max()


def _cohort(material: Material, dose: float) -> Cohort:
    if dose == 0:
        return material.cohort
    return material.once(  # type: ignore[return-value]
        f"cohort {dose}", lambda: phantom_cohort(material.run, material.config, "study", dose=dose)
    )


def _member(material: Material, dose: float, arm: str) -> Model:
    """The network of a dose: the first fold's own at dose 0."""
    if dose == 0:
        return material.member(arm, FOLD)
    name = f"fold{FOLD}-{arm}-letter{dose:g}"
    return material.fitted(arm, FOLD, _cohort(material, dose), name, material.config.train.decoy_epochs)


def train_decoys(material: Material) -> None:
    """Train the networks of every dose."""
    doses = material.config.data.doses
    for n, dose in enumerate(doses):
        for arm in material.arms:
            material.run.stage(f"letter {dose:g}, {arm}", n, len(doses))
            _member(material, dose, arm)


def _pairs(material: Material, arm: str, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Images of an arm without and with the letter, each (case, 1, row, column)."""
    base = material.cohort.of(rows)
    found = []
    for there in (False, True):
        made = with_letter(material.run, material.config, base, [there] * len(rows))
        found.append(material.as_seen(made.plain, made.soft, arm))
    return found[0], found[1]


def _dose(material: Material, dose: float, arm: str) -> dict[str, object]:
    """Figures of one dose and arm, as plain values."""
    model, cohort = _member(material, dose, arm), _cohort(material, dose)
    network, rows = model.network, material.tested(FOLD)
    as_trained = told(model, material.seen(cohort, arm)[rows])
    at_random = told(model, material.seen(material.cohort, arm)[rows])
    some = rows[: material.config.weigh.n_decoy]
    without, with_it = _pairs(material, arm, some)
    images, patients = list(without), [material.cohort.patients[r] for r in some]
    marks = [Letter(a, b) for a, b in zip(without, with_it, strict=True)]

    def answer(batch: list[Tensor]) -> Tensor:
        return answers(network, torch.stack(list(batch)), batch=32, read=log_odds)

    asked: Answer = answer  # type: ignore[assignment]
    effect = dose_response(asked, images, marks, doses=(0.0, 0.5, 1.0), patients=patients, seed=material.run.seed)
    seen: dict[str, list[float]] = {}
    for spec in parse_methods(material.config.weigh.decoy_methods):
        explainer = spec.build(network, layer=EXPLAINED)

        def explain(image: Tensor, explainer=explainer) -> Tensor:  # type: ignore[no-untyped-def]
            made: Tensor = explainer.attribute(image[None], TARGET, seed=material.run.seed, case="letter")
            return made[0].sum(0)

        rate = detection_rates(explain, images, marks, doses=(1.0,))[0]
        seen[spec.label] = [rate.rate.value, rate.rate.low, rate.rate.high, rate.share, rate.without, rate.area]
    return {
        "as_trained": list(as_trained),
        "at_random": list(at_random),
        "effect": [[e.dose, e.change.value, e.change.low, e.change.high, e.raised] for e in effect],
        "seen": seen,
        "n": len(some),
        "n_patients": len(set(patients)),
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def decoy_scores(material: Material) -> dict[str, dict[str, Score]]:
    """Scores of every dose and arm: areas, what putting the letter in does, and how often each method gives it away.

    A method *sees* the letter in a patient when a larger share of its map lies there with it than in 95 % of the same
    patients without it.
    """
    rows = material.tested(FOLD)
    ill, patients = list(material.cohort.ill[rows]), [material.cohort.patients[r] for r in rows]
    scores: dict[str, dict[str, Score]] = {}
    for k, dose in enumerate(material.config.data.doses):
        material.run.stage(f"letter {dose:g}", k, len(material.config.data.doses))
        for arm in material.arms:
            said = material.run.record(f"weigh/letter{dose:g}-{arm}", lambda d=dose, a=arm: _dose(material, d, a))  # type: ignore[misc]
            n, n_patients = int(said["n"]), int(said["n_patients"])
            group = {
                "auc": scored(area_statistic(ill, said["as_trained"]), patients),
                "auc_letter_at_random": scored(area_statistic(ill, said["at_random"]), patients),
            }
            for opacity, value, low, high, raised in said["effect"][1:]:
                bounds = (_number(value), _number(low), _number(high))
                group[f"effect_of_letter_{opacity:g}"] = Score(*bounds, 0.95, n, n_patients, "logit")
                share = (_number(raised), float("nan"), float("nan"))
                group[f"raised_by_letter_{opacity:g}"] = Score(*share, 0.95, n, n_patients, "1")
            for method, (rate, low, high, share, without, area) in said["seen"].items():
                bounds = (_number(rate), _number(low), _number(high))
                group[f"seen_by_{method}"] = Score(*bounds, 0.95, n, n_patients, "1")
                for name, value in (("share_on_letter", share), ("share_without", without)):
                    group[f"{name}_{method}"] = Score(
                        _number(value), float("nan"), float("nan"), 0.95, n, n_patients, "1"
                    )
                group["area_of_letter"] = Score(_number(area), float("nan"), float("nan"), 0.95, n, n_patients, "1")
            scores[group_name(dose, arm)] = group
    return scores
