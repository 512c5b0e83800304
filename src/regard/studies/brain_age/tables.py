"""Tables of the report, from scores and from the table of regions."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.studies.brain_age.config import NETWORKS
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.regions import DATA, MODEL, TOP
from regard.studies.brain_age.score import FLOORS
from regard.studies.brain_age.weigh import AT_DATA
from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score

__all__ = [
    "best_map",
    "control_rows",
    "gap_rows",
    "map_rows",
    "noise_rows",
    "number",
    "read_regions",
    "region_rows",
    "rows_of",
    "score_rows",
    "told",
]

_PLACED = "average-precision"
_SHOWN = ("pearson_r", "mae", "rmse", "slope", "bias")
_CONTROLS = ("surrogate", "image", "edges", "other patient", "cohort mean", "randomised network")


def told(score: Score | None) -> str:
    """A score with its interval, as people read it."""
    return "undefined" if score is None or math.isnan(score.value) else str(score)


def score_rows(scores: Scores) -> list[dict[str, str]]:
    """Every network beside what needs none, and the ceiling."""
    named = {
        g: f"{NETWORKS[k]}, training {int(m) + 1}"
        for g in scores
        for k, _, m in [g.partition("-member")]
        if k in NETWORKS
    }
    named |= {g: "their mean" for g in scores if g.endswith("-ensemble")}
    named |= {f"patches_{n}": f"patches, {n}" for n in ("best", "average", "regression")}
    named |= {f"floor_{k.replace(' ', '_')}": f"without a network: {v}" for k, v in FLOORS.items()}
    named |= {"ceiling": "ceiling: a reader of the structures' true ages"}
    return [
        {"": name} | {f.replace("_", " "): told(scores[group].get(f)) for f in _SHOWN}
        for group, name in named.items()
        if group in scores
    ]


def gap_rows(scores: Scores) -> list[dict[str, str]]:
    """The age gap before and after its correction."""
    group = scores.get("test", {})
    names = {"": "as predicted", "_corrected": "corrected by a line fitted on other subjects"}
    return [
        {
            "age gap": shown,
            "standard deviation [year]": told(group.get(f"gap_deviation{end}")),
            "change with age [year/year]": told(group.get(f"gap_slope{end}")),
        }
        for end, shown in names.items()
        if f"gap_slope{end}" in group
    ]


def map_rows(scores: Scores, material: Material) -> list[dict[str, str]]:
    """Every kind of map by place, faithfulness and regions, the best placed first."""
    rows = []
    for spec in material.methods:
        group = scores.get(f"map_{spec.label}", {})
        row = {"map": spec.label}
        for name, shown in (
            (_PLACED, "place, against what the network uses"),
            (AT_DATA, "place, against what ages"),
            ("deletion", "faithfulness (deletion) [spread]"),
            (DATA, "regions, rank correlation with what was planted"),
            (MODEL, "regions, with what the network uses"),
            (TOP, "densest regions that were planted"),
        ):
            if name in group:
                row[shown] = told(group[name])
        rows.append(row)
    return sorted(rows, key=lambda r: r.get("place, against what the network uses", ""), reverse=True)


def control_rows(scores: Scores, material: Material) -> list[dict[str, str]]:
    """Place of every kind of map, and by how much it is above its controls."""
    rows = []
    for spec in material.methods:
        group = scores.get(f"map_{spec.label}", {})
        if _PLACED in group:
            row = {"map": spec.label, "the map": told(group[_PLACED])}
            row |= {f"above {c}": told(group.get(f"{_PLACED}_above_{c.replace(' ', '_')}")) for c in _CONTROLS}
            rows.append(row)
    return rows


def noise_rows(scores: Scores) -> list[dict[str, str]]:
    """What the noise of each noise map does to the prediction."""
    return [
        {
            "map": group.removeprefix("noise_"),
            "|f(noisy) - f(clean)|, root mean square [year]": told(values.get("prediction_change_rms")),
            "under the strongest noise everywhere [year]": told(values.get("prediction_change_rms_strongest_noise")),
            "mean of B": told(values.get("mean_noise")),
            "share of the brain with B < 0.5": told(values.get("share_important")),
        }
        for group, values in scores.items()
        if group.startswith("noise_") and values
    ]


def read_regions(path: Path) -> list[dict[str, Any]]:
    """Rows of ``regions.tsv`` with their numbers as numbers."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: number(v) for k, v in row.items()} for row in csv.DictReader(stream, dialect="excel-tab")]


def number(text: str) -> Any:
    """A cell of a table: a number, NaN, or the text itself."""
    if text == "n/a":
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return text


def rows_of(rows: Sequence[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """Rows of one kind of map over all subjects, the densest region first."""
    own = [r for r in rows if r["method"] == method and r["group"] == "*" and not math.isnan(r["share"])]
    return sorted(own, key=lambda r: -r["density"])


def region_rows(rows: Sequence[dict[str, Any]], methods: Sequence[str], truth: dict[str, dict[str, float]]) -> Any:
    """Density of each kind of map in each region, beside what was planted there."""
    names = list(dict.fromkeys(r["region"] for r in rows))
    said = []
    for name in sorted(names, key=lambda n: -truth.get(n, {}).get("density", 0.0)):
        row: dict[str, Any] = {"region": name}
        if name in truth:
            row["planted: density"] = round(truth[name]["density"], 2)
            row["volume [% a year]"] = round(truth[name]["percent_a_year"], 2)
        for method in methods:
            own = next((r for r in rows_of(rows, method) if r["region"] == name), None)
            if own is not None:
                star = "*" if own["p_maxT"] < 0.05 and own["t"] > 0 else ""
                row[method] = f"{own['density']:.2f}{star}"
        said.append(row)
    return said


def best_map(scores: Scores, material: Material, measure: str) -> str | None:
    """Label of the map that a measure puts first; None where it was not measured."""
    found = {s.label: scores.get(f"map_{s.label}", {}).get(measure) for s in material.methods}
    kept = {k: v.value for k, v in found.items() if v is not None and not math.isnan(v.value)}
    return max(kept, key=lambda k: kept[k]) if kept else None
