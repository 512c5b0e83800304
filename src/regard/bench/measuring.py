"""Measures by name: functions of a map and a truth, and classes that get an exhibit."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from regard.evidence import MEASURES
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Places
from regard.phantoms.truth import TruePlaces

__all__ = ["DATA_TRUTH", "MATCHED", "MATCHED_MEASURE", "Gauge", "about_maps_silenced", "gauges"]

DATA_TRUTH = "@data"
"""Ending of a measure against data truth; without it, against model truth."""

MATCHED_MEASURE = "average-precision"
"""The measure that is also told at a resolution that suits each map."""

MATCHED = f"{MATCHED_MEASURE}@matched"
"""Name of it: against model truth, at the best of three blurs, chosen on other patients (`regard.bench.matched`)."""

Reading: TypeAlias = Callable[[Exhibit, TruePlaces], tuple[float, str]]
"""An exhibit and places to a value and its unit."""


@dataclass(frozen=True)
class Gauge:
    """A measure as the benchmark uses it.

    Parameters
    ----------
    name
        Registered name.
    direction
        Which way a better map goes.
    by_place
        Whether it asks where the truth lies, and so is read against both truths.
    read
        Value and unit of an exhibit; NaN is undefined, also where a control lacks what the measure needs.
    """

    name: str
    direction: Direction
    by_place: bool
    read: Reading

    @property
    def names(self) -> list[str]:
        """Its names in tables, one per truth."""
        return [self.name, self.name + DATA_TRUTH] if self.by_place else [self.name]


def _counted(relevance: Tensor, places: TruePlaces) -> Tensor:
    """The map (\\*space), NaN where it counts neither way."""
    return torch.where(places.allowed, torch.nan, relevance[0, 0].double().cpu())


def _of_function(function: Callable[[Tensor, Tensor], float]) -> Reading:
    def read(exhibit: Exhibit, places: TruePlaces) -> tuple[float, str]:
        return function(_counted(exhibit.relevance, places), places.core), "1"

    return read


def _of_class(measure: AbstractMeasure) -> Reading:
    def read(exhibit: Exhibit, places: TruePlaces) -> tuple[float, str]:
        shown = Exhibit(**{**vars(exhibit), "places": Places(places.core, places.allowed, places.decoy)})
        if not measure.can(shown):
            return math.nan, "1"
        found = measure.measure(shown)
        return found.value, found.unit

    return read


def gauges(names: tuple[str, ...]) -> list[Gauge]:
    """Measures by registered name.

    Raises
    ------
    UnknownNameError
        If there is no such measure.
    """
    made = []
    for name in names:
        found = MEASURES.load(name)
        if isinstance(found, type) and issubclass(found, AbstractMeasure):
            measure = found()
            made.append(Gauge(name, measure.direction, "places" in measure.needs, _of_class(measure)))
        else:
            made.append(Gauge(name, "higher", True, _of_function(found)))
    return made


@contextmanager
def about_maps_silenced() -> Iterator[None]:
    """Within this context methods do not log what they have to say of single maps: here there are hundreds."""
    loggers = [logging.getLogger(name) for name in ("regard.core.explainer", "regard.explainers")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def mean(values: list[float]) -> float:
    """Mean of the defined values; NaN if there is none."""
    kept = [v for v in values if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan
