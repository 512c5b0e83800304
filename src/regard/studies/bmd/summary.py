"""The report's first words: what a clinician should know, in whole sentences."""

import math

from regard.studies.bmd.decoy import group_name
from regard.studies.bmd.material import Material
from regard.studies.bmd.structures import PARTS_SHOWN
from regard.studies.bmd.tables import said, share
from regard.studies.run import Scores

__all__ = ["summary"]

_WEAK = 0.5
"""Below this correlation a network is said to have learned little."""


def summary(material: Material, scores: Scores) -> list[str]:
    """What was found, from the most to the least important."""
    found = [_origin(material)]
    if "case1" in scores:
        found += _accuracy(material, scores) + _single(material, scores) + _floor(scores)
    for part in (_depends(scores), _where(scores), _best(scores), _shortcut(material, scores)):
        found += [part] if part else []
    return [*found, "Research use only: none of this is a diagnosis."]


def _origin(material: Material) -> str:
    said = "The network reads the areal bone density of L1, which a densitometer (DXA) measures, from one CT slice. "
    if material.phantoms:
        return said + "Everything here comes from simulated patients whose bone is known; it says nothing of real ones."
    return said + "It was trained and tested on the cases of your table."


def _accuracy(material: Material, scores: Scores) -> list[str]:
    one, threshold = scores["case1"], material.config.score.threshold
    r = one["pearson_r"].value
    if math.isnan(r) or r < _WEAK:
        reason = "it was hardly trained at this size" if material.config.size == "smoke" else "it learned little"
        text = f"This network is of no use: its readings hardly follow the densitometer's; {reason} "
        return [f"{text}(r = {said(one['pearson_r'])}). What follows shows how a report looks, and nothing about bone."]
    text = (
        f"On {one['mae'].n_patients} patients it had never seen it was off by {said(one['mae'])} g/cm2 on average (in "
        "brackets: 95 % interval), and its readings follow the densitometer's with "
        f"r = {said(one['pearson_r'])}. Of the slices with a T-score below {threshold:g} it found "
        f"{share(one['recall'])}; of the others it cleared {share(one['specificity'])}."
    )
    if one["slope"].high < 1:
        text += (
            f" It draws extremes towards the middle (calibration slope {said(one['slope'])}, 1 would be right): the "
            "lowest densities are read too high."
        )
    return [text]


def _single(material: Material, scores: Scores) -> list[str]:
    one, threshold = scores["case1"], material.config.score.threshold
    if "conformal_margin" not in one:
        return []
    margin = one["conformal_margin"]
    as_t = margin.value / material.config.score.t_deviation
    text = (
        f"A single reading is good to within {margin.value:.3f} g/cm2 ({as_t:.1f} T) in {100 * margin.level:.0f} of "
        f"100 patients like these; on the test patients it held for {share(one.get('conformal_coverage'))}. Where that "
        f"interval holds T = {threshold:g}, the slice alone does not decide."
    )
    return [text]


def _floor(scores: Scores) -> list[str]:
    one, hand = scores["case1"], scores.get("floor_region_hu", {}).get("pearson_r")
    above = one.get("r_above_region_hu")
    if hand is None or above is None or math.isnan(hand.value):
        return []
    better = "says more" if above.low > 0 else "says less" if above.high < 0 else "says no more, as far as can be told,"
    text = (
        f"A circle drawn in the vertebral body (its mean HU) reaches r = {said(hand)}; the network {better} than that "
    )
    return [f"{text}(difference in r {said(above)})."]


def _depends(scores: Scores) -> str | None:
    group = scores.get("depends_case1")
    if not group:
        return None
    moved = {k.removeprefix("change_"): s for k, s in group.items() if k.startswith("change_")}
    order = sorted(moved, key=lambda k: -abs(moved[k].value))
    listed = "; ".join(f"{k.replace('_', ' ')} {said(moved[k])}" for k in order)
    return (
        "What the reading truly depends on, found by rendering the same patients again with one thing moved from its "
        f"lowest to its highest value, in g/cm2: {listed}."
    )


def _where(scores: Scores) -> str | None:
    maps = {k.removeprefix("where_"): v for k, v in scores.items() if k.startswith("where_")}
    pixels = maps.pop("pixels", None)
    chosen = next((m for m in ("occlusion", "integrated-gradients", "grad-ramp") if m in maps), None)
    if pixels is None or chosen is None:
        return None
    own = maps[chosen]
    part = max((p for p in own if p != "share_elsewhere"), key=lambda p: own[p].value / max(pixels[p].value, 1e-9))
    return (
        f"In the map of {chosen}, {share(own[part])} of the evidence lies on {PARTS_SHOWN[part.removeprefix('share_')]}"
        f", which fills {100 * pixels[part].value:.1f} % of the slice."
    )


def _best(scores: Scores) -> str | None:
    found = {g.removeprefix("map_"): s["average-precision"] for g, s in scores.items() if "average-precision" in s}
    found = {k: v for k, v in found.items() if not math.isnan(v.value)}
    if len(found) < 2:
        return None
    best, worst = (pick(found, key=lambda k: found[k].value) for pick in (max, min))
    return (
        f"Of the maps, {best} shows best where the reading comes from ({said(found[best])} of 1, area under precision "
        f"and recall), {worst} worst ({said(found[worst])}). A map that convinces the eye and scores low should not be "
        "believed."
    )


def _shortcut(material: Material, scores: Scores) -> str | None:
    data = material.config.data
    dose = max(data.doses)
    one, three = (scores.get(group_name(dose, case)) for case in (1, 3))
    if one is None or three is None or dose == 0:
        return None
    decoy, effect = data.decoy.replace("_", " "), one["effect_of_decoy"]
    begun = f"A network can learn a shortcut. Where {decoy} followed the label with a correlation of {dose:g}, "
    if not abs(effect.value) > data.label_noise:
        return (
            f"{begun}this one hardly did: moving it alone from none to full changed the reading by {said(effect)} "
            "g/cm2, less than the densitometer's own error."
        )
    seen = {k.removeprefix("seen_by_"): s for k, s in one.items() if k.startswith("seen_by_")}
    best = max(seen, key=lambda k: seen[k].value) if seen else None
    told = f" The map that gave it away most often was {best}: in {share(seen[best])} of the patients." if best else ""
    return (
        f"{begun}it did: moving it alone from none to full changed the reading by {said(effect)} g/cm2; with all but "
        f"L1's body masked out, by {said(three['effect_of_decoy'])}.{told}"
    )
