"""The tables of the XAI-TRIS benchmark, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regard.bench.matched import BLURS, matched
from regard.bench.statistics import crossed_interval, resampled
from regard.phantoms.tetromino import BACKGROUNDS, SCENARIOS

__all__ = ["LEARNED", "tables"]

LEARNED = 0.8
"""Share of the test images that a scenario's networks must get right in the mean, as in the paper."""

_MEASURES = {
    "precision": "precision of the k largest",
    "earth-mover": "1 - EMD / D",
    "average-precision": "average precision",
}
_CONTROLS = ("edges", "image", "chance")

Cell = Mapping[str, Any]


def _figures(cells: Sequence[Cell], label: str, measure: str) -> list[np.ndarray]:
    """For each blur, (network, image)."""
    n_shown = max(len(rows) for c in cells for rows in c["values"].values())
    n_blurs = len(BLURS) if measure != "earth-mover" else 1
    found = np.full((n_blurs, len(cells), n_shown), np.nan)
    for row, cell in enumerate(cells):
        for column, one in enumerate(cell["values"].get(label, [])):
            if one is not None:
                found[:, row, column] = [np.nan if v is None else v for v in one[measure]]
    return list(found)


def _told(values: np.ndarray) -> str:
    found = crossed_interval(values)
    if not np.isfinite(found.value):
        return "none"
    low, high = (float(np.clip(b, 0, 1)) for b in (found.low, found.high))
    return f"{found.value:.2f}" + ("" if np.isnan(found.low) else f" ({low:.2f} to {high:.2f})")


def _groups(cells: Sequence[Cell], architecture: str) -> dict[tuple[str, str], list[Cell]]:
    return {
        (s, b): group
        for s in SCENARIOS
        for b in BACKGROUNDS
        if (group := [c for c in cells if (c["scenario"], c["background"], c["architecture"]) == (s, b, architecture)])
    }


def tables(cells: Sequence[Cell]) -> str:
    """A table for each architecture and measure, methods in rows, scenarios in columns, after what was learned."""
    lines: list[str] = []
    for architecture in dict.fromkeys(c["architecture"] for c in cells):
        groups = _groups(cells, architecture)
        heads = " | ".join(f"{s}, {b}" for s, b in groups)
        lines += ["", f"**Networks: {architecture}.**", "", f"| | {heads} |", "| --- " * (len(groups) + 1) + "|"]
        right = {key: float(np.mean([c["accuracy"] for c in g])) for key, g in groups.items()}
        lines.append("| images told right | " + " | ".join(f"{right[key]:.2f}" for key in groups) + " |")
        labels = list(dict.fromkeys(label for g in groups.values() for c in g for label in c["values"]))
        for measure, name in _MEASURES.items():
            for how in ("as it is", "matched") if measure != "earth-mover" else ("as it is",):
                known = {
                    (label, key): _shown(_figures(group, label, measure), how)
                    for key, group in groups.items()
                    for label in labels
                }
                if not any(np.isfinite(v).any() for v in known.values()):
                    continue
                lines += ["", f"| {name}, {how} | {heads} |", "| --- " * (len(groups) + 1) + "|"]
                learned = [key for key in groups if right[key] >= LEARNED]
                for label in _ranked(labels, known, learned or list(groups)):
                    row = (_told(known[label, k]) if right[k] >= LEARNED else "not learned" for k in groups)
                    lines.append(f"| {label} | " + " | ".join(row) + " |")
        n = max((len(g) for g in groups.values()), default=0)
        lines += ["", f"Networks of each scenario: {n}; in brackets 95 %, {resampled(n)}."]
    return "\n".join(lines).lstrip("\n") + "\n"


def _shown(by_blur: list[np.ndarray], how: str) -> np.ndarray:
    return matched(by_blur) if how == "matched" else by_blur[0]


def _ranked(
    labels: Sequence[str], known: Mapping[tuple[str, tuple[str, str]], np.ndarray], keys: Sequence[tuple[str, str]]
) -> list[str]:
    """Methods from best to worst over the scenarios that were learned, then what knows no network."""

    def mean(label: str) -> float:
        values = [float(np.nanmean(known[label, k])) for k in keys if np.isfinite(known[label, k]).any()]
        return float(np.mean(values)) if values else -1.0

    return sorted(labels, key=lambda label: (label in _CONTROLS, -mean(label)))
