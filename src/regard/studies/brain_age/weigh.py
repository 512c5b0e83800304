"""Whether the maps are true: voxel by voxel against what the network depends on, and region by region."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regard.cohort.atlas import read_atlas
from regard.cohort.results import background
from regard.core.recording import Network
from regard.evidence import controls
from regard.evidence.again import taken_away
from regard.evidence.comparison import Comparison, WeighedMap
from regard.evidence.files import weighed_map, write_evidence
from regard.evidence.measure import Exhibit, Explain
from regard.evidence.verdict import FAITHFUL, PLACED
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.spec import MethodSpec
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.explain import ATLAS, explained_cohort, map_of
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.networks import age_target
from regard.studies.brain_age.nothing import nothing_scores
from regard.studies.brain_age.pattern import write_pattern
from regard.studies.brain_age.regions import (
    DATA,
    MODEL,
    TOP,
    agreement,
    planted,
    region_truth,
    top_share,
    write_regions,
)
from regard.studies.brain_age.truth import CaseTruth, case_truth
from regard.studies.brain_age.uses import uses_scores
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["AT_DATA", "knows_age", "weigh_all"]

AT_DATA = f"{PLACED}@data"
"""The measure of place against what changes with age; without the ending, against what the network depends on."""


def _explains(material: Material, spec: MethodSpec, case: str) -> Explain:
    other = prepared(material.learn.images[material.reference : material.reference + 1])

    def explain(network: Network, inputs: Tensor) -> Tensor:
        explainer = spec.build(network, layer=material.model.card.layer)
        found: Tensor = explainer.attribute(
            inputs, age_target(material.model), reference=other if explainer.takes_reference else None,
            seed=material.run.seed, case=case,
        )  # fmt: skip
        return found.sum(1, keepdim=True)

    return explain


def _weigh_one(material: Material, n: int, n_weighed: int, plan: Plan, truth: CaseTruth | None) -> list[WeighedMap]:
    cohort, model = material.explained, material.model
    x, case, target = prepared(cohort.images[n : n + 1]), cohort.cases[n], age_target(model)
    exhibits, beside, asked = {}, {}, material.config.weigh
    own = {spec.label: map_of(material, spec.label, n) for spec in material.methods}
    for spec in material.methods:
        explainer = spec.build(model.network, layer=model.card.layer)
        quantity, sign = explainer.meaning
        other = prepared(material.learn.images[material.reference : material.reference + 1])
        exhibits[spec.label] = Exhibit(
            model.network, x, target, own[spec.label], quantity, sign, case=case, spread=material.spread,
            places=None if truth is None else truth.model,
            explain=_explains(material, spec, case) if asked.randomised else None,
            seed=material.run.seed, others={k: m for k, m in own.items() if k != spec.label},
            **taken_away(explainer, x, target, reference=other, seed=material.run.seed, case=case),
        )  # fmt: skip
        rest = [map_of(material, spec.label, k) for k in range(n_weighed) if k != n]
        beside[spec.label] = Neighbours(
            rest[n % len(rest)] if rest else None,
            controls.cohort_mean(rest, x) if rest else None,
            lambda: controls.random_cam(model.network, x, target, layer=None, seed=material.run.seed, case=case),
        )
    patient = cohort.patients[n]
    found = weigh_case(exhibits, plan, target="age", patient=patient, beside=beside)
    if truth is None:
        return found
    only = dataclasses.replace(plan, measures={PLACED: plan.measures[PLACED]})
    at = {k: dataclasses.replace(e, places=truth.data, explain=None) for k, e in exhibits.items()}
    second = weigh_case(at, only, target="age", patient=patient, beside=beside)
    return [
        dataclasses.replace(m, figures={**m.figures, AT_DATA: o.figures[PLACED]} if PLACED in o.figures else m.figures)
        for m, o in zip(found, second, strict=True)
    ]


def _score(row: Comparison, *, above: bool = False) -> Score:
    """A row's value, or by how much it is better than its control."""
    value, low, high = (
        (row.difference, row.difference_low, row.difference_high) if above else (row.value, row.low, row.high)
    )
    return Score(value, low, high, 0.95, row.n, row.n_patients, row.unit)


def knows_age(scores: Any) -> bool:
    """Whether a network's error is below the mean age's, with its whole interval."""
    found = scores.get("mae_below_mean_age")
    return found is not None and bool(found.low > 0)


def weigh_all(material: Material) -> dict[str, dict[str, Score]]:
    """Weigh maps and regions, write the evidence and the table of regions."""
    found, cases, function = explained_cohort(material)
    atlas = read_atlas(material.run.path / "cases" / ATLAS, function.grid,
                       table=material.run.path / "cases/atlas.tsv")  # fmt: skip
    inside = torch.from_numpy(atlas.labels > 0)
    rows_done = list(found.rows)[: material.config.weigh.n_truth]
    plan = Plan.of(
        [*([FAITHFUL] if material.config.weigh.faithful or not material.phantoms else []),
         *([PLACED] if material.phantoms else [])],
        truth=material.phantoms, n_null=material.config.weigh.n_null,
        n_patients=len({material.explained.patients[n] for n in rows_done}), seed=material.run.seed,
    )  # fmt: skip
    weighed: list[WeighedMap] = []
    truths: list[CaseTruth] = []
    for at, n in enumerate(rows_done):
        case = material.explained.cases[n]
        material.run.stage(case, at, len(rows_done) + 2)
        truth = case_truth(material, n, inside) if material.phantoms else None
        truths += [] if truth is None else [truth]

        def make(n: int = n, truth: CaseTruth | None = truth) -> dict[str, object]:
            maps = _weigh_one(material, n, len(rows_done), plan, truth)
            return {"maps": [dataclasses.asdict(m) for m in maps]}

        weighed += [weighed_map(m) for m in material.run.record(f"weigh/map-{case}", make)["maps"]]
    compared = comparisons(weighed, seed=material.run.seed)
    write_evidence(material.run.path, compared, all_verdicts(compared), {})
    scores: dict[str, dict[str, Score]] = {}
    for row in compared:
        if row.case == "*" and row.group == "*":
            group = scores.setdefault(f"map_{row.method}", {})
            if not row.control:
                group[row.measure] = _score(row)
            elif row.measure in (PLACED, AT_DATA):
                group[f"{row.measure}_above_{row.control.replace(' ', '_')}"] = _score(row, above=True)
    material.run.stage("regions", len(rows_done), len(rows_done) + 2)
    write_regions(material, found, cases, function)
    write_pattern(material, background(found, function, None, has_geometry=True), inside)
    if not material.phantoms:
        return scores
    scores |= _dependence(truths, [material.explained.patients[n] for n in rows_done])
    names = list(atlas.names.values())
    effects = {name: row["density"] for name, row in planted(material).items()}
    used = region_truth([t.weights for t in truths], atlas.labels, atlas.names)
    patients = [str(row["patient"]) for row in found.rows.values()]
    for spec in material.methods:
        group = scores.setdefault(f"map_{spec.label}", {})
        for key, truth_of in ((DATA, effects), (MODEL, used)):
            group[key] = agreement(found, spec.label, names, truth_of, patients)
        group[TOP] = top_share(found, spec.label, names, effects, patients)
    scores |= uses_scores(material, atlas, effects)
    material.run.stage("nothing planted", len(rows_done) + 1, len(rows_done) + 2)
    return scores | nothing_scores(material)


def _dependence(truths: Sequence[CaseTruth], patients: Sequence[str]) -> dict[str, dict[str, Score]]:
    """What moving each structure from its youngest to its oldest does to every network [year]."""
    scores: dict[str, dict[str, Score]] = {}
    for network in truths[0].change if truths else ():
        group = {}
        for factor in truths[0].change[network]:
            group[f"change_{factor}"] = mean_score([t.change[network][factor] for t in truths], patients, "year")
            sizes = [abs(t.shapley[network][factor]) for t in truths]
            group[f"shapley_{factor}"] = mean_score(sizes, patients, "year")
        scores[f"depends_{network}"] = group
    return scores
