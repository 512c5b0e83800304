"""The rows of ``bench.tsv``, and what the leaderboard is read from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regard.bench.cell import IN_DECOY, Cell
from regard.bench.matched import BLURS, at_blur, matched
from regard.bench.measuring import MATCHED, MATCHED_MEASURE, gauges
from regard.bench.plan import BenchPlan
from regard.bench.statistics import crossed_interval
from regard.evidence.intervals import Interval
from regard.evidence.shortcut import detection_threshold

__all__ = ["ALL", "COLUMNS", "DETECTION", "EFFECT", "MODEL", "QUALITIES", "Row", "dose_of", "learned", "rows", "scores"]

COLUMNS = (
    *("method", "measure", "phantom", "network", "value", "low", "high", "n", "n_patients", "unit", "direction"),
)
ALL = "*"
"""Over all networks, or over all phantoms without a decoy."""

DETECTION = "decoy-detection"
"""Share of cases whose relevance in the decoy is beyond what 5 % of the cases at dose 0 have."""

EFFECT = "decoy-effect"
"""Mean size of the output's change from the decoy at its least to its most, all else fixed [label's unit]."""

QUALITIES = {"r2": "R2", "auc": "AUC"}
"""Figures of merit, and how they are written."""

LEARNED = {"r2": 0.3, "auc": 0.7}
"""Figure of merit from which a network counts as one that has learned its task; of others no map can say much."""

MODEL = "model truth"
"""What stands in the column of methods for what was asked of the network itself."""


@dataclass(frozen=True)
class Row:
    """One row of ``bench.tsv``; fields as its columns."""

    method: str
    measure: str
    phantom: str
    network: str
    value: float
    low: float
    high: float
    n: int
    n_patients: int
    unit: str
    direction: str

    @property
    def cells(self) -> list[object]:
        """Values in the order of the columns."""
        return [getattr(self, c) for c in COLUMNS]


def learned(group: Sequence[Cell]) -> bool:
    """Whether the networks of a phantom have learned their task, in the mean."""
    merits = [(name, c.fit[name]) for c in group for name in LEARNED if name in c.fit]
    return all(
        float(np.mean([v for n, v in merits if n == name])) >= least
        for name, least in LEARNED.items()
        if any(n == name for n, _ in merits)
    )


def dose_of(phantom: str) -> float | None:
    """Dose of a decoy phantom by its name; None for another."""
    kind, _, dose = phantom.partition("decoy-")
    return float(dose) if not kind and dose else None


def _row(
    values: np.ndarray, method: str, measure: str, phantom: str, network: str, unit: str, direction: str, seed: int
) -> Row:
    found: Interval = crossed_interval(values, seed=seed)
    known = values[np.isfinite(values)]
    low, high = found.low, found.high
    if unit == "1" and len(known) and known.min() >= 0 and known.max() <= 1:
        # A share lies between 0 and 1, and so does its mean.
        low, high = (float(np.clip(bound, 0, 1)) for bound in (low, high))
    return Row(method, measure, phantom, network, found.value, low, high, len(known), found.n, unit, direction)


def rows(plan: BenchPlan, cells: Iterable[Cell]) -> list[Row]:
    """All rows: each method by each measure by each phantom and network, then over networks, then over phantoms."""
    by_phantom: dict[str, list[Cell]] = {name: [] for name in plan.phantoms}
    for cell in cells:
        by_phantom[cell.phantom].append(cell)
    named = [(gauge, measure) for gauge in gauges(plan.measures) for measure in gauge.names]
    made: list[Row] = []
    for method in plan.labels:
        for gauge, measure in named:
            values = {p: np.array([c.values[method][measure] for c in group]) for p, group in by_phantom.items()}
            unit = next(iter(by_phantom.values()))[0].units[measure]
            made += _everywhere(plan, by_phantom, values, (method, measure, unit, gauge.direction))
        if MATCHED_MEASURE in plan.measures and all(_has_blurs(c, method) for g in by_phantom.values() for c in g):
            values = {p: _matched(group, method) for p, group in by_phantom.items()}
            made += _everywhere(plan, by_phantom, values, (method, MATCHED, "1", "higher"))
    return made + _shortcuts(plan, by_phantom)


def _has_blurs(cell: Cell, method: str) -> bool:
    """Whether a cell holds what maps show at each blur; those of earlier versions do not."""
    return all(at_blur(n) in cell.values[method] for n in range(len(BLURS)))


def _matched(group: Sequence[Cell], method: str) -> np.ndarray:
    return matched([np.array([c.values[method][at_blur(n)] for c in group]) for n in range(len(BLURS))])


def _everywhere(
    plan: BenchPlan,
    by_phantom: Mapping[str, Sequence[Cell]],
    values: Mapping[str, np.ndarray],
    named: tuple[str, str, str, str],
) -> list[Row]:
    """Rows of a method by a measure on each phantom, and over those without a decoy that were learned."""
    method, measure, unit, direction = named
    made, plain = [], []
    for phantom, group in by_phantom.items():
        made += _each_and_all(plan, group, values[phantom], method, measure, unit, direction)
        plain += [values[phantom]] if dose_of(phantom) is None and learned(group) else []
    if len(plain) > 1 or (plain and sum(dose_of(p) is None for p in by_phantom) > 1):
        # The phantoms of one patient share their draws, so that patients are resampled through all of them.
        made.append(_row(np.stack(plain).mean(0), method, measure, ALL, ALL, unit, direction, plan.seed))
    return made


def _each_and_all(
    plan: BenchPlan, group: Sequence[Cell], values: np.ndarray, method: str, measure: str, unit: str, direction: str
) -> list[Row]:
    """A row for each network of a phantom, and one over them; ``values`` (network, patient)."""
    phantom = group[0].phantom
    ones = [
        _row(one[None], method, measure, phantom, str(cell.network), unit, direction, plan.seed)
        for cell, one in zip(group, values, strict=True)
    ]
    return [*ones, _row(values, method, measure, phantom, ALL, unit, direction, plan.seed)]


def _shortcuts(plan: BenchPlan, by_phantom: Mapping[str, list[Cell]]) -> list[Row]:
    """Detection of the decoy by dose for each method, and the decoy's true effect on the output."""
    doses = [name for name in plan.phantoms if dose_of(name) is not None]
    null = next((name for name in doses if dose_of(name) == 0), None)
    made = []
    for phantom in doses:
        group = by_phantom[phantom]
        effects = np.abs([c.truth["change:decoy"] for c in group])
        made += _each_and_all(plan, group, effects, MODEL, EFFECT, group[0].unit, "n/a")
    for method in plan.labels if null is not None else []:
        threshold = detection_threshold(np.array([c.values[method][IN_DECOY] for c in by_phantom[str(null)]]))
        for phantom in doses:
            group = by_phantom[phantom]
            shares = np.array([c.values[method][IN_DECOY] for c in group])
            known = np.isfinite(shares) & np.isfinite(threshold)
            seen = np.where(known, (shares > threshold).astype(float), np.nan)
            made += _each_and_all(plan, group, seen, method, DETECTION, "1", "higher")
    return made


def scores(plan: BenchPlan, cells: Iterable[Cell]) -> dict[str, dict[str, dict[str, object]]]:
    """How well the networks do, for ``scores.json``: mean over the networks, beside trivial predictors."""
    by_phantom: dict[str, list[Cell]] = {}
    for cell in cells:
        by_phantom.setdefault(cell.phantom, []).append(cell)
    found: dict[str, dict[str, dict[str, object]]] = {}
    for phantom, group in by_phantom.items():
        for name in group[0].fit:
            values = [c.fit[name] for c in group]
            found.setdefault(phantom, {})[name] = {
                "value": sum(values) / len(values),
                "low": None,
                "high": None,
                "level": None,
                "n": len(values) * group[0].n_test,
                "n_patients": plan.n_test_patients,
                "n_networks": len(values),
                "unit": "1" if name in QUALITIES else group[0].error_unit,
            }
    return found
