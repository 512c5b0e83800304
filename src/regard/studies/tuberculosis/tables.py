"""The tables of the report."""

import math

from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score
from regard.studies.tuberculosis.boxes import BOXED
from regard.studies.tuberculosis.decoy import group_name
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.score import PAIRED
from regard.studies.tuberculosis.weigh import AT_DATA

__all__ = ["boxes", "decoy", "depends", "paired", "performance", "places", "separation"]

Rows = list[dict[str, str]]

_FIGURES = ("auc", "accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "kappa")
_FLOORS = {
    "brightness": "mean grey level",
    "histogram": "ridge on the histogram",
    "coarse_image": "ridge on the image of 12 x 12 cells",
    "asymmetry": "ridge on the difference of left and right",
}


def _said(score: Score | None) -> str:
    return "undefined" if score is None or math.isnan(score.value) else str(score)


def performance(material: Material, scores: Scores) -> Rows:
    """Each arm, its pre-training, and the floors."""
    rows = []
    for arm in material.arms:
        for group, words in (
            (arm, "tuberculosis or not"),
            (f"pretrain_{arm}", "normal or abnormal, held-out patients"),
        ):
            if group in scores:
                own = scores[group]
                row = {"": f"{material.words(arm)}: {words}", "n": str(own["accuracy"].n)}
                rows.append(row | {f: _said(own.get(f)) for f in _FIGURES})
    for name, words in _FLOORS.items():
        if f"floor_{name}" in scores:
            own = scores[f"floor_{name}"]
            rows.append({"": f"without a network: {words}", "n": str(own["auc"].n), "auc": _said(own["auc"])})
    return rows


def paired(material: Material, scores: Scores) -> Rows:
    """Suppressed minus plain, over all and fold by fold."""
    own = scores[PAIRED]
    rows = [
        {
            "": "all folds", "n": str(own["auc_difference"].n), "difference in AUC": _said(own["auc_difference"]),
            "p": f"{own['auc_permutation_p'].value:.3g} (permutation)",
            "difference in accuracy": _said(own["accuracy_difference"]),
        }
    ]  # fmt: skip
    if "mcnemar_p" in own:
        rows[0]["right only with bones / only without"] = (
            f"{own['only_plain_right'].value:.0f} / {own['only_suppressed_right'].value:.0f}"
            f" (McNemar p = {own['mcnemar_p'].value:.3g})"
        )
    for fold in range(material.config.train.n_folds):
        difference, p = own.get(f"fold{fold}_auc_difference"), own.get(f"fold{fold}_delong_p")
        if difference is not None:
            row = {"": f"fold {fold + 1}", "n": str(difference.n), "difference in AUC": _said(difference)}
            if p is not None:
                row["p"] = "undefined" if math.isnan(p.value) else f"{p.value:.3g} (DeLong)"
            rows.append(row)
    return rows


def separation(material: Material, scores: Scores) -> Rows:
    """How far the features of ill and well lie apart."""
    rows = []
    for arm in material.arms:
        own = scores.get(f"separation_{arm}")
        if own:
            near = f"own kind among {material.config.score.neighbours} neighbours"
            row = {"": material.words(arm), "features": str(8 * material.config.train.width)}
            rows.append(row | {"silhouette": _said(own["silhouette"]), near: _said(own["neighbours_right"])})
    return rows


def boxes(material: Material, scores: Scores) -> Rows:
    """Boxes of each map against those of the findings."""
    rows = []
    for arm in material.arms:
        for method in BOXED:
            own = scores.get(f"boxes_{method}_{arm}")
            if own is None:
                continue
            row = {"": method, "on": material.words(arm), "cases": str(own["map"].n), "mAP": _said(own["map"])}
            row |= {f"AP at IoU {k.removeprefix('ap_')}": _said(s) for k, s in own.items() if k.startswith("ap_")}
            row["best IoU with a finding"] = _said(own["best_iou"])
            row |= {f"findings hit, IoU {k.removeprefix('found_')}": _said(s) for k, s in own.items()
                    if k.startswith("found_")}  # fmt: skip
            rows.append(row | {"boxes a case": _said(own["boxes_per_case"])})
    return rows


def depends(material: Material, scores: Scores) -> Rows:
    """What each finding, the letter and the bones do to the log-odds."""
    groups = {a: scores.get(f"depends_{a}", {}) for a in material.arms}
    rows = []
    for name in dict.fromkeys(k for g in groups.values() for k in g):
        row = {"": name.removeprefix("change_").replace("marker", "letter")}
        for arm, own in groups.items():
            if name in own:
                row["patients"] = str(own[name].n_patients)
                row[f"{material.words(arm)} [log-odds]"] = _said(own[name])
        rows.append(row)
    return rows


def places(material: Material, scores: Scores) -> Rows:
    """How true each map is."""
    rows = []
    for group, values in scores.items():
        if not group.startswith("map_"):
            continue
        row = {"map": group.removeprefix("map_")}
        for name, shown in (
            ("average-precision", "place, against what the network uses"),
            (AT_DATA, "place, against the findings"),
            ("deletion", "faithfulness (deletion) [spread]"),
        ):
            if name in values:
                row[shown] = _said(values[name])
                row["patients"] = str(values[name].n_patients)
        rows.append(row)
    return sorted(rows, key=lambda r: r.get("place, against what the network uses", ""), reverse=True)


def decoy(material: Material, scores: Scores) -> Rows:
    """The letter's dose-response."""
    rows = []
    for dose in material.config.data.doses:
        for arm in material.arms:
            own = scores.get(group_name(dose, arm))
            if own is None:
                continue
            row = {
                "dose": f"{dose:g}",
                "arm": material.words(arm),
                "letter in minus out [log-odds]": _said(own["effect_of_letter_1"]),
                "AUC, letter as trained": _said(own["auc"]),
                "AUC, letter at random": _said(own["auc_letter_at_random"]),
            }
            seen = {k.removeprefix("seen_by_"): s for k, s in own.items() if k.startswith("seen_by_")}
            rows.append(
                row | {f"seen by {k}": "-" if math.isnan(s.value) else f"{s.value:.2f}" for k, s in seen.items()}
            )
    return rows
