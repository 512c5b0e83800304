"""Whether the maps are true: against what the network depends on, and against the findings."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from regard.core.devices import answers
from regard.core.errors import FolderError
from regard.core.recording import Network
from regard.evidence import controls
from regard.evidence.again import taken_away
from regard.evidence.comparison import Comparison, WeighedMap
from regard.evidence.files import weighed_map, write_evidence
from regard.evidence.measure import Exhibit, Explain, Places
from regard.evidence.verdict import FAITHFUL, PLACED
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.spec import MethodSpec
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.tuberculosis.explain import FOLD, asked, base_label, explained, kind_of, maps_of, plan
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.networks import EXPLAINED, TARGET, log_odds, told
from regard.studies.tuberculosis.truth import CaseTruth, case_truth, data_places, rendered

__all__ = ["AT_DATA", "weigh_maps"]

AT_DATA = f"{PLACED}@data"
"""The measure of place against the findings; without the ending, against model truth."""

UNIT = "logit"


def _specs(material: Material) -> dict[str, tuple[str, MethodSpec]]:
    """Label to what is explained and its method: every map that is weighed."""
    return {
        s.label: (kind, s)
        for kind, specs in plan(material).items()
        for s in specs
        if s.name != "random-cam" and "published" not in s.label
    }


def _explains(material: Material, kind: str, spec: MethodSpec, case: str) -> Explain:
    layer = f"2.{EXPLAINED}" if kind == "chain" else EXPLAINED

    def explain(network: Network, inputs: Tensor) -> Tensor:
        explainer = spec.build(network, layer=layer)
        found: Tensor = explainer.attribute(inputs, TARGET, seed=material.run.seed, case=case)
        return found.sum(1, keepdim=True)

    return explain


def _answers(material: Material, arm: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Log-odds of an arm's network for radiographs and their bone-free truth."""
    network = material.member(arm, FOLD).network

    def answer(plain: Tensor, soft: Tensor) -> Tensor:
        images = material.as_seen(plain, soft, arm)
        return answers(network, images, batch=32, read=log_odds)

    return answer


def truth_of(material: Material, row: int, arm: str) -> tuple[CaseTruth, Places]:
    """Model truth of an arm's network, and data truth, of one explained case."""
    cohort = material.cohort
    made = rendered(material.run, material.config, cohort.patients[row])
    network = material.member(arm, FOLD).network
    size = material.config.data.size

    def alone(images: Tensor) -> Tensor:
        return answers(network, images, read=log_odds)

    found = case_truth(_answers(material, arm), alone, made, size, cohort.pixel_mm)
    return found, data_places(cohort.findings[row], made, cohort.pixel_mm)


def _finer(places: Places, like: Tensor) -> Places:
    """Places on the grid of an image (1, 1, row, column) that is a whole number of times finer."""
    times = like.shape[-1] // places.core.shape[-1]
    if times == 1:
        return places

    def bring(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask.repeat_interleave(times, 0).repeat_interleave(times, 1)

    spacing = None if places.spacing is None else tuple(s / times for s in places.spacing)
    core = bring(places.core)
    assert core is not None
    return Places(core, bring(places.allowed), bring(places.decoy), spacing)


def _maps(material: Material, rows: np.ndarray) -> dict[str, list[Tensor]]:
    """Maps (1, 1, row, column) of each method and case as they were saved; the network saw the scan's own grid."""
    found: dict[str, list[Tensor]] = {}
    for label in _specs(material):
        for r in rows:
            saved = maps_of(material, int(r), [label])
            if not saved:
                raise FolderError(
                    f"no map '{label}' of '{material.cohort.cases[r]}'",
                    "the act explain in this folder",
                    "run it first",
                )
            found.setdefault(label, []).append(saved[0].relevance.tensor[0, :, :, 0].T[None, None].contiguous())
    return found


def _weigh_one(
    material: Material, rows: np.ndarray, n: int, maps: dict[str, list[Tensor]], whole: Plan
) -> list[WeighedMap]:
    """Every map of one case: its place by all, faithfulness by the methods that the settings name."""
    row, cohort = int(rows[n]), material.cohort
    case = cohort.cases[row]
    truths = {arm: truth_of(material, row, arm) for arm in material.arms} if material.phantoms else {}
    exhibits: dict[str, dict[str, Exhibit]] = {}
    beside: dict[str, Neighbours] = {}
    for label, (kind, spec) in _specs(material).items():
        model, images = asked(material, kind)
        arm = "plain" if kind == "plain" else "suppressed"
        network, x = model.network, images[row : row + 1]
        layer = f"2.{EXPLAINED}" if kind == "chain" else EXPLAINED
        explainer = spec.build(network, layer=layer)
        quantity, sign = explainer.meaning
        spread = float(np.std(told(material.member(arm, FOLD), material.seen(cohort, arm)[material.tested(FOLD)])))
        exhibits.setdefault(kind, {})[label] = Exhibit(
            network, x, TARGET, maps[label][n], quantity, sign, case=case, spread=spread or None,
            places=_finer(truths[arm][0].places, x) if arm in truths else None,
            explain=_explains(material, kind, spec, case), seed=material.run.seed,
            others={k: m[n] for k, m in maps.items() if k != label and kind_of(k) == kind},
            **taken_away(explainer, x, TARGET, seed=material.run.seed, case=case),
        )  # fmt: skip
        rest = [m for k, m in enumerate(maps[label]) if k != n]
        beside[label] = Neighbours(
            rest[n % len(rest)] if rest else None,
            controls.cohort_mean(rest, x) if rest else None,
            lambda network=network, x=x, layer=layer: controls.random_cam(  # type: ignore[misc]
                network, x, TARGET, layer=layer, seed=material.run.seed, case=case
            ),
        )
    placed = dataclasses.replace(whole, measures={k: v for k, v in whole.measures.items() if k == PLACED})
    found = []
    for kind, own in exhibits.items():
        full = {k: e for k, e in own.items() if kind == "plain" and base_label(k) in material.config.weigh.methods}
        short = {k: dataclasses.replace(e, explain=None) for k, e in own.items() if k not in full}
        for part, measured in ((full, whole), (short, placed)):
            if part and measured.measures:
                found += weigh_case(part, measured, target=TARGET.label, patient=cohort.patients[row], beside=beside)
        if material.phantoms:
            arm = "plain" if kind == "plain" else "suppressed"
            again = {
                k: dataclasses.replace(e, places=_finer(truths[arm][1], e.x), explain=None) for k, e in own.items()
            }
            second = weigh_case(again, placed, target=TARGET.label, patient=cohort.patients[row], beside=beside)
            at_data = {m.method: m.figures[PLACED] for m in second if PLACED in m.figures}
            found = [
                dataclasses.replace(m, figures={**m.figures, AT_DATA: at_data[m.method]}) if m.method in at_data else m
                for m in found
            ]
    return found


def _score(row: Comparison) -> Score:
    return Score(row.value, row.low, row.high, 0.95, row.n, row.n_patients, row.unit)


def weigh_maps(material: Material) -> dict[str, dict[str, Score]]:
    """Weigh the maps of the first fold's networks, write the evidence, and tell what the networks depend on."""
    section, cohort = material.config.weigh, material.cohort
    rows = explained(material)[: section.n_cases]
    whole = Plan.of(
        [FAITHFUL, *([PLACED] if material.phantoms else [])],
        truth=material.phantoms, n_null=section.n_null, n_patients=len(rows), seed=material.run.seed,
    )  # fmt: skip
    maps: dict[str, list[Tensor]] = {}
    weighed: list[WeighedMap] = []
    for n, row in enumerate(rows):
        material.run.stage(cohort.cases[row], n, len(rows) + 1)

        def make(n: int = n) -> dict[str, object]:
            maps.update(maps or _maps(material, rows))
            return {"maps": [dataclasses.asdict(m) for m in _weigh_one(material, rows, n, maps, whole)]}

        weighed += [weighed_map(m) for m in material.run.record(f"weigh/map-{cohort.cases[row]}", make)["maps"]]
    found = comparisons(weighed, seed=material.run.seed)
    write_evidence(material.run.path, found, all_verdicts(found), {})
    scores: dict[str, dict[str, Score]] = {}
    for line in found:
        if line.case == "*" and line.group == "*" and not line.control:
            scores.setdefault(f"map_{line.method}", {})[line.measure] = _score(line)
    if material.phantoms:
        scores |= _dependence(material, rows)
    return scores


def _dependence(material: Material, rows: np.ndarray) -> dict[str, dict[str, Score]]:
    """What each finding, the letter and the bones do to the log-odds of the first fold's network of each arm."""
    scores = {}
    for arm in material.arms:
        values: dict[str, list[float]] = {}
        patients: dict[str, list[str]] = {}
        for row in rows:
            truth = truth_of(material, int(row), arm)[0]
            for factor, value in {**truth.change, "bones": truth.bones}.items():
                if math.isfinite(value):
                    values.setdefault(factor, []).append(value)
                    patients.setdefault(factor, []).append(material.cohort.patients[row])
        scores[f"depends_{arm}"] = {f"change_{f}": mean_score(v, patients[f], UNIT) for f, v in sorted(values.items())}
    return scores
