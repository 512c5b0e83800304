"""Whether the maps are true: against what the network's region depends on when the chest is rendered again."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.image_target import Mean
from regard.core.recording import Network
from regard.evidence import controls
from regard.evidence.again import taken_away
from regard.evidence.comparison import Comparison, WeighedMap
from regard.evidence.files import weighed_map, write_evidence
from regard.evidence.measure import Exhibit, Explain, Places
from regard.evidence.verdict import FAITHFUL, PLACED
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.spec import MethodSpec
from regard.phantoms.truth import USED, VISIBLE, shapley
from regard.studies.bone_suppression.explain import explained, region_of, specs_of, square_of, target_of
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.networks import whole_batch
from regard.studies.bone_suppression.pairs import Pairs
from regard.studies.bone_suppression.phantoms import again
from regard.studies.scoring.bootstrap import Score

__all__ = ["FACTORS", "places_of", "weigh_maps"]

FACTORS = ("finding", "bone", "marker")
"""What is changed in a chest that is rendered again."""


def places_of(
    material: Material, patient: str, goal: Callable[[Tensor], Tensor], square: tuple[slice, slice]
) -> Places:
    """Where the factors show that a region of the output depends on.

    Parameters
    ----------
    material
        The study.
    patient
        A phantom.
    goal
        Radiographs (n, 1, row, column) to the region's mean (n,).
    square
        Rows and columns that are looked at.
    """
    run, config = material.run, material.config
    subsets = range(2 ** len(FACTORS))
    changes = [{f: float(s >> k & 1) for k, f in enumerate(FACTORS)} for s in subsets]
    images, _ = again(run, config, patient, changes)
    with torch.no_grad():
        shares = shapley(goal(images).double()).abs()
    used = (shares / shares.sum().clamp_min(1e-300)) >= USED
    whole = len(subsets) - 1
    shown = []
    for k in range(len(FACTORS)):
        change = (images[whole] - images[whole - 2**k])[0].abs()
        change = change[square]
        shown.append(change > VISIBLE * change.max().clamp_min(1e-6))
    core = torch.stack([s for k, s in enumerate(shown) if bool(used[k]) or k == int(shares.argmax())]).any(0)
    decoy = shown[FACTORS.index("marker")] & ~core
    return Places(core, None, decoy if bool(decoy.any()) else None, None)


def _explains(spec: MethodSpec, region: Tensor, seed: int, case: str) -> Explain:
    def explain(network: Network, inputs: Tensor) -> Tensor:
        found: Tensor = spec.build(network).attribute(inputs, target_of(spec, region), seed=seed, case=case)
        return found.sum(1, keepdim=True)

    return explain


def _weigh_one(
    material: Material, cohort: Pairs, n: int, plan: Plan, maps: dict[str, list[Tensor]]
) -> list[WeighedMap]:
    network, case, seed = material.network(material.best), cohort.cases[n], material.run.seed
    whole = region_of(material, cohort, n).float()
    row, column = square_of(material, whole)
    x, region = cohort.images[n : n + 1, :, row, column], whole[row, column]
    mean = Mean(region, name="region")
    places = None
    if material.phantoms and cohort.kinds[n]:
        places = places_of(
            material, cohort.patients[n], lambda images: mean(whole_batch(network, images[..., row, column])),
            (row, column),
        )  # fmt: skip
    values = mean(whole_batch(network, material.test.images[..., row, column]))
    spread = float(values.std()) if len(values) > 1 else None
    exhibits, beside = {}, {}
    for spec in specs_of(material):
        explainer = spec.build(network)
        quantity, sign = explainer.meaning
        exhibits[spec.label] = Exhibit(
            network, x, target_of(spec, region), maps[spec.label][n], quantity, sign, case=case,
            spread=spread if spec.name != "lam" else None, places=places,
            explain=_explains(spec, region, seed, case), seed=seed,
            others={k: m[n] for k, m in maps.items() if k != spec.label},
            **taken_away(explainer, x, target_of(spec, region), seed=seed, case=case),
        )  # fmt: skip
        rest = [m for k, m in enumerate(maps[spec.label]) if k != n]
        beside[spec.label] = Neighbours(
            rest[n % len(rest)] if rest else None, controls.cohort_mean(rest, x) if rest else None, None
        )
    return weigh_case(exhibits, plan, target="region", patient=cohort.patients[n], beside=beside)


def _score(row: Comparison) -> Score:
    return Score(row.value, row.low, row.high, 0.95, row.n, row.n_patients, row.unit)


def weigh_maps(material: Material) -> dict[str, dict[str, Score]]:
    """Weigh the maps of the best network and write the evidence."""
    section = material.config.weigh
    cohort = explained(material, section.n_cases)
    truth = material.phantoms and any(cohort.kinds)
    plan = Plan.of(
        [FAITHFUL, *([PLACED] if truth else [])],
        truth=truth, n_null=section.n_null, n_patients=len(set(cohort.patients)), seed=material.run.seed,
    )  # fmt: skip
    network = material.network(material.best)
    maps: dict[str, list[Tensor]] = {}
    weighed: list[WeighedMap] = []
    for n, case in enumerate(cohort.cases):
        material.run.stage(case, n, len(cohort))

        def make(n: int = n) -> dict[str, object]:
            for k, c in enumerate(cohort.cases if not maps else ()):
                region = region_of(material, cohort, k).float()
                row, column = square_of(material, region)
                for spec in specs_of(material):
                    explain = _explains(spec, region[row, column], material.run.seed, c)
                    made = explain(network, cohort.images[k : k + 1, :, row, column])
                    maps.setdefault(spec.label, []).append(made)
            return {"maps": [dataclasses.asdict(m) for m in _weigh_one(material, cohort, n, plan, maps)]}

        weighed += [weighed_map(m) for m in material.run.record(f"weigh/map-{case}", make)["maps"]]
    rows = comparisons(weighed, seed=material.run.seed)
    write_evidence(material.run.path, rows, all_verdicts(rows), {})
    scores: dict[str, dict[str, Score]] = {}
    for row in rows:
        if row.case == "*" and row.group == "*" and not row.control:
            scores.setdefault(f"map_{row.method}", {})[row.measure] = _score(row)
    return scores
