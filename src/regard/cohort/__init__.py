"""One function over many cases: chunks, backends, population maps, regions and their statistics."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.cohort.backends import DaskWorkers, LocalWorkers, ThisProcess
    from regard.cohort.engine import run_cases
    from regard.cohort.explaining import Explaining
    from regard.cohort.part import Failed, Function, Part

_HOMES = {
    "DaskWorkers": "regard.cohort.backends",
    "Explaining": "regard.cohort.explaining",
    "Failed": "regard.cohort.part",
    "Function": "regard.cohort.part",
    "LocalWorkers": "regard.cohort.backends",
    "Part": "regard.cohort.part",
    "ThisProcess": "regard.cohort.backends",
    "run_cases": "regard.cohort.engine",
}

__all__ = ["DaskWorkers", "Explaining", "Failed", "Function", "LocalWorkers", "Part", "ThisProcess", "run_cases"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regard.cohort' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
