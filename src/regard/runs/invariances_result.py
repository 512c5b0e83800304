"""What was found of one case, as it is kept in the run folder: samples, numbers and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regard.core.errors import CardError, FileError
from regard.core.volume import Volume
from regard.explainers.generative.analysis import principal_directions
from regard.explainers.generative.invariances import Invariances
from regard.explainers.generative.of_model import CaseFunction
from regard.io import save_volume
from regard.io.atomic import write_json
from regard.io.names import safe_name
from regard.io.schema import read_json
from regard.report.invariances import Row, draw_curve, draw_gallery, draw_spread, save_figure

__all__ = ["CaseResult", "result_of"]

SHOWN = 5
"""Samples in the gallery."""


def _base(folder: Path, case: str) -> Path:
    return folder / "figures" / f"{safe_name(case)}_invariances.json"


def result_of(folder: Path, case: str) -> "CaseResult | None":
    """What was found of a case, None where it is not there whole: its record is written last."""
    try:
        said = read_json(_base(folder, case), "invariances")
    except (FileError, CardError):
        return None
    return CaseResult(case, said) if said.get("case") == case else None


@dataclass(frozen=True)
class CaseResult:
    """Record of one case.

    Parameters
    ----------
    case
        Case id.
    said
        What its file says.
    """

    case: str
    said: Mapping[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``samples.tsv``, by column."""
        return list(self.said["samples"])

    def accepted(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Rows of the samples within the tolerance."""
        return [r for r in self.rows if r["accepted"] and kind in (None, r["kind"])]

    def summary(self) -> dict[str, Any]:
        """What is printed as JSON."""
        return {k: v for k, v in self.said.items() if k not in ("schema", "samples")}

    def sentence(self) -> str:
        """The finding in words."""
        said, n = self.said, len(self.rows)
        kept, anatomy = self.accepted(), self.accepted("anatomy")
        farthest = max((r["distance"] for r in kept), default=0.0)
        unit = "d'" if said["image_output"] else said["output_unit"]
        text = (
            f"{self.case}: {len(kept)} of {n} samples within {said['tolerance']:.3g} {unit}, {n - len(kept)} rejected; "
            f"{len(anatomy)} differ in anatomy, up to d' = {farthest:.3g} in the image"
        )
        controls = said["controls"]
        if controls:
            text += "; controls: " + ", ".join(f"{k} {max(v):.3g}" for k, v in controls.items() if v)
        return text

    @classmethod
    def save(
        cls,
        folder: Path,
        case: str,
        posed: CaseFunction,
        found: Invariances,
        noise: str,
        unit: str,
        output_unit: str,
        warnings: Sequence[str],
    ) -> "CaseResult":
        """Write the accepted samples, the pictures, and then the record."""
        part = posed.prepared.parts[0]
        changes = found.samples - found.image
        rows = []
        for k in range(len(changes)):
            row = {
                "case": case,
                "sample": k + 1,
                "distance": float(found.distance[k]),
                "leakage": float(found.leakage[k]),
                "d_prime": float(found.d_prime[k]),
                "accepted": bool(found.accepted[k]),
                "kind": found.kinds[k],
                "scale": found.scales[k],
            }
            rows.append(row)
            if row["accepted"]:
                path = folder / "samples" / f"{safe_name(case)}_sample-{k + 1}.nii.gz"
                save_volume(posed.sample(changes[k]), path, "regard invariance")
        pictures = _draw(folder, case, posed, found, rows, unit, output_unit)
        left = changes[found.accepted & torch.tensor([s != 0 for s in found.scales])]
        noisy = changes[found.accepted & torch.tensor([s == 0 for s in found.scales])]
        structure = principal_directions(left, torch.cat([noisy, found.calibration.noise])) if len(left) else None
        said = {
            "case": case,
            "image_output": found.is_image,
            "unit": unit,
            "output_unit": output_unit,
            "tolerance": found.tolerance,
            "spread": found.calibration.spread,
            "output": None if found.is_image else float(found.output[0]),
            "noise": noise,
            "spacing": list(part.grid.spacing),
            "facts": dict(found.facts),
            "share_outside_noise": None if structure is None else structure.share,
            "controls": {k: v.tolist() for k, v in found.controls.items()},
            "curve": {f"{k:g}": v.tolist() for k, v in found.curve.items()},
            "pictures": pictures,
            "warnings": list(warnings),
            "samples": rows,
        }
        write_json(_base(folder, case), "invariances", said)
        return cls(case, said)


def _volume(posed: CaseFunction, tensor: torch.Tensor, unit: str) -> Volume:
    home = posed.home(tensor[:1])
    return Volume(home.tensor, home.affine, unit, "", home.has_geometry)


def _number(output: torch.Tensor) -> float:
    """A number, or the root mean square of what has another grid than the image."""
    return float(output) if output.numel() == 1 else float(output.square().mean().sqrt())


def _draw(
    folder: Path,
    case: str,
    posed: CaseFunction,
    found: Invariances,
    rows: Sequence[Mapping[str, Any]],
    unit: str,
    output_unit: str,
) -> list[str]:
    image = _volume(posed, found.image[0], unit)
    whole = found.is_image and posed.layer is None and found.outputs.shape[2:] == found.image.shape[2:]
    output = _volume(posed, found.output[0], output_unit) if whole else _number(found.output)
    order = sorted(rows, key=lambda r: (not r["accepted"], r["kind"] != "anatomy", r["scale"] == 0, -r["distance"]))
    # The last row is a realisation of noise, where there is one: what every denoiser should not see.
    noise = [r for r in order if r["scale"] == 0 and r["accepted"]][:1]
    picked = [r for r in order if r not in noise][: SHOWN - len(noise)] + noise
    gallery = []
    for r in picked:
        k = r["sample"] - 1
        said = f"sample {k + 1}: {r['kind']}\nd' {r['distance']:.2f} in x, {r['d_prime']:.2f} in f"
        if not whole and not found.is_image:
            said += f"\nf = {float(found.outputs[k]):.4g} {output_unit}"
        value = _volume(posed, found.outputs[k], output_unit) if whole else _number(found.outputs[k])
        gallery.append(Row(_volume(posed, found.samples[k], unit), value, said))
    stem = safe_name(case)
    title = f"{case}: other inputs with the same output"
    if not found.is_image:
        title += f", f(x) = {float(found.output[0]):.4g} {output_unit}"
    figures = {
        "gallery": draw_gallery(image, output, gallery, title, output_unit),
        "spread": draw_spread({k: _volume(posed, found.spread_map(k), unit) for k in ("anatomy", "noise")}),  # type: ignore[arg-type]
    }
    if found.curve:
        figures["curve"] = draw_curve(
            {t: d.tolist() for t, d in found.curve.items()},
            {k: float(v.median()) for k, v in found.controls.items()},
            float(found.calibration.structure.max()),
        )
    names = []
    for name, figure in figures.items():
        names.append(f"{stem}_{name}.png")
        save_figure(figure, folder / "figures" / names[-1])
    return names
