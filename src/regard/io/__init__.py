"""Files to volumes and explanations, and back: every write is atomic, and what leaves is on an allow-list."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.io.maps import StoredMap, read_map, save_map, save_volume, set_verdict
    from regard.io.names import map_stem
    from regard.io.parametric_map import save_parametric_map
    from regard.io.reading import read
    from regard.io.records import read_failures, read_inputs, read_run, run_state
    from regard.io.run_folder import RunFolder
    from regard.io.tables import Case, find_cases, read_table

_HOMES = {
    "Case": "regard.io.tables",
    "RunFolder": "regard.io.run_folder",
    "StoredMap": "regard.io.maps",
    "find_cases": "regard.io.tables",
    "map_stem": "regard.io.names",
    "read": "regard.io.reading",
    "read_failures": "regard.io.records",
    "read_inputs": "regard.io.records",
    "read_map": "regard.io.maps",
    "read_run": "regard.io.records",
    "read_table": "regard.io.tables",
    "run_state": "regard.io.records",
    "save_map": "regard.io.maps",
    "save_parametric_map": "regard.io.parametric_map",
    "save_volume": "regard.io.maps",
    "set_verdict": "regard.io.maps",
}

__all__ = [
    "Case",
    "RunFolder",
    "StoredMap",
    "find_cases",
    "map_stem",
    "read",
    "read_failures",
    "read_inputs",
    "read_map",
    "read_run",
    "read_table",
    "run_state",
    "save_map",
    "save_parametric_map",
    "save_volume",
    "set_verdict",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regard.io' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
