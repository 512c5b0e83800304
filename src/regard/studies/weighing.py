"""The weigh loop of studies: maps of a cohort made, measured one case after the other, kept, compared, written."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from regard.core.recording import Network
from regard.core.target import AbstractTarget
from regard.evidence import controls
from regard.evidence.again import taken_away
from regard.evidence.comparison import Comparison, WeighedMap
from regard.evidence.files import weighed_map, write_evidence
from regard.evidence.measure import Exhibit, Places
from regard.evidence.verdict import FAITHFUL, PLACED
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.spec import MethodSpec
from regard.studies.run import StudyRun
from regard.studies.scoring.bootstrap import Score

__all__ = [
    "AT_DATA",
    "Known",
    "MapRequest",
    "Weighing",
    "make_map",
    "map_scores",
    "plan_of",
    "weigh_cohort",
    "weigh_maps",
]

AT_DATA = f"{PLACED}@data"
"""The measure of place against data truth; without the ending, against model truth."""


@dataclass(frozen=True, eq=False)
class MapRequest:
    """One map of one case: which method is asked what of which network.

    Parameters
    ----------
    spec
        The method with its knobs.
    network
        The network.
    x
        Its input (1, channel, \\*space).
    target
        What is explained.
    layer
        Where class activation maps are made; None: the network's own choice.
    reference
        Given to methods that take one, (1, channel, \\*space).
    """

    spec: MethodSpec
    network: nn.Module
    x: Tensor
    target: AbstractTarget
    layer: str | None = None
    reference: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one case beside its maps.

    Parameters
    ----------
    spread
        Standard deviation of a method's target over the cohort, by the method's label; a method that is left out is
        measured in the case's own scale.
    model_truth
        Places that the network depends on; None where nothing can be rendered again.
    data_truth
        Places that the label depends on; None where they are not asked for.
    """

    spread: Mapping[str, float] = field(default_factory=dict)
    model_truth: Places | None = None
    data_truth: Places | None = None


@dataclass(frozen=True, eq=False)
class Weighing:
    """A cohort whose maps are weighed; its functions take the number of a case.

    Parameters
    ----------
    cases, patients
        Ids, one per case.
    target
        How the target is written in the evidence.
    requests
        The maps of a case. Cheap: asked of every case, as maps of others are controls.
    known
        What is known of a case; asked only of those that are not weighed yet.
    saved
        Maps of a case (1, 1, \\*space) by label, where an act before this one kept them; None: they are made.
    random_cam
        Whether random class activation maps of the requests' layer stand among the controls.
    randomised
        Whether maps of networks with drawn weights do.
    """

    cases: Sequence[str]
    patients: Sequence[str]
    target: str
    requests: Callable[[int], Sequence[MapRequest]]
    known: Callable[[int], Known]
    saved: Callable[[int], Mapping[str, Tensor]] | None = None
    random_cam: bool = False
    randomised: bool = True


def make_map(
    request: MapRequest, network: Network | None = None, x: Tensor | None = None, *, seed: int, case: str
) -> Tensor:
    """Make a map (1, 1, \\*space), summed over channels.

    Parameters
    ----------
    request
        Which map.
    network, x
        Asked instead of the request's: a network with drawn weights, an input moved a little.
    seed, case
        Keys of the draws.
    """
    explainer = request.spec.build(request.network if network is None else network, layer=request.layer)
    relevance: Tensor = explainer.attribute(
        request.x if x is None else x,
        request.target,
        reference=request.reference if explainer.takes_reference else None,
        seed=seed,
        case=case,
    )
    return relevance.sum(1, keepdim=True)


def plan_of(run: StudyRun, weighing: Weighing, *, truth: bool, n_null: int, faithful: bool = True) -> Plan:
    """What a study measures of every map: deletion, and its place where the truth is known.

    Parameters
    ----------
    run
        The study's run.
    weighing
        The cohort.
    truth
        Whether any case knows the places that its network depends on.
    n_null
        Surrogate maps in all.
    faithful
        Whether deletion is measured.
    """
    names = [*([FAITHFUL] if faithful else []), *([PLACED] if truth else [])]
    return Plan.of(names, truth=truth, n_null=n_null, n_patients=len(set(weighing.patients)), seed=run.seed)


def weigh_cohort(run: StudyRun, weighing: Weighing, plan: Plan, *, n_later: int = 0) -> list[Comparison]:
    """Weigh all maps of a cohort, each case a piece of the run, and write ``evidence.tsv`` and ``evidence.json``.

    Parameters
    ----------
    run
        The study's run.
    weighing
        The cohort.
    plan
        What is measured.
    n_later
        Pieces of the act that come after the cases, for the forecast.
    """
    maps: list[Mapping[str, Tensor]] = []
    weighed: list[WeighedMap] = []
    for n, case in enumerate(weighing.cases):
        run.stage(case, n, len(weighing.cases) + n_later)

        def make(n: int = n) -> dict[str, Any]:
            if not maps:
                maps.extend(_maps_of(run, weighing, k) for k in range(len(weighing.cases)))
            return {"maps": [dataclasses.asdict(m) for m in _weigh_one(run, weighing, n, maps, plan)]}

        weighed += [weighed_map(m) for m in run.record(f"weigh/map-{case}", make)["maps"]]
    rows = comparisons(weighed, seed=run.seed)
    write_evidence(run.path, rows, all_verdicts(rows), {})
    return rows


def map_scores(rows: Sequence[Comparison]) -> dict[str, dict[str, Score]]:
    """The figure of each method and measure over all cases, in groups ``map_<method>``."""
    scores: dict[str, dict[str, Score]] = {}
    for row in rows:
        if row.case == "*" and row.group == "*" and not row.control:
            score = Score(row.value, row.low, row.high, 0.95, row.n, row.n_patients, row.unit)
            scores.setdefault(f"map_{row.method}", {})[row.measure] = score
    return scores


def weigh_maps(run: StudyRun, weighing: Weighing, *, truth: bool, n_null: int) -> dict[str, dict[str, Score]]:
    """Weigh a cohort by the plan of `plan_of`, write the evidence, and return the figure of each map."""
    return map_scores(weigh_cohort(run, weighing, plan_of(run, weighing, truth=truth, n_null=n_null)))


def _maps_of(run: StudyRun, weighing: Weighing, n: int) -> Mapping[str, Tensor]:
    if weighing.saved is not None:
        return weighing.saved(n)
    return {r.spec.label: make_map(r, seed=run.seed, case=weighing.cases[n]) for r in weighing.requests(n)}


def _exhibit(
    run: StudyRun, weighing: Weighing, n: int, request: MapRequest, maps: Mapping[str, Tensor], known: Known
) -> Exhibit:
    label, case, seed = request.spec.label, weighing.cases[n], run.seed
    explainer = request.spec.build(request.network, layer=request.layer)
    quantity, sign = explainer.meaning

    def again(network: Network, inputs: Tensor) -> Tensor:
        return make_map(request, network, inputs, seed=seed, case=case)

    return Exhibit(
        request.network, request.x, request.target, maps[label], quantity, sign, case=case,
        spread=known.spread.get(label) or None, places=known.model_truth,
        explain=again if weighing.randomised else None, seed=seed,
        others={k: m for k, m in maps.items() if k != label},
        **taken_away(explainer, request.x, request.target, reference=request.reference, seed=seed, case=case),
    )  # fmt: skip


def _neighbours(
    run: StudyRun, weighing: Weighing, n: int, request: MapRequest, maps: Sequence[Mapping[str, Tensor]]
) -> Neighbours:
    rest = [m[request.spec.label] for k, m in enumerate(maps) if k != n]

    def random_cam() -> Tensor:
        network, layer = request.network, request.layer
        return controls.random_cam(
            network, request.x, request.target, layer=layer, seed=run.seed, case=weighing.cases[n]
        )

    return Neighbours(
        rest[n % len(rest)] if rest else None,
        controls.cohort_mean(rest, request.x) if rest else None,
        random_cam if weighing.random_cam else None,
    )


def _weigh_one(
    run: StudyRun, weighing: Weighing, n: int, maps: Sequence[Mapping[str, Tensor]], plan: Plan
) -> list[WeighedMap]:
    """Every map of one case against model truth, and its place once more against data truth where that is known."""
    requests, known = weighing.requests(n), weighing.known(n)
    exhibits = {r.spec.label: _exhibit(run, weighing, n, r, maps[n], known) for r in requests}
    beside = {r.spec.label: _neighbours(run, weighing, n, r, maps) for r in requests}
    patient = weighing.patients[n]
    at_model = weigh_case(exhibits, plan, target=weighing.target, patient=patient, beside=beside)
    if known.data_truth is None:
        return at_model
    placed = dataclasses.replace(plan, measures={PLACED: plan.measures[PLACED]})
    moved = {k: dataclasses.replace(e, places=known.data_truth, explain=None) for k, e in exhibits.items()}
    at_data = weigh_case(moved, placed, target=weighing.target, patient=patient, beside=beside)
    return [
        dataclasses.replace(m, figures={**m.figures, AT_DATA: d.figures[PLACED]}) if PLACED in d.figures else m
        for m, d in zip(at_model, at_data, strict=True)
    ]
