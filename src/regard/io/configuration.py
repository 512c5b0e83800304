"""What makes two runs the same, compared and told in words."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from regard.io.atomic import plain
from regard.io.privacy import hide_paths

__all__ = ["differences", "digest", "hidden"]

_NOT_CONFIGURATION = ("schema", "argv", "versions", "hashes", "state", "private", "preflight")
"""What a record says besides: of the run, and what its preflight showed."""


def digest(config: Mapping[str, Any]) -> str:
    """Checksum of a configuration."""
    return hashlib.sha256(json.dumps(plain(config), sort_keys=True).encode()).hexdigest()


def hidden(value: Any) -> Any:
    """A configuration without paths."""
    if isinstance(value, str):
        return hide_paths(value)
    if isinstance(value, Mapping):
        return {k: hidden(v) for k, v in value.items()}
    return [hidden(v) for v in value] if isinstance(value, (list, tuple)) else value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, a clause each."""
    clauses = []
    for key in sorted({*before, *now} - set(_NOT_CONFIGURATION)):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and key == "contents":
            # One that was given only once is told by its own key.
            changed = sorted(k for k in old.keys() & new.keys() if old[k] != new[k])
            clauses += [f"the contents of {k.replace('_', ' ')} have changed" for k in changed]
        elif key.endswith("_sha256"):
            clauses.append(f"the {key.removesuffix('_sha256').replace('_', ' ')} have changed")
        else:
            clauses.append(f"{key} is {_in_words(new)} and was {_in_words(old)}")
    return clauses


def _in_words(value: Any) -> str:
    """A setting as one would say it; of a long text the end, where paths differ."""
    value = plain(value)
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        text = ", ".join(str(v) for v in value) or "empty"
    elif isinstance(value, dict):
        text = ", ".join(f"{k} {_in_words(v)}" for k, v in value.items()) or "empty"
    else:
        text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else "..." + text[-77:]
