"""The report's tables: rows of text by column, from the scores."""

import math
from collections.abc import Mapping

from regard.studies.bmd.config import CASES, DECOY_CASES, BMDConfig
from regard.studies.bmd.decoy import group_name
from regard.studies.bmd.structures import PARTS_SHOWN
from regard.studies.bmd.weigh import AT_DATA
from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score

__all__ = [
    "class_rows",
    "decoy_rows",
    "depends_rows",
    "interval_rows",
    "measure_rows",
    "outline_rows",
    "paired_rows",
    "place_rows",
    "said",
    "second_rows",
    "seen_rows",
    "share",
    "where_rows",
]

Row = dict[str, str]

FLOORS = {
    "mean": "the mean label",
    "histogram": "ridge on the histogram",
    "region_hu": "mean HU of L1's body",
    "body_size": "body size",
    "decoy": "the decoy alone",
}
"""Predictors without a network, as a report calls them."""

PLACE, PLACE_AT_DATA = "place, by what the network uses", "place, by what the label means"


def said(score: Score | None) -> str:
    """A figure with its interval."""
    if score is None or math.isnan(score.value):
        return "undefined"
    return str(score)


def share(score: Score | None) -> str:
    """A share with its interval, in per cent."""
    if score is None or math.isnan(score.value):
        return "undefined"
    bounds = "" if math.isnan(score.low) else f" ({100 * score.low:.0f} to {100 * score.high:.0f})"
    return f"{100 * score.value:.0f} %{bounds}"


def _named(scores: Scores) -> dict[str, str]:
    """Groups that measure, and what they are called."""
    named = {f"case{c}": f"network, case {c}: {name}" for c, name in CASES.items()}
    named |= {f"floor_{k}": f"no network: {v}" for k, v in FLOORS.items()}
    named["ceiling"] = "ceiling: the true density, the densitometer's error left"
    return {group: name for group, name in named.items() if group in scores}


def measure_rows(scores: Scores) -> list[Row]:
    """Correlation, errors, calibration and limits of agreement of networks, floors and ceiling."""
    rows = []
    for group, name in _named(scores).items():
        own = scores[group]
        rows.append(
            {
                "reading": name,
                "r": said(own.get("pearson_r")),
                "mean error [g/cm2]": said(own.get("mae")),
                "RMSE [g/cm2]": said(own.get("rmse")),
                "MAPE [%]": said(own.get("mape")),
                "calibration slope": said(own.get("slope")),
                "bias [g/cm2]": said(own.get("bias")),
                "95 % limits of agreement": f"{own['loa_low'].value:.3f} to {own['loa_high'].value:.3f}",
            }
        )
    return rows


def class_rows(scores: Scores) -> list[Row]:
    """Classes at the T-score's threshold."""
    columns = ("accuracy", "precision", "recall", "specificity", "f1")
    return [
        {"reading": name} | {c.replace("f1", "F1"): share(scores[group].get(c)) for c in columns}
        for group, name in _named(scores).items()
    ]


def interval_rows(scores: Scores) -> list[Row]:
    """Prediction intervals of the three cases: how wide, and how often they hold."""
    rows = []
    for case, name in CASES.items():
        own = scores.get(f"case{case}", {})
        for kind, shown in (("conformal", "split conformal"), ("ensemble", "spread of the networks")):
            if f"{kind}_margin" in own:
                margin = own[f"{kind}_margin"]
                row = {
                    "network": f"case {case}: {name}",
                    "interval": shown,
                    "half width [g/cm2]": f"{margin.value:.3f}",
                }
                rows.append(row | {"holds for": share(own.get(f"{kind}_coverage"))})
    return rows


def paired_rows(scores: Scores) -> list[Row]:
    """Differences to floors, on the same resampled patients; the ceiling as a share of its r."""
    rows = []
    for key, shown in FLOORS.items():
        row = {"compared with": shown}
        for case in CASES:
            own = scores.get(f"case{case}", {})
            if f"mae_below_{key}" in own:
                row[f"case {case}: r above"] = said(own[f"r_above_{key}"]) if f"r_above_{key}" in own else "no r"
                row[f"case {case}: error below [g/cm2]"] = said(own[f"mae_below_{key}"])
        rows.append(row)
    ceiling: Row = {"compared with": "the ceiling: share of its r"}
    for case in CASES:
        if "r_of_ceiling" in scores.get(f"case{case}", {}):
            ceiling[f"case {case}: r above"] = share(scores[f"case{case}"]["r_of_ceiling"])
    return [r for r in (*rows, ceiling) if len(r) > 1]


def second_rows(scores: Scores) -> list[Row]:
    """The second target, trabecular density."""
    named = {"trabecular": "network, middle slices", "trabecular_floor_region_hu": "no network: mean HU of L1's body"}
    return [
        {
            "reading": name,
            "r": said(scores[group].get("pearson_r")),
            "mean error [mg/cm3]": said(scores[group].get("mae")),
            "calibration slope": said(scores[group].get("slope")),
        }
        for group, name in named.items()
        if group in scores
    ]


def outline_rows(scores: Scores) -> list[Row]:
    """Outlines of L1 by the network and by classical ways."""
    shown = {
        "dice_body": "body: Dice",
        "hd95_body": "body: HD95 [mm]",
        "dice_vertebra": "all of L1: Dice",
        "hd95_vertebra": "all of L1: HD95 [mm]",
    }
    rows = []
    for group, values in scores.items():
        if group.startswith("segmentation_"):
            row = {"outlined by": group.removeprefix("segmentation_").replace("_", " ").replace("unet", "U-Net")}
            rows.append(row | {column: said(values[name]) for name, column in shown.items() if name in values})
    return rows


def depends_rows(scores: Scores, config: BMDConfig) -> list[Row]:
    """What moving each factor does to the networks' readings."""
    rows = []
    for factor in config.weigh.factors:
        row = {"moved from lowest to highest": factor.replace("_", " ")}
        for case, name in CASES.items():
            group = scores.get(f"depends_case{case}", {})
            if group:
                row[f"case {case}: {name} [g/cm2]"] = said(group.get(f"change_{factor}"))
        rows.append(row)
    return [r for r in rows if len(r) > 1]


def where_rows(scores: Scores) -> list[Row]:
    """Share of each map's size on each structure; the slice's own shares first."""
    rows = []
    for group, values in scores.items():
        if group.startswith("where_"):
            name = "(share of the slice)" if group == "where_pixels" else group.removeprefix("where_")
            row = {"map": name}
            row |= {
                shown: f"{100 * v.value:.1f} %" for p, shown in PARTS_SHOWN.items() if (v := values.get(f"share_{p}"))
            }
            rows.append(row)
    return rows


def place_rows(scores: Scores) -> list[Row]:
    """What was measured of each weighed map."""
    rows: list[tuple[float, Row]] = []
    for group, values in scores.items():
        if not group.startswith("map_"):
            continue
        method = group.removeprefix("map_")
        row = {"map": method}
        for name, shown in (
            ("average-precision", PLACE),
            (AT_DATA, PLACE_AT_DATA),
            ("deletion", "faithfulness: deletion [spread of readings]"),
        ):
            if name in values:
                row[shown] = said(values[name])
        across = scores.get("across_decision", {}).get(f"likeness_{method}")
        if across is not None:
            row["likeness on both sides of T = -1"] = said(across)
        agree = scores.get("ensemble", {}).get(f"sign_agreement_{method}")
        if agree is not None:
            row["networks agree on the sign"] = share(agree)
        best = values.get("average-precision") or values.get("deletion")
        rows.append((-best.value if best is not None and math.isfinite(best.value) else math.inf, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _doses(scores: Scores, config: BMDConfig) -> list[tuple[float, int, Mapping[str, Score]]]:
    wanted = [(d, c, scores.get(group_name(d, c))) for d in config.data.doses for c in DECOY_CASES]
    return [(d, c, group) for d, c, group in wanted if group is not None]


def decoy_rows(scores: Scores, config: BMDConfig) -> list[Row]:
    """By dose and case: what the decoy does to the reading, and what relying on it costs."""
    return [
        {
            "dose": f"{dose:g}",
            "network": f"case {case}: {CASES[case]}",
            "reading, decoy full minus none [g/cm2]": said(group["effect_of_decoy"]),
            "r, decoy as trained": said(group["pearson_r"]),
            "r, decoy at random": said(group["pearson_r_decoy_at_random"]),
            "mean error, as trained [g/cm2]": said(group["mae"]),
            "mean error, at random [g/cm2]": said(group["mae_decoy_at_random"]),
        }
        for dose, case, group in _doses(scores, config)
    ]


def seen_rows(scores: Scores, config: BMDConfig) -> list[Row]:
    """By method: share of the patients whose map gives the decoy away, at each dose of case 1."""
    rows: dict[str, Row] = {}
    for dose, _, group in _doses(scores, config):
        for key, score in group.items():
            if key.startswith("seen_by_"):
                name = key.removeprefix("seen_by_")
                rows.setdefault(name, {"map": name})[f"dose {dose:g}: gives the decoy away in"] = share(score)
    return list(rows.values())
