"""Whether the maps are true: against what one network depends on, against the label, and across the decision."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.devices import answers
from regard.core.target import Output
from regard.evidence.faithfulness.deletion_insertion import Deletion
from regard.evidence.measure import Places
from regard.evidence.sanity.similarity import spearman
from regard.evidence.verdict import FAITHFUL
from regard.explainers.spec import MethodSpec, parse_methods
from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.explain import explained
from regard.studies.bmd.material import Material
from regard.studies.bmd.networks import HOOKED
from regard.studies.bmd.phantoms import again
from regard.studies.bmd.score import UNIT, margin_of, t_score
from regard.studies.bmd.truth import CaseTruth, case_truth, data_places, rendered
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.weighing import (
    AT_DATA,
    Known,
    MapRequest,
    Weighing,
    make_map,
    map_scores,
    plan_of,
    weigh_cohort,
)

__all__ = ["AT_DATA", "decision", "weigh_maps"]

_ACROSS = ("grad-ram", "grad-ramp", "integrated-gradients", "occlusion")
_STEPS = 9


def _specs(material: Material) -> list[MethodSpec]:
    return parse_methods(material.config.weigh.methods)


def _network(material: Material, case: int = 1) -> nn.Module:
    network: nn.Module = material.members(case)[0].network  # type: ignore[assignment]
    return network


def _reader(material: Material, case: int) -> Callable[[Tensor], Tensor]:
    """The first network of a case with all that comes before it: HU (n, 1, row, column) to densities (n,)."""
    network = _network(material, case)

    def read(images: Tensor) -> Tensor:
        seen = material.as_seen(images, case)
        return answers(network, seen, batch=64, change=material.scale, read=lambda output: output[:, 0])

    return read


def truths(material: Material, cohort: Cohort, n: int) -> tuple[CaseTruth, Places]:
    """Model truth of the first network, and data truth, of one explained case."""
    config = material.config
    made = rendered(material.run, config, cohort.patients[n], config.weigh.factors)
    found = case_truth(_reader(material, 1), made, config.data.decoy, cohort.spacing)
    at = made.factors.index(config.data.decoy) if config.data.decoy in made.factors else None
    mark = torch.zeros_like(made.places[0]) if at is None else made.places[at]
    return found, data_places(cohort.vertebra[n], mark, cohort.spacing)


def _weighing(material: Material, cohort: Cohort) -> Weighing:
    """The maps of the first network of case 1, against model truth and the label's places."""
    network = _network(material)

    def requests(n: int) -> list[MapRequest]:
        x = material.scale(cohort.images[n : n + 1])
        return [MapRequest(spec, network, x, Output(0), HOOKED) for spec in _specs(material)]

    def known(n: int) -> Known:
        spread = dict.fromkeys(
            (s.label for s in _specs(material)), float(material.predictions(material.test, 1)[0].std())
        )
        if not material.phantoms:
            return Known(spread)
        truth, label_places = truths(material, cohort, n)
        return Known(spread, truth.places, label_places)

    return Weighing(cohort.cases, cohort.patients, "bmd", requests, known, random_cam=True)


def weigh_maps(material: Material) -> dict[str, dict[str, Score]]:
    """Weigh the maps of the first network of case 1, write the evidence, and look at the decision."""
    cohort, section = explained(material), material.config.weigh
    cohort = cohort.of(range(min(len(cohort), section.n_truth)))
    weighing = _weighing(material, cohort)
    plan = plan_of(material.run, weighing, truth=material.phantoms, n_null=section.n_null)
    plan = dataclasses.replace(
        plan, measures={**plan.measures, FAITHFUL: Deletion(n_steps=section.n_steps, every_filling=False)}
    )
    n_later = len(material.config.data.doses) if material.phantoms else 0
    scores = map_scores(weigh_cohort(material.run, weighing, plan, n_later=n_later))
    if material.phantoms:
        scores |= _dependence(material, cohort)
        scores |= _across(material, cohort)
    return scores


def _dependence(material: Material, cohort: Cohort) -> dict[str, dict[str, Score]]:
    """What moving each factor from its lowest to its highest value does to the first network of each case."""
    scores = {}
    made = [rendered(material.run, material.config, p, material.config.weigh.factors) for p in cohort.patients]
    for case in (1, 2, 3):
        found = [case_truth(_reader(material, case), m, material.config.data.decoy, cohort.spacing) for m in made]
        group = {}
        for factor in material.config.weigh.factors:
            for name, values in (
                (f"change_{factor}", [t.change[factor] for t in found]),
                (f"shapley_{factor}", [abs(t.shapley[factor]) for t in found]),
            ):
                group[name] = mean_score(values, cohort.patients, UNIT)
        scores[f"depends_case{case}"] = group
    return scores


def _crossing(material: Material, patient: str) -> tuple[Tensor, float] | None:
    """Two images of a patient between which the reading crosses the decision, and the step between the readings."""
    section = material.config.score
    changes = [{"trabecular": k / (_STEPS - 1)} for k in range(_STEPS)]
    images, _ = again(material.run, material.config, patient, changes)
    with torch.no_grad():
        read = _reader(material, 1)(images).double().numpy()
    low = t_score(read, section) < section.threshold
    for k in range(_STEPS - 1):
        if low[k] != low[k + 1]:
            return images[k : k + 2], float(abs(read[k + 1] - read[k]))
    return None


def _across(material: Material, cohort: Cohort) -> dict[str, dict[str, Score]]:
    """Rank correlation of a patient's maps just below and just above T = -1, trabecular density moved."""
    values: dict[str, list[float]] = {}
    patients = []
    network = _network(material)
    for n, patient in enumerate(cohort.patients):

        def make(n: int = n, patient: str = patient) -> dict[str, object]:
            found = _crossing(material, patient)
            if found is None:
                return {"likeness": None}
            pair = material.scale(found[0])
            likeness = {}
            for spec in _specs(material):
                if spec.name in _ACROSS:
                    below, above = (
                        make_map(
                            MapRequest(spec, network, x, Output(0), HOOKED),
                            seed=material.run.seed,
                            case=cohort.cases[n],
                        )
                        for x in pair.split(1)
                    )
                    likeness[spec.label] = spearman(below, above)
            return {"likeness": likeness, "step": found[1]}

        said = material.run.record(f"weigh/across-{patient}", make)["likeness"]
        if said is not None:
            patients.append(patient)
            for label, value in said.items():
                values.setdefault(label, []).append(math.nan if value is None else value)
    group = {}
    for label, found in values.items():
        group[f"likeness_{label}"] = mean_score(found, patients)
    return {"across_decision": group} if group else {}


def decision(material: Material, cohort: Cohort) -> list[dict[str, object]]:
    """For each case: reading, prediction interval, T-score, and whether the interval leaves the decision open."""
    section, margin = material.config.score, margin_of(material, 1)
    members = material.predictions(material.test, 1)
    at = {name: n for n, name in enumerate(material.test.cases)}
    border = section.t_mean + section.threshold * section.t_deviation
    rows: list[dict[str, object]] = []
    for n, case in enumerate(cohort.cases):
        own = members[:, at[case]]
        value = float(own.mean())
        open_ = not abs(value - border) > margin
        row: dict[str, object] = {
            "case": case,
            "densitometer [g/cm2]": round(float(cohort.labels[n]), 3),
            "network [g/cm2]": round(value, 3),
            f"{100 * section.level:.0f} % interval": "no calibration patients"
            if math.isinf(margin)
            else f"{value - margin:.3f} to {value + margin:.3f}",
            "members": " ".join(f"{v:.3f}" for v in own[:5]),
            "T-score": round(float(t_score(np.array(value), section)), 2),
            f"T < {section.threshold:g}": "open" if open_ else "yes" if value < border else "no",
        }
        rows.append(row)
    return rows
