"""A study told: its acts, its sizes, and what is done, reduced and absent."""

from collections.abc import Mapping
from typing import Any

from regard.studies import ACTS, SIZES, STUDIES
from regard.studies.study import AbstractStudy

__all__ = ["facts_of", "in_words"]


def facts_of(name: str) -> dict[str, Any]:
    """All about a study, in plain values.

    Raises
    ------
    UnknownNameError
        If there is no such study.
    """
    study: AbstractStudy = STUDIES.load(name)()
    sizes = {s: study.sizes[s].model_dump(mode="json") for s in SIZES if s in study.sizes}
    items = [vars(i) for i in study.items]
    told = {"name": name, "title": study.title, "paper": study.paper, "acts": study.acts, "sizes": sizes}
    return {**told, "items": items}


def in_words(facts: Mapping[str, Any]) -> str:
    """What `facts_of` gives, for a reader."""
    lines = [f"{facts['name']}: {facts['title']}", facts["paper"], "", "acts"]
    lines += [f"  {act.ljust(8)} {facts['acts'][act]}" for act in ACTS]
    lines += ["", "sizes", *_lines(_sizes_table(facts["sizes"]))]
    for state in ("done", "reduced", "absent"):
        lines += ["", state, *(f"  {i['what']}: {i['how']}" for i in facts["items"] if i["state"] == state)]
    return "\n".join(lines)


def _sizes_table(sizes: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    flat = {s: dict(_flat(c)) for s, c in sizes.items()}
    keys = list(dict.fromkeys(k for c in flat.values() for k in c if k != "size"))
    return [["setting", *flat], *([key, *(_short(c.get(key)) for c in flat.values())] for key in keys)]


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [(before + key, value)]
    return found


def _short(value: Any) -> str:
    if isinstance(value, list):
        text = "x".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
        return text if len(text) <= 24 else f"{len(value)} of them"
    return str(value)


def _lines(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
