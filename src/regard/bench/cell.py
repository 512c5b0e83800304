"""One cell of the benchmark: a network of a phantom, explained by every method, measured against both truths."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from regard.bench.controls import control_maps
from regard.bench.matched import at_blur, blurred
from regard.bench.measuring import DATA_TRUTH, MATCHED_MEASURE, gauges, mean
from regard.bench.network import Trained, train
from regard.bench.plan import CONTROLS, BenchPlan
from regard.core.batching import current_progress
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.rows import target_values
from regard.core.target import AbstractTarget
from regard.evidence.again import taken_away
from regard.evidence.localisation import average_precision
from regard.evidence.measure import Exhibit, Explain
from regard.explainers.spec import MethodSpec, parse_methods
from regard.phantoms.planted import Planted
from regard.phantoms.truth import TruePlaces, data_truth, model_truth

__all__ = ["IN_DECOY", "Cell", "run_cell"]

IN_DECOY = "relevance in the decoy"
"""Share of the relevance that lies in the decoy's mark: what a shortcut is detected by."""


@dataclass
class Cell:
    """What one network of one phantom gave.

    Parameters
    ----------
    phantom, network
        Registered name, and number of the network.
    kind
        What comes out of the network: ``"regression"``, ``"classification"`` or ``"image"``.
    unit
        Of the scalar that is explained.
    error_unit
        Of the errors.
    n_test
        Test subjects behind ``fit``.
    fit
        `regard.bench.network.Trained.fit`.
    truth
        Per factor, of each subject: ``shapley:<factor>`` and ``change:<factor>`` [``unit``].
    values
        Method, then measure, to one value per subject.
    units
        Unit of each measure.
    """

    phantom: str
    network: int
    kind: str
    unit: str
    error_unit: str
    n_test: int
    fit: dict[str, float]
    truth: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def note(self, method: str, measure: str, value: float, unit: str = "1") -> None:
        """Add the value of one subject."""
        self.values.setdefault(method, {}).setdefault(measure, []).append(value)
        self.units[measure] = unit

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Cell":
        """Read what ``vars`` of a cell was written as; null is NaN."""

        def numbers(values: list[Any]) -> list[float]:
            return [float("nan") if v is None else float(v) for v in values]

        known = {k: v for k, v in content.items() if k != "schema"}
        known["truth"] = {k: numbers(v) for k, v in known["truth"].items()}
        known["values"] = {m: {k: numbers(v) for k, v in by.items()} for m, by in known["values"].items()}
        return cls(**known)


def run_cell(plan: BenchPlan, phantom: str, number: int, *, device: str = "cpu") -> Cell:
    """Train a network, explain its test subjects, and measure the maps.

    Parameters
    ----------
    plan
        The benchmark.
    phantom, number
        Which cell.
    device
        Where the network runs.
    """
    trained = train(plan, phantom, number, device=device)
    asked = trained.question
    cell = Cell(phantom, number, asked.kind, asked.unit, asked.error_unit, plan.n_test, trained.fit)
    progress = current_progress()
    for n in range(plan.n_explained):
        if progress is not None:
            progress("explaining", n, plan.n_explained)
        _subject(cell, plan, trained, n, device)
    return cell


def _subject(cell: Cell, plan: BenchPlan, trained: Trained, n: int, device: str) -> None:
    """Explain and measure one subject."""
    made = plan.phantom(cell.phantom)
    subject = made.subject(n, seed=plan.test_seed)
    target = trained.question.target(subject)

    def f(images: Tensor) -> Tensor:
        return target_values(target, trained.network(images.to(device)), len(images))

    truth = model_truth(f, made, n, seed=plan.test_seed)
    for name in truth.shapley:
        cell.truth.setdefault(f"shapley:{name}", []).append(truth.shapley[name])
        cell.truth.setdefault(f"change:{name}", []).append(truth.change[name])
    truths = {"": truth.places, DATA_TRUTH: data_truth(made, n, seed=plan.test_seed)}
    mark = _mark(plan, cell.phantom, n) if made.decoy is not None else None
    readers = gauges(plan.measures)
    for label, exhibits in _exhibits(plan, trained, subject, target, device).items():
        for gauge in readers:
            for ending in ("", DATA_TRUTH) if gauge.by_place else ("",):
                read = [gauge.read(e, truths[ending]) for e in exhibits]
                cell.note(label, gauge.name + ending, mean([v for v, _ in read]), read[0][1])
        if MATCHED_MEASURE in plan.measures:
            by_blur = [_precisions(e.relevance, truth.places) for e in exhibits]
            for n_blur, values in enumerate(zip(*by_blur, strict=True)):
                cell.note(label, at_blur(n_blur), mean(list(values)))
        if mark is not None:
            cell.note(label, IN_DECOY, mean([_share(e.relevance, mark) for e in exhibits]))


def _precisions(relevance: Tensor, places: TruePlaces) -> list[float]:
    """Average precision of a map at each of the blurs."""
    maps = [torch.where(places.allowed, torch.nan, m[0, 0].cpu()) for m in blurred(relevance)]
    return [average_precision(m, places.core) for m in maps]


def _exhibits(
    plan: BenchPlan, trained: Trained, subject: Planted, target: AbstractTarget, device: str
) -> dict[str, list[Exhibit]]:
    """The maps of one subject by name: of each method, then the controls."""
    x, case, layer = subject.image[None].to(device), subject.name, trained.question.layer
    specs = parse_methods(plan.methods)
    if "random-cam" in plan.controls and "random-cam" not in [s.label for s in specs]:
        specs += parse_methods(["random-cam"])

    def again(spec: MethodSpec) -> Explain:
        def explain(network: Network, inputs: Tensor) -> Tensor:
            explainer = spec.build(network, layer=layer)
            return explainer.attribute(inputs, target, seed=plan.seed, case=case).sum(1, keepdim=True)  # type: ignore[no-any-return]

        return explain

    def exhibit(relevance: Tensor, quantity: Quantity, sign: Sign) -> Exhibit:
        return Exhibit(
            trained.network, x, target, relevance.to(device), quantity, sign, case=case, spread=trained.spread,
            seed=plan.seed,
        )  # fmt: skip

    made = {}
    for spec in specs:
        explainer = spec.build(trained.network, layer=layer)
        away = taken_away(explainer, x, target, seed=plan.seed, case=case)
        own = exhibit(again(spec)(trained.network, x), *explainer.meaning)
        made[spec.label] = replace(own, explain=again(spec), reference=away["reference"], parts=away["parts"])
    maps = {label: e.relevance for label, e in made.items() if label not in CONTROLS}
    others = {label: {k: m for k, m in maps.items() if k != label} for label in made}
    shown = {label: [replace(e, others=others[label])] for label, e in made.items()}
    for label, several in control_maps(x, maps, seed=plan.seed, case=case).items():
        shown[label] = [replace(exhibit(m, Quantity.SCORE, Sign.UNSIGNED), others=maps) for m in several]
    return shown


def _mark(plan: BenchPlan, phantom: str, n: int) -> Tensor:
    """Voxels of the decoy's mark, (\\*space)."""
    made = plan.phantom(phantom)
    low, high = (made.subject(n, seed=plan.test_seed, factors={"decoy": v}).image[0] for v in (0.0, 1.0))
    return (high - low).abs() > 0.5


def _share(relevance: Tensor, inside: Tensor) -> float:
    size = relevance[0, 0].double().abs().cpu()
    total = size.sum()
    return float(size[inside].sum() / total) if torch.isfinite(total) and total > 0 else float("nan")
