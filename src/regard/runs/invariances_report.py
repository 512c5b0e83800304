"""The page and the scores of ``regard invariances``."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from regard.report.invariances import embedded
from regard.report.sections import Section, write_sections
from regard.runs.invariances_result import CaseResult
from regard.runs.requests.invariances import InvariancesRequest

__all__ = ["report", "scores_of"]

_GALLERY = (
    "Each row is another input that gives the same output, within the tolerance. Both differences of a row share one "
    "colour scale. Structure in the third picture that the last one lacks is what the network does not see."
)
_SPREAD = (
    "Standard deviation of the accepted samples around the image, for those that differ in anatomy and for those that "
    "noise could explain. It is bounded by the largest change that the search was allowed."
)
_CURVE = (
    "The identity hides nothing: its line is where a change is as visible in the output as in the image. What lies "
    "above it, and above the blur that removes as much noise, is the network's own."
)
_ABOUT = {
    "gallery": ("Gallery", _GALLERY),
    "spread": ("Where the inputs differ", _SPREAD),
    "curve": ("How much is hidden, by tolerance", _CURVE),
}


def scores_of(done: Sequence[CaseResult]) -> dict[str, Any]:
    """The numbers of a run: visibility in the image of what the output does not show, beside the controls."""
    groups: dict[str, dict[str, Any]] = {"network": {}}

    def add(group: str, name: str, values: Sequence[float], unit: str) -> None:
        if values:
            entry = {"value": median(values), "low": None, "high": None, "level": None}
            groups.setdefault(group, {})[name] = {**entry, "n": len(values), "n_patients": len(done), "unit": unit}

    kept = [r for one in done for r in one.accepted() if r["scale"] != 0]
    add("network", "distance", [r["distance"] for r in kept], "d'")
    add("network", "leakage", [r["leakage"] for r in kept], "output per intensity")
    add("network", "rejected", [1 - len(one.accepted()) / len(one.rows) for one in done], "share of samples")
    add("network", "anatomy", [len(one.accepted("anatomy")) / len(one.rows) for one in done], "share of samples")
    for name in ("identity", "gaussian"):
        values = [v for one in done for v in one.said["controls"].get(name, ())]
        add(name, "distance", values, "d'")
        if values and kept:
            excess = [r["distance"] - median(values) for r in kept]
            add("network", f"excess_over_{name}", excess, "d'")
    return {"study": None, "size": None, "scores": groups}


def _made_of(scale: float | None) -> str:
    if scale is None:
        return "none"
    return f"{scale:g}" if scale else "noise"


def report(folder: Path, model: str, request: InvariancesRequest, done: Sequence[CaseResult]) -> None:
    """Write ``report.html``."""
    sections = []
    for one in done:
        said = one.said
        unit = "d'" if said["image_output"] else said["output_unit"]
        spacing = " x ".join(f"{s:.3g}" for s in said["spacing"])
        facts = [(k, f"{v:.4g}" if isinstance(v, float) else str(v)) for k, v in said["facts"].items()]
        facts += [("noise from", said["noise"]), ("voxel", spacing), ("tolerance", f"{said['tolerance']:.3g} {unit}")]
        if said["share_outside_noise"] is not None:
            share = said["share_outside_noise"]
            facts.append(("share of the blobs' change outside the span of the noise draws", f"{100 * share:.0f} %"))
        facts += [("warning", w) for w in said["warnings"]]
        sections.append(Section(one.case, one.sentence(), (), ("", ""), facts))
        for name in said["pictures"]:
            key = name.rsplit("_", 1)[1].removesuffix(".png")
            title, text = _ABOUT[key]
            sections.append(Section(f"{title}: {one.case}", text, (embedded(folder / "figures" / name),)))
        columns = ("sample", "kind", "blob [voxel]", "d' in the image", "d' in the output", "leakage", "accepted")
        rows = [
            (
                str(r["sample"]), r["kind"], _made_of(r["scale"]), f"{r['distance']:.2f}",
                f"{r['d_prime']:.2f}", f"{r['leakage']:.3g}", "yes" if r["accepted"] else "no",
            )
            for r in sorted(one.rows, key=lambda r: -r["distance"])[:40]
        ]  # fmt: skip
        text = (
            "The largest first. The changes are band-limited: what a search of single voxels would find is adversarial."
        )
        sections.append(Section(f"Samples: {one.case}", text, (), columns, rows))
    meta = {
        "model": model,
        "samples per case": str(request.n),
        "tolerance": request.tolerance,
        "target": request.target or ("the whole output" if request.layer is None else f"the layer {request.layer}"),
        "seed": str(request.seed),
    }
    if sections:
        write_sections(folder / "report.html", f"{model}: what it does not see", sections, meta=meta)
