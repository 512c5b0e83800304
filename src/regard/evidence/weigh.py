"""Weighing: measure the maps of a case and all their controls, compare over patients, and judge."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from regard.core.errors import RegardError
from regard.core.quantity import Sign
from regard.core.recording import LAYERS, capabilities
from regard.core.spatial import n_space
from regard.evidence import MEASURES, controls
from regard.evidence.again import explain_again
from regard.evidence.comparison import ALONE, DRAWN, FILLING, Figure, WeighedMap
from regard.evidence.curtailment import Curtailment
from regard.evidence.forecast import Forecast, Stopwatch, measure_all
from regard.evidence.judging import all_verdicts, comparisons
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.resemblance import resemblance
from regard.evidence.sanity.similarity import spearman
from regard.evidence.verdict import FAITHFUL, INSERTION, PLACED, QUICK, RESEMBLES, THRESHOLDS

__all__ = ["Neighbours", "Plan", "all_verdicts", "comparisons", "load_measure", "weigh_case"]

COMPARED = frozenset({"faithful", "right"})
"""Families whose figures are also taken of every control; the others cost too much, or say nothing of a control."""

FEWEST_DRAWS = 9
"""Surrogates a case, at least."""


SETTINGS: Mapping[str, Mapping[str, int]] = {
    "deletion": {"n_steps": 16, "every_filling": False},
    "insertion": {"n_steps": 16, "every_filling": False},
    "sensitivity-n": {"n_parts": 256, "n_sets": 64},
}
"""Settings other than a measure's own: a curve is taken of every control, so its steps are what weighing costs.

What sensitivity-n asks the network is asked once for all maps of a case, so that it can afford finer parts.
"""


def load_measure(name: str) -> AbstractMeasure:
    """Build a registered measure with the settings that weighing uses.

    Raises
    ------
    UnknownNameError
        If there is no such measure.
    """
    found: AbstractMeasure = MEASURES.load(name)(**SETTINGS.get(name, {}))
    return found


@dataclass(frozen=True)
class Plan:
    """What is measured of every map.

    Parameters
    ----------
    measures
        By name.
    n_null
        Surrogates in all; shared among the patients from 10 up, of each case below.
    n_patients
        In the cohort.
    seed
        Of every draw.
    curtail
        Whether surrogates that cannot change the verdict are left out (`Curtailment`). Only for a case that is weighed
        alone: of several the verdict is of their mean, which no case decides by itself.
    """

    measures: Mapping[str, AbstractMeasure]
    n_null: int = 99
    n_patients: int = 1
    seed: int = 0
    curtail: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        *,
        truth: bool,
        quick: bool = False,
        n_null: int = 99,
        n_patients: int = 1,
        seed: int = 0,
        curtail: bool = False,
    ) -> "Plan":
        """Plan the named measures; by default those that a verdict asks for, with the quick one if wanted."""
        chosen = list(names) or [*([] if quick else [FAITHFUL]), QUICK, *([PLACED] if truth else [])]
        return cls({n: load_measure(n) for n in dict.fromkeys(chosen)}, n_null, n_patients, seed, curtail)

    @property
    def n_draws(self) -> int:
        """Surrogates of each map."""
        if self.n_patients < 10:
            return self.n_null
        return max(FEWEST_DRAWS, -(-self.n_null // self.n_patients))

    @property
    def n_randomised(self) -> int:
        """Networks with drawn weights for each map: one a case where there are many patients, five for one patient."""
        return min(5, max(1, -(-9 // self.n_patients)))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What the cohort holds beside one map of a case.

    Parameters
    ----------
    other
        The same method's map of another patient (1, 1, \\*space), or None.
    mean
        The mean of the same method's maps of the other cases, or None.
    random_cam
        Makes the case's random class activation map, or None where there are no layers.
    """

    other: Tensor | None = None
    mean: Tensor | None = None
    random_cam: Callable[[], Tensor] | None = None


class _Case:
    """One case being weighed; what does not depend on the method is measured once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._shared: dict[tuple[str, ...], float] = {}
        self._drawn: dict[tuple[str, int], Tensor | None] = {}
        self._kept: dict[str, Any] = {}
        self.notes: list[str] = []

    def forecast(self, exhibits: Mapping[str, Exhibit]) -> Forecast:
        """Time one of each kind of work for each map: its own figures, those of a surrogate, and an explanation.

        What is kept of a case, and the first randomised explanation, are used afterwards.
        """
        this = other = 0.0
        for method, exhibit in exhibits.items():
            one = replace(exhibit, kept=self._kept)
            asked = [m for m in self.plan.measures.values() if m.can(one)]
            if FAITHFUL in self.plan.measures and QUICK not in self.plan.measures:
                asked.append(load_measure(QUICK))
            watch = Stopwatch()
            measure_all(asked, one)
            own = watch.read()
            self._randomised(method, one, 0)
            explained = watch.read()
            drawn = controls.Surrogates(one.relevance).draw(seed=self.plan.seed, case=one.case)
            measure_all([m for m in asked if m.family in COMPARED], one.with_map(drawn))
            each = watch.read()
            rest = each * (self.plan.n_draws + 2 * n_space(one.x) + 9)
            this += rest + each + explained * (self.plan.n_randomised - 1)
            other += rest + own + explained * self.plan.n_randomised
        return Forecast(this, other)

    def figures(self, method: str, exhibit: Exhibit, beside: Neighbours) -> dict[str, Figure]:
        """All figures of one method's map; `notes` says what is missing."""
        self.notes = []
        exhibit = replace(exhibit, kept=self._kept)
        # What likeness to randomised networks is measured of below, with maps that are shared.
        asked = {name: measure for name, measure in self.plan.measures.items() if name != RESEMBLES}
        able = {name: measure for name, measure in asked.items() if measure.can(exhibit)}
        if {FAITHFUL, INSERTION} <= set(able) and exhibit.sign is not Sign.UNSIGNED:
            del able[INSERTION]
            self.notes.append("insertion of a signed map is the figure of its deletion, and is not counted again")
        for name in asked:
            if not asked[name].can(exhibit):
                needs = " and ".join(sorted(asked[name].needs))
                self.notes.append(f"{name} was not measured: it needs {needs}")
        own = {name: measure.measure(exhibit) for name, measure in able.items()}
        compared = {name: m for name, m in able.items() if m.family in COMPARED and not np.isnan(own[name].value)}
        values: dict[str, dict[str, list[float]]] = {name: {} for name in able}
        likeness = self._likeness(method, exhibit)
        # Fillings one by one: where the network is asked once for all maps, whichever measure decides.
        beside_it = able.get(QUICK) or (load_measure(QUICK) if FAITHFUL in able else None)
        looked = None if beside_it is None else own[QUICK] if QUICK in own else beside_it.measure(exhibit)
        each: dict[str, list[float]] = {name: [] for name in (looked.by_filling if looked else ())}
        null: list[float] = []
        stopping = self._curtailment(own, compared, likeness(exhibit.relevance) if likeness else None)
        surrogates = controls.Surrogates(exhibit.relevance)
        # Each surrogate is drawn once and thrown away: a hundred maps of a large volume would not fit.
        for n in range(self.plan.n_draws if compared or likeness else 0):
            drawn = surrogates.draw(seed=self.plan.seed, case=exhibit.case, draw=n)
            measured = {name: measure.measure(exhibit.with_map(drawn)) for name, measure in compared.items()}
            for name, one in measured.items():
                values[name].setdefault(DRAWN, []).append(one.value)
            if each and beside_it is not None:
                again = measured[QUICK] if QUICK in measured else beside_it.measure(exhibit.with_map(drawn))
                for filling in each:
                    each[filling].append(again.by_filling.get(filling, float("nan")))
            if likeness:
                null.append(likeness(drawn))
            if stopping and stopping.decided({m: v[DRAWN] for m, v in values.items() if v} | {RESEMBLES: null}):
                break
        made = max([len(v[DRAWN]) for v in values.values() if DRAWN in v], default=0)
        stopped = stopping is not None and made < self.plan.n_draws
        if compared:
            # What a control's figure depends on beside its map: maps of other meaning are tested otherwise.
            alike = (
                str(exhibit.sign), str(exhibit.quantity), str(id(exhibit.target)), str(id(exhibit.network)),
                "" if exhibit.reference is None else str(exhibit.number("filling", exhibit.reference)),
                "" if exhibit.parts is None else str(exhibit.number("cut", exhibit.parts)),
            )  # fmt: skip
            for control, maps in self._controls(method, exhibit, beside):
                for number, relevance in enumerate(maps):
                    for name, measure in compared.items():
                        shared = (name, control, str(number), *alike) if control in _OF_THE_CASE else ()
                        value = self._value(_deciding(measure), exhibit.with_map(relevance), shared)
                        values[name].setdefault(control, []).append(value)
        found = {
            name: Figure(
                own[name].value, own[name].unit, m.direction, m.family, values[name], own[name].attainable,
                own[name].steady, stopped,
            )
            for name, m in able.items()
        }  # fmt: skip
        if looked is not None and beside_it is not None:
            for filling, value in looked.by_filling.items():
                decides = filling in looked.deciding
                found[f"{QUICK}/{filling}"] = Figure(
                    value, "1", beside_it.direction, FILLING, {DRAWN: each[filling]},
                    looked.attainable if decides else float("nan"), looked.steady if decides else float("nan"), stopped,
                )  # fmt: skip
        for name, one in own.items():
            if "undefined" in one.notes:
                self.notes.append(f"{name} is undefined: {one.notes['undefined']}")
        if likeness:
            found[RESEMBLES] = Figure(likeness(exhibit.relevance), "1", "lower", "sane", {DRAWN: null}, stopped=stopped)
        return found

    def _curtailment(
        self, own: Mapping[str, Measured], compared: Mapping[str, AbstractMeasure], likeness: float | None
    ) -> Curtailment | None:
        """When to stop drawing surrogates of a map; None where all are drawn."""
        if not self.plan.curtail or self.plan.n_draws < ALONE:
            return None
        judged = {m: (own[m].value, compared[m].direction) for m in (FAITHFUL, QUICK, PLACED) if m in compared}
        faithful = {m: one for m, one in judged.items() if m != PLACED}
        alike: dict[str, tuple[float, Direction]] = {} if likeness is None else {RESEMBLES: (likeness, "lower")}
        return Curtailment(faithful, judged | alike, self.plan.n_draws, THRESHOLDS["p"][0])

    def _value(self, measure: AbstractMeasure, exhibit: Exhibit, key: tuple[str, ...]) -> float:
        if key not in self._shared:
            value = measure.measure(exhibit).value
            if not key:
                return value
            self._shared[key] = value
        return self._shared[key]

    def _controls(self, method: str, exhibit: Exhibit, beside: Neighbours) -> Iterator[tuple[str, list[Tensor]]]:
        shown, x = exhibit.relevance, exhibit.x
        yield "displaced", controls.displaced(shown)
        for name, relevance in (
            ("edges", controls.edges(x)),
            ("image", controls.image(x)),
            ("centred gaussian", controls.centred_gaussian(x)),
        ):
            yield name, [relevance, -relevance]
        if beside.other is not None:
            other = controls.resized(beside.other, shown)
            if spearman(other, shown) >= THRESHOLDS["the same map"][0]:
                self.notes.append("another patient's map is the map itself, and no control")
            else:
                yield "other patient", [other]
        if beside.mean is not None:
            yield "cohort mean", [controls.resized(beside.mean, shown)]
        if beside.random_cam is not None:
            try:
                drawn = controls.resized(beside.random_cam(), shown)
                yield "random-cam", [drawn, -drawn]
            except RegardError as error:
                self.notes.append(f"no random-cam: {error}")
        forgetful = self._randomised(method, exhibit, 0)
        if forgetful is not None:
            yield "randomised network", [forgetful]

    def _randomised(self, method: str, exhibit: Exhibit, draw: int) -> Tensor | None:
        """The method's map of a network with drawn weights, or None."""
        if exhibit.explain is None or LAYERS not in capabilities(exhibit.network):
            return None
        if (method, draw) not in self._drawn:
            try:
                forgetful = controls.randomised(exhibit.network, seed=self.plan.seed, case=exhibit.case, draw=draw)
                found = explain_again(exhibit, network=forgetful)
                self._drawn[method, draw] = found.nan_to_num().to(exhibit.relevance)
            except RegardError as error:
                self.notes.append(f"no map of a randomised network: {error}")
                self._drawn[method, draw] = None
        return self._drawn[method, draw]

    def _likeness(self, method: str, exhibit: Exhibit) -> Callable[[Tensor], float] | None:
        """How alike a map is to the method's maps of randomised networks."""
        maps = [self._randomised(method, exhibit, n) for n in range(self.plan.n_randomised)]
        drawn = [m for m in maps if m is not None]
        return resemblance(drawn, exhibit.sign) if drawn else None


def _deciding(measure: AbstractMeasure) -> AbstractMeasure:
    """The same measure, of the fillings that decide alone: all that a control is compared by."""
    if not getattr(measure, "every_filling", False):
        return measure
    brief = copy.copy(measure)
    brief.every_filling = False  # type: ignore[attr-defined]
    return brief


_OF_THE_CASE = ("edges", "image", "centred gaussian", "random-cam")


def weigh_case(
    exhibits: Mapping[str, Exhibit],
    plan: Plan,
    *,
    target: str,
    patient: str = "",
    beside: Mapping[str, Neighbours] | None = None,
    columns: Mapping[str, str] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    forecast: Callable[[Forecast], None] | None = None,
) -> list[WeighedMap]:
    """Measure one case's maps and their controls.

    Parameters
    ----------
    exhibits
        The map of each method, all of one case.
    plan
        What to measure.
    target
        How the target is written.
    patient
        Whose case it is; the case itself by default.
    beside
        What the cohort holds beside each method's map.
    columns
        What the table of cases says of the case.
    notes
        Sentences to go with each method's map.
    forecast
        Told, before the long part begins, how long it will take; None: nothing is timed.

    Returns
    -------
    list of WeighedMap
        One per method.
    """
    case = _Case(plan)
    if forecast is not None:
        forecast(case.forecast(exhibits))
    found = []
    for method, exhibit in exhibits.items():
        figures = case.figures(method, exhibit, (beside or {}).get(method, Neighbours()))
        said = (*(notes or {}).get(method, ()), *dict.fromkeys(case.notes))
        found.append(
            WeighedMap(
                exhibit.case,
                patient or exhibit.case,
                method,
                target,
                figures,
                said,
                columns or {},
                str(exhibit.quantity),
            )
        )
    return found
