"""Images and maps packed into text, so that one HTML file holds all it shows.

Arrays are laid out with the first display axis fastest, their low and high bytes apart, compressed and written in
base64. An image keeps its whole numbers, or 4096 levels of its range; a map is float16 times a factor, which keeps
three digits at every size and NaN as NaN. What does not fit the page is shown as means of blocks, and says so.
"""

import base64
import gzip
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from regard.core.explanation import Explanation
from regard.core.geometry import resample
from regard.core.volume import Volume
from regard.report import words
from regard.report.colours import is_signed, outline_colour, scale_key
from regard.report.display import (
    display_volume,
    extreme,
    grey,
    inside,
    obliquity,
    peak,
    placed,
    planes,
    shrink,
    window,
)

__all__ = ["Scene", "fit", "pack", "unpack"]

_SMALLEST_SIDE = 24


@dataclass(frozen=True, eq=False)
class Scene:
    """One image with its maps, to be shown together.

    Parameters
    ----------
    explanations
        Maps of one input of one case, on one grid.
    scales
        Value drawn in full colour, by `regard.report.colours.scale_key`.
    outlines
        Binary volumes whose borders can be drawn, by what they are: the target's region, an atlas region, a lesion.
        ``truth`` is hidden until it is asked for, so that a map is seen before its answer.
    output
        The network's output image.
    """

    explanations: Sequence[Explanation]
    scales: Mapping[Hashable, float]
    outlines: Mapping[str, Volume] = field(default_factory=dict)
    output: Volume | None = None

    @property
    def scan(self) -> Volume:
        """The image under the maps."""
        return self.explanations[0].scan

    def bytes_estimate(self, factor: int) -> float:
        """About how many bytes the scene takes when shown in blocks of ``factor`` voxels a side."""
        layers = 1 + len(self.explanations) + (self.output is not None) + 0.1 * len(self.outlines)
        return math.prod(-(-n // factor) for n in self.scan.shape) * layers * 2 * 0.7 * 4 / 3

    def build(self, factor: int = 1) -> dict[str, Any]:
        """All that the page needs to draw the scene, as plain values ready for JSON."""
        grid = self.scan.grid
        full = display_volume(self._plain(self.scan, torch.as_tensor(grey(self.scan))))
        shown = shrink(full, factor)
        to_index = np.linalg.inv(grid.affine) @ shown.affine
        start = self._start(shown, factor)
        low, high = window(grey(shown), self.scan.unit)
        return {
            "shape": list(shown.shape),
            "spacing": [round(s, 6) for s in shown.spacing],
            "index": to_index[:3].tolist(),
            "mm": shown.affine[:3].tolist(),
            "geometry": self.scan.has_geometry,
            "oblique": round(obliquity(self.scan), 1),
            "block": factor,
            "unit": self.scan.unit,
            "start": start,
            "planes": [
                {"name": p.name, "axes": [p.columns, p.rows, p.through], "letters": p.letters} for p in planes(shown)
            ],
            "image": {**_levels(grey(shown)), "window": [low, high]},
            "output": self._output(factor),
            "outlines": [
                {
                    "name": name,
                    "colour": outline_colour(n),
                    "shown": name != "truth",
                    "data": pack(self._mask(volume, factor)),
                }
                for n, (name, volume) in enumerate(self.outlines.items())
            ],
            "maps": [self._map(e, factor) for e in self.explanations],
        }

    def _start(self, shown: Volume, factor: int) -> list[int]:
        """Voxel of the shown image at which it opens: the extreme of the first map, at a place that is seen."""
        world = self.scan.grid.to_world(extreme(self.explanations[0]))
        near = np.clip(np.rint(shown.grid.to_index(list(world))), 0, np.array(shown.shape) - 1).astype(int)
        values = self._shown(self.explanations[0].relevance, factor)
        if np.isfinite(values[tuple(near)]) or not np.isfinite(values).any():
            return [int(i) for i in near]
        return list(peak(torch.as_tensor(values), torch.as_tensor(grey(shrink(_inside(self.scan), factor)) >= 0.5)))

    def _plain(self, volume: Volume, array: torch.Tensor) -> Volume:
        return Volume(array.detach().cpu().float()[None], volume.affine, volume.unit, "", self.scan.has_geometry)

    def _shown(self, volume: Volume, factor: int, *, order: int = 1) -> np.ndarray:
        if not volume.grid.matches(self.scan.grid):
            volume = placed(volume, self.scan.grid) if order else resample(volume, self.scan.grid, order=0)
        array: np.ndarray = shrink(display_volume(self._plain(volume, volume.tensor[0])), factor).tensor[0].numpy()
        return array

    def _mask(self, volume: Volume, factor: int) -> np.ndarray:
        filled = volume.with_tensor((torch.nan_to_num(volume.tensor[:1]) > 0.5).float())
        return (self._shown(filled, factor, order=0) >= 0.5).astype(np.uint8)

    def _output(self, factor: int) -> dict[str, Any] | None:
        if self.output is None:
            return None
        image = replace(self.output, tensor=torch.as_tensor(grey(self.output))[None])
        if self.output.unit == "label":
            # The mean of two labels is a third one: a block shows the label of its first voxel.
            whole = self._shown(image, 1, order=0)
            values = whole[tuple(slice(None, None, min(factor, n)) for n in whole.shape)]
        else:
            values = self._shown(image, factor)
        return {**_levels(values), "window": list(window(values, self.output.unit)), "unit": self.output.unit}

    def _map(self, explanation: Explanation, factor: int) -> dict[str, Any]:
        values = self._shown(explanation.relevance, factor).astype(np.float64)
        largest = float(np.nanmax(np.abs(values), initial=0.0))
        step = 2.0 ** (math.ceil(math.log2(largest)) - 14) if largest > 0 else 1.0
        resolved = explanation.resolved()
        unresolved = None
        if resolved is not None:
            unresolved = self._mask(explanation.relevance.with_tensor((~resolved)[None].float()), factor)
        return {
            "name": explanation.name,
            "unit": explanation.unit,
            "quantity": str(explanation.quantity),
            "sign": words.sign_sentence(explanation),
            "signed": is_signed(explanation),
            "scale": self.scales[scale_key(explanation)],
            "step": step,
            "data": pack((values / step).astype(np.float16)),
            "unseen": bool(np.isnan(values).any()),
            "unresolved": None if unresolved is None else pack(unresolved),
        }


def _inside(scan: Volume) -> Volume:
    """The foreground of a scan as an image on its display grid."""
    mask = Volume(inside(scan)[None].float(), scan.affine, "label", "", scan.has_geometry)
    return display_volume(mask)


def _levels(values: np.ndarray) -> dict[str, Any]:
    """An image as uint16: value = low + step * level; 65535 is NaN."""
    seen = np.isfinite(values)
    low, high = (float(values[seen].min()), float(values[seen].max())) if seen.any() else (0.0, 0.0)
    whole = high - low < 65535 and bool((values[seen] == np.rint(values[seen])).all())
    step = 1.0 if whole or high == low else (high - low) / 4095
    levels = np.rint((np.where(seen, values, low).astype(np.float64) - low) / step)
    return {"data": pack(np.where(seen, levels, 65535).astype(np.uint16)), "low": low, "step": step}


def pack(array: np.ndarray) -> str:
    """Text of an array of one or two bytes a value: planes of bytes, gzip, base64."""
    values = np.ascontiguousarray(array.ravel(order="F"))
    values = values.astype(values.dtype.newbyteorder("<"))
    by_byte = values.view(np.uint8).reshape(-1, values.dtype.itemsize).T
    return base64.b64encode(gzip.compress(by_byte.tobytes(), compresslevel=6, mtime=0)).decode("ascii")


def unpack(text: str, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """The array that `pack` made text of, as the page reads it."""
    raw = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    size = np.dtype(dtype).itemsize
    values = np.ascontiguousarray(raw.reshape(size, -1).T).view(np.dtype(dtype).newbyteorder("<"))
    return values.reshape(shape, order="F")


def fit(scenes: Sequence[Scene], budget: int) -> list[dict[str, Any] | None]:
    """Build all scenes in at most ``budget`` bytes of JSON text, in coarser blocks where they do not fit.

    Returns
    -------
    list
        One scene each; None for a scene that would have to be coarser than any use, which the page names.
    """
    if not scenes:
        return []
    share = budget / len(scenes)
    factors = [next((f for f in range(1, 9) if s.bytes_estimate(f) <= 1.5 * share), 9) for s in scenes]
    built = [_build(s, f) for s, f in zip(scenes, factors, strict=True)]
    sizes = [_size(b) for b in built]
    while sum(sizes) > max(budget, 0):
        largest = int(np.argmax(sizes))
        factors[largest] += 1
        built[largest] = _build(scenes[largest], factors[largest])
        sizes[largest] = _size(built[largest])
    return built


def _build(scene: Scene, factor: int) -> dict[str, Any] | None:
    sides = sorted(-(-n // factor) for n in scene.scan.shape)
    return scene.build(factor) if factor == 1 or sides[-1] >= _SMALLEST_SIDE else None


def _size(scene: dict[str, Any] | None) -> int:
    return 0 if scene is None else len(json.dumps(scene))
