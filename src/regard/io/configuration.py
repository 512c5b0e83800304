"""What makes two runs the same, compared and told in words."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from regard.io.atomic import plain
from regard.io.privacy import hide_paths

__all__ = ["differences", "digest", "hidden"]

_NOT_CONFIGURATION = ("schema", "argv", "versions", "hashes", "state", "private")


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
            changed = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
            clauses += [f"the contents of {k.replace('_', ' ')} have changed" for k in changed]
        elif key.endswith("_sha256"):
            clauses.append(f"{key} is another, so the {key.removesuffix('_sha256').replace('_', ' ')} have changed")
        else:
            clauses.append(f"{key} is {_short(new)} and was {_short(old)}")
    return clauses


def _short(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
